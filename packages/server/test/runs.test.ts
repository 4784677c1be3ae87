// /v1/runs over run folders as `mos train` writes them, whole, half written and broken.
import { appendFile, mkdir, mkdtemp, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { lockFolder } from "mixture-of-shards-core/files";
import { afterEach, beforeEach, expect, test } from "vitest";
import { startCpuTimer } from "../../../test/cpu-time.ts";
import type { ApiKey } from "../src/auth.ts";
import { openRunFolders } from "../src/runs/folders.ts";
import { type Harness, makeServer } from "./harness.ts";

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "mos-runs-"));
});
afterEach(() => rm(root, { recursive: true, force: true }));

const stepLine = (step: number, loss: number): string =>
  `${JSON.stringify({
    ...{ type: "step", step, epoch: 0, loss, accuracy: 0.3, learningRate: 0.002, gradientNorm: 2.25 },
    ...{ tokens: 1980, targetTokens: 1065, examples: 47, seconds: 0.5 },
  })}\n`;
const evaluationLine = (step: number, loss: number): string =>
  `${JSON.stringify({ type: "evaluation", step, loss, accuracy: 0.3, best: true, seconds: 0.1 })}\n`;

interface NewRun {
  readonly steps?: number;
  readonly metrics?: string;
  readonly isComplete?: boolean;
  /** Seconds since 1970. */
  readonly at?: number;
}

async function addRun(name: string, { steps = 10, metrics, isComplete = false, at = 1e9 }: NewRun = {}) {
  const folder = join(root, name);
  await mkdir(folder, { recursive: true });
  const record = {
    format: 1,
    adapter: { method: "mos", rank: 6, targets: ["q_proj", "v_proj"], alpha: 16 },
    settings: { steps, learningRate: 0.002, nested: { deep: 1 } },
    ...{ baseDtype: "stored", computeDtype: "float32", train: "sha256:1", validation: null },
  };
  await writeFile(join(folder, "run.json"), JSON.stringify(record));
  await utimes(join(folder, "run.json"), at, at);
  if (metrics !== undefined) await writeFile(join(folder, "metrics.jsonl"), metrics);
  if (isComplete)
    await writeFile(
      join(folder, "adapter_config.json"),
      '{"base_model_name_or_path":"/home/me/tiny-english"}',
    );
  return folder;
}

const ofKey = (name: string, isAdmin: boolean): ApiKey => ({ name, isAdmin, mayUse: () => true });

const serveRuns = async (): Promise<Harness> => {
  const runFolders = await openRunFolders(root, { adapters: root, maySee: () => true });
  return await makeServer({ server: { runFolders } });
};

test("a run folder is a run with its settings, measurements and state", async () => {
  const metrics = evaluationLine(0, 6) + stepLine(1, 5) + stepLine(2, 4) + evaluationLine(2, 3);
  await addRun("support", { metrics, isComplete: true });
  await using server = await serveRuns();
  const { json } = await server.send("/v1/runs");
  expect(json).toMatchObject({ object: "list", has_more: false });
  const [run] = json.data;
  expect(run).toMatchObject({
    ...{ object: "run", kind: "folder", name: "support", status: "succeeded", created_at: 1e9 },
    ...{ model: "tiny-english", method: "mos", tenant: null, step: 2, total_steps: 10, loss: 4 },
    ...{ validation_loss: 3, best_validation_loss: 3, best_step: 2, sparkline: [5, 4], error: null },
    ...{ fine_tuned_model: "support", trainable_parameters: null, finished_at: expect.any(Number) },
  });
  expect(run.settings).toEqual({
    ...{ method: "mos", rank: 6, targets: ["q_proj", "v_proj"], alpha: 16, steps: 10, learning_rate: 0.002 },
    ...{ base_dtype: "stored", compute_dtype: "float32" },
  });
  expect((await server.send(`/v1/runs/${run.id}`)).json).toEqual(run);
  expect((await server.send(`/v1/runs/${run.id}/metrics?from_step=2`)).json).toEqual({
    object: "run.metrics",
    training: {
      ...{ step: [2], loss: [4], learning_rate: [0.002], gradient_norm: [2.25] },
      tokens_per_second: [3960],
    },
    validation: { step: [2], loss: [3] },
    last_step: 2,
  });
});

