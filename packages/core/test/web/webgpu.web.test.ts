// A step on WebGPU, which Chromium computes in software here: numbers as on Node, and nothing but shapes on the CPU.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { finetune } from "../../src/index.ts";
import { openPage } from "./page.ts";

/** Short, since software takes seconds for a step. The base is float16, which this adapter does not compute with. */
const RUN = {
  data: Array.from({ length: 2 }, (_, i) => ({ prompt: `Say ${i}.`, completion: `Ahoy, ${i}!` })),
  adapter: { method: "mos", rank: 3, equivalentRank: 2, shardsPerVector: 2 },
  settings: { steps: 1, batchSize: 2, maxLength: 32, validationSplit: 0 },
} as const;

/** Arithmetic of shapes. */
const ALLOWED = ["Add", "Concat", "Gather", "Mul", "Shape", "Slice", "Unsqueeze"];

/** Has the runtime tell a worker where each node of a program runs. */
const LISTEN = `(async () => {
  const { env, InferenceSession } = await import("/runtime/ort.webgpu.min.mjs");
  globalThis.lines = [];
  for (const name of ["debug", "error", "info", "log", "warn"])
    console[name] = (...parts) => void lines.push(...parts.join(" ").split("\\n"));
  const create = InferenceSession.create.bind(InferenceSession);
  InferenceSession.create = (model, options) => create(model, { ...options, logSeverityLevel: 0 });
  env.logLevel = "verbose";
  Object.defineProperty(env, "logLevel", { get: () => "verbose", set: () => undefined });
})()`;

/** Operators by the provider that has them. */
function readPlacement(lines: readonly string[]): ReadonlyMap<string, readonly string[]> {
  const placed = new Map<string, string[]>();
  let provider: string[] = [];
  for (const line of lines) {
    const name = /placed on \[(\w+)\]/.exec(line)?.[1];
    if (name !== undefined) {
      provider = placed.get(name) ?? [];
      placed.set(name, provider);
    }
    const operator = /\]\s+(\w+) \([^)]*\)\s*$/.exec(line)?.[1];
    if (name === undefined && operator !== undefined) provider.push(operator);
  }
  return placed;
}

async function nodeLoss(): Promise<number | undefined> {
  const folder = await mkdtemp(join(tmpdir(), "mos-webgpu-"));
  try {
    for await (const event of finetune({ ...RUN, model: "assets/tiny-english", out: join(folder, "node") }))
      if (event.type === "step") return event.loss;
    return undefined;
  } finally {
    await rm(folder, { recursive: true });
  }
}

test("a GPU in software is not chosen by itself", async () => {
  await using web = await openPage();
  const device = await web.run<string>(
    `await using mos = await openWeb({ ...options, device: "auto" });
    return mos.device;`,
  );
  expect(device).toBe("wasm");
});

test("a training step on WebGPU has Node's loss, and computes no number on the CPU", async () => {
  await using web = await openPage();
  await web.run(
    `globalThis.mos = await openWeb({ ...options, device: "webgpu" });
    globalThis.model = await mos.loadModel("/assets/tiny-english/");`,
  );
  const [worker] = web.page.workers();
  await worker?.evaluate(LISTEN);
  const loss = await web.run<number>(
    `for await (const event of mos.finetune({ ...argument, model, out: "gpu" }))
      if (event.type === "step") return event.loss;`,
    RUN,
  );
  expect(Math.abs(loss - ((await nodeLoss()) ?? Number.NaN))).toBeLessThan(1e-4);
  const lines = (await worker?.evaluate<string[]>("lines")) ?? [];
  const placed = readPlacement(lines);
  expect(placed.get("WebGpuExecutionProvider")?.length, lines.slice(0, 50).join("\n")).toBeGreaterThan(200);
  const onHost = new Set(placed.get("CPUExecutionProvider"));
  expect([...onHost].filter((operator) => !ALLOWED.includes(operator))).toEqual([]);
  // a number that the CPU computed would have to be copied
  expect(lines.filter((line) => /Memcpy nodes are added/.test(line))).toEqual([]);
});
