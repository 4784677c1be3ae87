// Where the runtime computes what it was asked to compute on WebGPU. Needs a Vulkan driver, which may be software (Mesa's
// lavapipe), and MOS_TEST_WEBGPU=1; .ci/full has both.
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { SessionOptions } from "mixture-of-shards-graph";
import type { WeightFormat } from "mixture-of-shards-graph/common";
import { describe, expect, test } from "vitest";
import { expandFactors } from "#adapters";
import { makeBatch } from "#data";
import { capacityFor, createModelRunner, prepareWeights } from "#inference";
import { defaultComputeDtype, type LoadedModel, toLayerShapes, type Weight } from "#models";
import { adapterModel, type BatchGradients, gradientSource } from "#training";
import { randomAdapter } from "./random-adapter.ts";
import { FORMS, randomWeight } from "./stored-weights.ts";
import { randomExamples, tinyLoaded } from "./tiny-training.ts";

const plain = tinyLoaded({
  overrides: { hidden_size: 64, intermediate_size: 128, head_dim: 16, vocab_size: 64 },
});
const FLOAT32: WeightFormat = { kind: "float32" };
const FORMATS: readonly (readonly [string, WeightFormat])[] = [
  ["float32", FLOAT32],
  ...Object.entries(FORMS).filter(([name]) => /Q4_0|Q4_1|Q8_0|nf4/.test(name)),
];

function makeBase(format: WeightFormat): LoadedModel {
  const weights = [...plain.weights].map(([name, weight]): readonly [string, Weight] => [
    name,
    format === FLOAT32 || weight.shape.length < 2 ? weight : randomWeight(format, weight.shape, name),
  ]);
  return { ...plain, weights: new Map(weights) };
}

/** Nodes of a session's profile that computed numbers on the CPU; integers of shapes and indices stay there. */
async function nodesOnHost(prefix: string): Promise<readonly string[]> {
  const [folder, name] = [join(prefix, ".."), prefix.split("/").at(-1) ?? ""];
  const files = (await readdir(folder)).filter((file) => file.startsWith(name));
  expect(files.length).toBeGreaterThan(0);
  const found: string[] = [];
  for (const file of files)
    for (const { cat, args } of JSON.parse(await readFile(join(folder, file), "utf8")))
      if (cat === "Node" && args.provider === "CPUExecutionProvider")
        if (args.output_type_shape.some((type: object) => "float" in type)) found.push(args.op_name);
  return [...new Set(found)];
}

/** Runs on the CPU and on WebGPU; gives both results, and the operators that WebGPU left on the CPU. */
async function onBoth<T>(run: (session: SessionOptions) => Promise<T>) {
  const folder = await mkdtemp(join(tmpdir(), "mos-webgpu-"));
  try {
    const profile = join(folder, "profile");
    const found = await run({ device: "webgpu", profile });
    return { found, expected: await run({ device: "cpu" }), onHost: await nodesOnHost(profile) };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The largest difference by the largest number. */
function distance(found: ArrayLike<number>, expected: ArrayLike<number>): number {
  const size = Math.max(...Array.from(expected, Math.abs));
  return Math.max(...Array.from(expected, (x, i) => Math.abs(x - (found[i] ?? Number.NaN)))) / size;
}

const batch = makeBatch([randomExamples([9, 5, 14]), randomExamples([3, 20])], { length: 32, padToken: 0 });

async function computeGradients(base: LoadedModel, session: SessionOptions): Promise<BatchGradients> {
  const settings = { method: "mos", rank: 3, equivalentRank: 2, shardsPerVector: 2 } as const;
  const adapter = randomAdapter(settings, toLayerShapes(base.config), { seed: 7, deviation: 0.2 });
  await using source = gradientSource(adapterModel(base, adapter), session);
  const result = await source.gradients(batch, undefined);
  return { ...result, gradients: new Map([...result.gradients].map(([name, g]) => [name, g.slice()])) };
}

/** Logits of a prompt, of a decoded token, and of four sequences at once, each with an adapter. */
async function computeLogits(base: LoadedModel, session: SessionOptions): Promise<readonly Float32Array[]> {
  const { config, weights } = base;
  const formats = [...weights].map(([name, { format }]) => [name, format] as const);
  const computeDtype = defaultComputeDtype(formats, "webgpu");
  await using prepared = await prepareWeights(config, weights, { computeDtype });
  const adapter = randomAdapter({ method: "lora", rank: 4 }, toLayerShapes(config), {
    seed: 3,
    deviation: 0.3,
  });
  const factors = await expandFactors(adapter);
  await using runner = await createModelRunner(prepared, { maxLength: 64, adapters: true, session });
  runner.cache.resize(4, capacityFor(64));
  runner.slots.resize(4, 4);
  for (let slot = 0; slot < 4; slot++) runner.slots.fill(slot, factors);
  const step = async (count: number, tokens: readonly number[]) =>
    (
      await runner.run({
        from: 0,
        count,
        tokens: Array.from({ length: count }, (_, i) => tokens.map((t) => t + i)),
      })
    ).flatMap((row) => row.map((logits) => logits.slice()));
  const few = [...(await step(1, [5, 9, 13, 8, 3, 30])), ...(await step(1, [7]))];
  for (let slot = 0; slot < 4; slot++) runner.cache.truncate(slot, 0);
  return [...few, ...(await step(4, [5, 9, 13, 8])), ...(await step(4, [7]))];
}

describe.skipIf(process.env["MOS_TEST_WEBGPU"] === undefined)("on WebGPU", () => {
  test.each(FORMATS)("a training step computes no number on the CPU: %s", async (_, format) => {
    const { found, expected, onHost } = await onBoth((session) =>
      computeGradients(makeBase(format), session),
    );
    expect(onHost).toEqual([]);
    expect(found.loss / expected.loss).toBeCloseTo(1, 5);
    for (const [name, gradient] of expected.gradients)
      expect(distance(found.gradients.get(name) ?? [], gradient), name).toBeLessThan(1e-3);
  });

  test.each(FORMATS)("prefill and decoding compute no number on the CPU: %s", async (_, format) => {
    const { found, expected, onHost } = await onBoth((session) => computeLogits(makeBase(format), session));
    expect(onHost).toEqual([]);
    expect(found).toHaveLength(expected.length);
    for (const [i, logits] of expected.entries()) expect(distance(found[i] ?? [], logits)).toBeLessThan(1e-4);
  });
});