test("a run says what it has taught and what is lost; a file that says anything else says nothing", async () => {
  const folder = await addRun("taught", { metrics: stepLine(1, 5), isComplete: true });
  await using server = await serveRuns();
  const outcome = async () => (await server.send("/v1/runs")).json.data[0].outcome;
  expect(await outcome()).toBeNull();
  const write = (content: unknown) => writeFile(join(folder, "outcome.json"), JSON.stringify(content));
  await write({ taught: { right: 4, of: 4 }, kept: { right: 1, of: 20 }, textLoss: { before: 4, after: 4 } });
  expect(await outcome()).toEqual({
    text: "Learnt: 4 of 4 answers word for word. Kept: 1 of 20 answers to general prompts, loss on ordinary text 4.00 → 4.00 (+0 %).",
    warning: expect.stringMatching(/^much of what the base knew is lost/),
  });
  await write({ kept: { right: 20, of: 20 }, textLoss: { before: 4, after: 4.1 } });
  expect(await outcome()).toMatchObject({ text: expect.stringMatching(/^Kept: 20 of 20/), warning: null });
  await write({ textLoss: { before: "<b>", after: 4 } });
  expect(await outcome()).toBeNull();
});

test("a run that is written to shows whole lines only, and is running while it is locked", async () => {
  const line = stepLine(2, 4);
  const folder = await addRun("live", { metrics: stepLine(1, 5) + line.slice(0, 20) });
  await using server = await serveRuns();
  const read = async () => (await server.send("/v1/runs")).json.data[0];
  expect(await read()).toMatchObject({ status: "interrupted", step: 1, loss: 5 });
  await using _lock = await lockFolder(folder);
  await appendFile(join(folder, "metrics.jsonl"), line.slice(20) + stepLine(3, 3).slice(0, 5));
  expect(await read()).toMatchObject({ status: "running", finished_at: null, step: 2, loss: 4 });
  // as a resumed run does, which makes the second step again
  await rm(join(folder, "metrics.jsonl"));
  await writeFile(join(folder, "metrics.jsonl"), stepLine(1, 5) + stepLine(2, 2) + stepLine(3, 1));
  expect(await read()).toMatchObject({ step: 3, loss: 1, sparkline: [5, 2, 1] });
});

test("broken files, links and other programs' folders never break the list", async () => {
  await addRun("good", { at: 2e9 });
  const text = `not JSON\n{"type":"step"}\n\n${stepLine(1, 5)}${"x".repeat(1 << 19)}\n${stepLine(2, 4)}\u0000\n`;
  const odd = await addRun("odd <img src=x onerror=alert(1)>", { metrics: text });
  await symlink(join(odd, "nowhere"), join(odd, "adapter_config.json"));
  const broken = await addRun("broken", { metrics: stepLine(7, 1) });
  await writeFile(join(broken, "run.json"), '{"settings": ');
  await writeFile(join(await addRun("other"), "run.json"), "[1, 2]");
  await mkdir(join(await addRun("blocked"), "metrics.jsonl"));
  await symlink(root, join(root, "circle"));
  await symlink("/dev/zero", join(await addRun("endless"), "metrics.jsonl"));
  await addRun("a/b/c/d");
  await addRun("a/b/c/e/f");
  await addRun("good/inner");
  await addRun("node_modules/package");
  await addRun(".hidden/run");
  await addRun(".good.retraining");
  await using server = await serveRuns();
  const { data } = (await server.send("/v1/runs")).json;
  const byName = new Map(data.map((run: { name: string }) => [run.name, run]));
  expect([...byName.keys()].sort()).toEqual(
    [
      "a/b/c/d",
      "blocked",
      "broken",
      "endless",
      "good",
      "good (retraining)",
      "odd <img src=x onerror=alert(1)>",
    ].sort(),
  );
  expect(data[0].name).toBe("good");
  expect(byName.get("odd <img src=x onerror=alert(1)>")).toMatchObject({ step: 2, status: "interrupted" });
  expect(byName.get("broken")).toMatchObject({
    error: expect.stringContaining("run.json"),
    method: null,
    step: 7,
  });
});

