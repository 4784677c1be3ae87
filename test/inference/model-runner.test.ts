import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type ExpandedFactors, expandFactors } from "#adapters";
import { randomStream } from "#core";
import {
  createDecoder,
  createModelRunner,
  type ModelRunner,
  prepareWeights,
  type RowAdapter,
} from "#inference";
import { geometryOf } from "#recipes";
import { randomAdapter } from "../random-adapter.ts";
import { type TinyModel, tinyModel } from "../tiny-model.ts";

const MAX_LENGTH = 64;

/** An adapter whose B is not zero. */
async function adapterOf(
  { config }: TinyModel,
  seed: number,
  rank: number,
): Promise<ReadonlyMap<string, ExpandedFactors>> {
  const settings = { method: "lora", rank, seed };
  return expandFactors(randomAdapter(settings, geometryOf(config), { seed, deviation: 0.3 }));
}

/** Logits behind the last of some tokens, by the decoder, alone. */
async function aloneOf(
  { config, weights }: TinyModel,
  adapter: RowAdapter,
  tokens: readonly number[],
): Promise<Float32Array> {
  await using decoder = await createDecoder({
    config,
    weightData: weights,
    rows: [adapter],
    maxLength: MAX_LENGTH,
  });
  return (await decoder.append([tokens]))[0]!.slice();
}

const prompt = (seed: number, length: number): readonly number[] => {
  const random = randomStream(seed, "prompt");
  return Array.from({ length }, () => random.below(48));
};

function expectClose(actual: Float32Array | undefined, expected: Float32Array): void {
  expect(actual).toBeDefined();
  expected.forEach((x, i) => {
    expect(Math.abs(x - actual![i]!)).toBeLessThan(1e-4);
  });
}

// the fused step of few rows takes heads of 8, 16 and so on; others have the general one
describe.each([
  ["heads of 4", {}],
  ["heads of 8", { head_dim: 8 }],
  ["biases", { head_dim: 8, attention_bias: true, mlp_bias: true }],
])("rows side by side equal each alone: %s", (_, overrides) => {
  const model = tinyModel({ overrides });
  const { config, weights } = model;
  const alone = (adapter: RowAdapter, tokens: readonly number[]) => aloneOf(model, adapter, tokens);
  let program: ModelRunner;
  beforeAll(async () => {
    const prepared = await prepareWeights(config, new Map(weights), { quantize: "none" });
    program = await createModelRunner(prepared, { maxLength: MAX_LENGTH });
  });
  afterAll(() => program[Symbol.asyncDispose]());

  test("with different adapters, lengths, chunks, and rows that come and go", async () => {
    const [one, two] = [await adapterOf(model, 1, 2), await adapterOf(model, 2, 3)];
    const { cache, slots } = program;
    cache.resize(3, 64);
    slots.resize(3, 3);
    slots.fill(0, one);
    slots.fill(2, two);
    const prompts = [prompt(1, 9), prompt(2, 5), prompt(3, 13)];
    // the prompts, each in a step of its own row, the last in two chunks
    await program.run({ from: 0, count: 1, tokens: [prompts[0]!] });
    await program.run({ from: 1, count: 1, tokens: [prompts[1]!] });
    await program.run({ from: 2, count: 1, tokens: [prompts[2]!.slice(0, 6)] });
    await program.run({ from: 2, count: 1, tokens: [prompts[2]!.slice(6)] });
    const next = await program.run({ from: 0, count: 3, tokens: [[7], [8], [9]] });
    expectClose(next[0]![0], await alone(one, [...prompts[0]!, 7]));
    expectClose(next[1]![0], await alone(undefined, [...prompts[1]!, 8]));
    expectClose(next[2]![0], await alone(two, [...prompts[2]!, 9]));
    // row 0 ends, row 2 takes its place, row 1 pauses
    cache.move(2, 0);
    slots.move(2, 0);
    cache.truncate(2, 0);
    const moved = await program.run({ from: 0, count: 2, tokens: [[4], []] });
    expect(moved[1]).toEqual([]);
    expectClose(moved[0]![0], await alone(two, [...prompts[2]!, 9, 4]));
    // one row alone
    const lone = await program.run({ from: 0, count: 1, tokens: [[11]] });
    expectClose(lone[0]![0], await alone(two, [...prompts[2]!, 9, 4, 11]));
    // more places, and a row that goes on after its pause
    cache.resize(3, 128);
    const paused = await program.run({ from: 1, count: 1, tokens: [[3]] });
    expectClose(paused[0]![0], await alone(undefined, [...prompts[1]!, 8, 3]));
    // fewer rows and places
    cache.resize(2, 64);
    const both = await program.run({ from: 0, count: 2, tokens: [[1], [2]] });
    expectClose(both[0]![0], await alone(two, [...prompts[2]!, 9, 4, 11, 1]));
    expectClose(both[1]![0], await alone(undefined, [...prompts[1]!, 8, 3, 2]));
  });

  test("at every place of a prompt", async () => {
    const { cache, slots } = program;
    cache.resize(1, 64);
    cache.truncate(0, 0);
    slots.resize(1, 1);
    const ids = prompt(4, 6);
    const [logits] = await program.run({ from: 0, count: 1, tokens: [ids], allLogits: true });
    expect(logits).toHaveLength(6);
    for (const [i, at] of logits!.entries()) expectClose(at, await alone(undefined, ids.slice(0, i + 1)));
  });
});
