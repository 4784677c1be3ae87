// What previews may take of a server. What they say is in service.slow.test.ts and in packages/mos/test/preview.test.ts.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { createPreviewer } from "#worker";

const order: Parameters<ReturnType<typeof createPreviewer>>[0] = {
  model: "assets/tiny-english",
  data: "assets/quickstart/train.jsonl",
  validationData: undefined,
  adapter: { method: "lora", rank: 2 },
  settings: { steps: 1 },
  threads: 1,
  maxShown: 10,
};
const oneAtATime = { running: 1, runningPerTenant: 1 };
const never = { tenant: "acme", signal: new AbortController().signal };

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-preview-test-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test("a file that the objective does not learn from is told by what it holds, in no words of a command line", async () => {
  const preview = createPreviewer({ ...oneAtATime, waiting: 1, perTenant: 2, seconds: 60, megabytes: 500 });
  const pairs = join(folder, "pairs.jsonl");
  await writeFile(pairs, '{"prompt":"a","chosen":"b","rejected":"c"}\n');
  expect(await preview({ ...order, data: pairs }, never)).toEqual({ file: "training_file", kind: "pairs" });
  // one that only the run finds wrong
  await writeFile(pairs, '{"prompt":"a","completion":"b","label":"good"}\n');
  const kto = { ...order, data: pairs, settings: { steps: 1, objective: "kto" as const } };
  await expect(preview(kto, never)).rejects.toThrow(/^line 1: [^\n/]*label[^\n/]*$/);
});

test("a preview that takes too long is ended", async () => {
  const preview = createPreviewer({ ...oneAtATime, waiting: 1, perTenant: 2, seconds: 0.01, megabytes: 500 });
  await expect(preview(order, never)).rejects.toMatchObject({ code: "memory" });
});

test("a process that dies is no fault of the data", async () => {
  const preview = createPreviewer({ ...oneAtATime, waiting: 1, perTenant: 2, seconds: 30, megabytes: 500 });
  vi.stubEnv("NODE_OPTIONS", "--require=/nowhere/at-all.cjs");
  try {
    await expect(preview(order, never)).rejects.toMatchObject({
      code: "device",
      message: "the process of the preview ended: exit code 1",
    });
  } finally {
    vi.unstubAllEnvs();
  }
});

test("too many are refused; one whose client has left makes room", async () => {
  const preview = createPreviewer({ ...oneAtATime, waiting: 1, perTenant: 2, seconds: 30, megabytes: 500 });
  const [first, second] = [new AbortController(), new AbortController()];
  const made = preview(order, { tenant: "acme", signal: first.signal });
  const waits = preview(order, { tenant: "zeta", signal: second.signal });
  await expect(preview(order, never)).rejects.toMatchObject({ code: "busy" });
  second.abort();
  await expect(waits).rejects.toMatchObject({ code: "cancelled" });
  first.abort();
  await expect(made).rejects.toThrow();
  await expect(preview({ ...order, lines: [9999] }, never)).rejects.toMatchObject({ code: "bad_option" });
});

test("a tenant that has many leaves room for others", async () => {
  const preview = createPreviewer({ ...oneAtATime, waiting: 8, perTenant: 1, seconds: 0.5, megabytes: 500 });
  const first = new AbortController();
  const made = preview(order, { tenant: "acme", signal: first.signal });
  await expect(preview(order, never)).rejects.toMatchObject({ code: "busy" });
  const other = preview({ ...order, lines: [9999] }, { ...never, tenant: "zeta" });
  first.abort();
  await expect(made).rejects.toMatchObject({ name: "AbortError" });
  await expect(other).rejects.toMatchObject({ code: "memory" }); // it had its turn
});