test("pages follow each other, and a wrong id or number is refused by name", async () => {
  for (let i = 0; i < 7; i++) await addRun(`run-${i}`, { at: 1e9 + (i >> 1) });
  await using server = await serveRuns();
  const names: string[] = [];
  let after = "";
  for (let hasMore = true; hasMore; ) {
    const { json } = await server.send(`/v1/runs?limit=3${after}`);
    names.push(...json.data.map(({ name }: { name: string }) => name));
    hasMore = json.has_more;
    after = `&after=${json.last_id}`;
  }
  expect(names).toHaveLength(7);
  expect(new Set(names).size).toBe(7);
  expect(names[0]).toBe("run-6");
  for (const [path, status, param] of [
    ["/v1/runs/run-none", 404, "id"],
    ["/v1/runs/run-none/metrics", 404, "id"],
    ["/v1/runs?after=none", 400, "after"],
    ["/v1/runs?limit=1001", 400, "limit"],
    ["/v1/runs/x/metrics?points=3", 400, "points"],
  ] as const) {
    const answer = await server.send(path);
    expect([answer.status, answer.json.error.param]).toEqual([status, param]);
  }
});

test("20,000 lines come as few rows with their extremes, and 100 runs are listed quickly", async () => {
  const loss = (step: number): number => (step === 14_444 ? 99 : 2 + Math.sin(step));
  const lines = Array.from({ length: 20_000 }, (_, i) => stepLine(i + 1, loss(i + 1))).join("");
  await addRun("long", { metrics: lines, at: 2e9 });
  const short = Array.from({ length: 50 }, (_, i) => stepLine(i + 1, loss(i + 1))).join("");
  for (let i = 0; i < 99; i++) await addRun(`group-${i % 10}/run-${i}`, { metrics: short, isComplete: true });
  await using server = await serveRuns();
  const { data } = (await server.send("/v1/runs?limit=1000")).json;
  expect(data).toHaveLength(100);
  const metrics = (await server.send(`/v1/runs/${data[0].id}/metrics`)).json;
  const { step, loss: shown } = metrics.training;
  expect(step.length).toBeLessThanOrEqual(2000);
  expect(step.length).toBeGreaterThan(400);
  expect([step[0], step.at(-1), metrics.last_step]).toEqual([1, 20_000, 20_000]);
  expect(shown[step.indexOf(14_444)]).toBe(99);
  expect(step).toEqual(step.toSorted((a: number, b: number) => a - b));
  const spent = startCpuTimer();
  await server.send("/v1/runs?limit=1000");
  // 0.1 s on an idle machine
  expect(spent()).toBeLessThan(5000);
});

test("a list that has not changed is not sent again", async () => {
  const folder = await addRun("support", { metrics: stepLine(1, 5) });
  await using server = await serveRuns();
  const etag = (await server.send("/v1/runs")).headers.get("etag") ?? "";
  const again = async () => (await server.send("/v1/runs", undefined, { "if-none-match": etag })).status;
  expect(await again()).toBe(304);
  await appendFile(join(folder, "metrics.jsonl"), stepLine(2, 4));
  expect(await again()).toBe(200);
});

test("run folders are for administrators where there are keys", async () => {
  await addRun("secret");
  const maySee = ({ isAdmin }: ApiKey): boolean => isAdmin;
  const runFolders = await openRunFolders(root, { adapters: undefined, maySee });
  const keys = { find: async (token: string) => ofKey(token, token === "root") };
  await using server = await makeServer({ server: { runFolders, keys } });
  const read = async (key: string, path = "") =>
    await server.send(`/v1/runs${path}`, undefined, { authorization: `Bearer ${key}` });
  const [{ id }] = (await read("root")).json.data;
  expect((await read("user")).json.data).toEqual([]);
  expect((await read("user", `/${id}`)).status).toBe(404);
  expect((await read("user", `/${id}/metrics`)).status).toBe(404);
});

test("a server without run folders has no runs; a folder that is none is refused", async () => {
  await using server = await makeServer();
  expect((await server.send("/v1/runs")).json).toEqual({
    ...{ object: "list", data: [], first_id: null, last_id: null, has_more: false },
  });
  const options = { adapters: undefined, maySee: () => true };
  await expect(openRunFolders(join(root, "none"), options)).rejects.toMatchObject({ code: "not_found" });
  await writeFile(join(root, "file"), "");
  await expect(openRunFolders(join(root, "file"), options)).rejects.toMatchObject({ code: "bad_option" });
});
