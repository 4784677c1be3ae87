// Steps of the model runner against the forward pass of training.

import type { WeightFormat } from "mixture-of-shards-graph/common";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { expandFactors, type FactorMap } from "#adapters";
import { randomStream } from "#common";
import {
  createModelRunner,
  type ModelRunner,
  type ModelRunnerOptions,
  mergeAdapter,
  type PrepareOptions,
  prepareWeights,
} from "#inference";
import { dequantizeWeight, floatWeight, toLayerShapes, type Weight } from "#models";
import { largestDifference } from "../largest-difference.ts";
import { randomAdapter } from "../random-adapter.ts";
import { FORMS, randomWeight } from "../stored-weights.ts";
import { TINY_FAMILIES } from "../tiny-families.ts";
import { floatWeights, type TinyModel, tinyModel } from "../tiny-model.ts";
import { trainingLogits } from "../training-logits.ts";

/** The factors of a LoRA whose B is not zero, on all linear layers or some. */
function makeFactors(
  { config }: TinyModel,
  seed: number,
  settings: { readonly rank: number; readonly targets?: readonly string[] },
): Promise<FactorMap> {
  const given = { method: "lora", seed, ...settings };
  return expandFactors(randomAdapter(given, toLayerShapes(config), { seed, deviation: 0.3 }));
}

async function openRunner(
  { config, weights }: TinyModel,
  { mergedAdapter, ...options }: Partial<ModelRunnerOptions> & { readonly mergedAdapter?: FactorMap } = {},
): Promise<ModelRunner> {
  const base = await prepareWeights(config, floatWeights(weights));
  if (mergedAdapter !== undefined) await mergeAdapter(base, mergedAdapter);
  return createModelRunner(base, { maxLength: config.maxPositions, ...options });
}

/** Weights that are let go of as they are taken, so that no more than one is held twice. */
function* consume<T>(weights: Map<string, T>): Generator<readonly [string, T]> {
  for (const entry of weights) {
    weights.delete(entry[0]);
    yield entry;
  }
}

const randomIds = (seed: number, length: number): readonly number[] => {
  const random = randomStream(seed, "prompt");
  return Array.from({ length }, () => random.below(48));
};

const expectClose = (actual: Float32Array | undefined, expected: Float32Array | undefined): void =>
  expect(largestDifference(actual, expected)).toBeLessThan(1e-4);

// heads of a multiple of 8 decode few slots by the fused program, others by the general one; it rotates heads of 16 itself
const models: readonly (readonly [string, TinyModel])[] = [
  ["heads of 4", tinyModel({ overrides: { max_position_embeddings: 400 } })],
  ["heads of 16", tinyModel({ overrides: { head_dim: 16, max_position_embeddings: 400 } })],
  ["heads of 8", tinyModel({ overrides: { head_dim: 8, max_position_embeddings: 400 } })],
  [
    "biases and a tied head",
    tinyModel({
      overrides: { head_dim: 8, attention_bias: true, mlp_bias: true, tie_word_embeddings: true },
    }),
  ],
];

describe.each(models)("slots side by side compute what training computes: %s", (_, model) => {
  const last = async (tokens: readonly number[], adapter?: FactorMap): Promise<Float32Array | undefined> =>
    (await trainingLogits(model, tokens, adapter)).at(-1);
  let runner: ModelRunner;
  beforeAll(async () => {
    runner = await openRunner(model);
  });
  afterAll(() => runner[Symbol.asyncDispose]());

  test("with different adapters, lengths, chunks, and slots that come and go", async () => {
    const [one, two] = [await makeFactors(model, 1, { rank: 2 }), await makeFactors(model, 2, { rank: 3 })];
    const { cache, slots } = runner;
    cache.resize(0, 0);
    slots.resize(0, 0);
    cache.resize(3, 64);
    slots.resize(3, 3);
    slots.fill(0, one);
    slots.fill(2, two);
    const prompts = [randomIds(1, 9), randomIds(2, 5), randomIds(3, 13)];
    // the prompts, each in a step of its own slot, the last in two chunks
    await runner.run({ from: 0, count: 1, tokens: [prompts[0]!] });
    await runner.run({ from: 1, count: 1, tokens: [prompts[1]!] });
    await runner.run({ from: 2, count: 1, tokens: [prompts[2]!.slice(0, 6)] });
    await runner.run({ from: 2, count: 1, tokens: [prompts[2]!.slice(6)] });
    const next = await runner.run({ from: 0, count: 3, tokens: [[7], [8], [9]] });
    expectClose(next[0]![0], await last([...prompts[0]!, 7], one));
    expectClose(next[1]![0], await last([...prompts[1]!, 8]));
    expectClose(next[2]![0], await last([...prompts[2]!, 9], two));
    // slot 0 ends, slot 2 takes its place, slot 1 pauses
    cache.move(2, 0);
    slots.move(2, 0);
    cache.truncate(2, 0);
    const moved = await runner.run({ from: 0, count: 2, tokens: [[4], []] });
    expect(moved[1]).toEqual([]);
    expectClose(moved[0]![0], await last([...prompts[2]!, 9, 4], two));
    // one slot alone
    const lone = await runner.run({ from: 0, count: 1, tokens: [[11]] });
    expectClose(lone[0]![0], await last([...prompts[2]!, 9, 4, 11], two));
    // a larger cache, and a slot that resumes after its pause
    cache.resize(3, 128);
    const paused = await runner.run({ from: 1, count: 1, tokens: [[3]] });
    expectClose(paused[0]![0], await last([...prompts[1]!, 8, 3]));
    // fewer slots and positions
    cache.resize(2, 64);
    const both = await runner.run({ from: 0, count: 2, tokens: [[1], [2]] });
    expectClose(both[0]![0], await last([...prompts[2]!, 9, 4, 11, 1], two));
    expectClose(both[1]![0], await last([...prompts[1]!, 8, 3, 2]));
  });

  test("where a step has slots with many, few and no tokens", async () => {
    const adapters = [
      await makeFactors(model, 1, { rank: 3 }),
      undefined,
      await makeFactors(model, 2, { rank: 1, targets: ["q_proj", "down_proj"] }),
      await makeFactors(model, 3, { rank: 5, targets: ["v_proj", "gate_proj"] }),
    ];
    const steps = [
      [randomIds(1, 5), randomIds(2, 20), randomIds(3, 1), randomIds(4, 7)],
      [randomIds(5, 3), [], randomIds(6, 9), randomIds(7, 1)],
      [[], [], randomIds(8, 30), []],
      [randomIds(9, 10), randomIds(10, 2), [], randomIds(11, 1)],
    ];
    const { cache, slots } = runner;
    cache.resize(0, 0);
    cache.resize(4, 64);
    slots.resize(4, 5);
    for (const [slot, adapter] of adapters.entries()) if (adapter !== undefined) slots.fill(slot, adapter);
    const held = adapters.map((): number[] => []);
    for (const tokens of steps) {
      const logits = await runner.run({ from: 0, count: 4, tokens });
      for (const [slot, added] of tokens.entries()) {
        held[slot]!.push(...added);
        if (added.length === 0) expect(logits[slot]).toEqual([]);
        else expectClose(logits[slot]![0], await last(held[slot]!, adapters[slot]));
      }
    }
    expect(cache.lengths).toEqual(held.map(({ length }) => length));
  });

  test("in the general program and in the fused one, with logits of all positions or of the last", async () => {
    const adapter = await makeFactors(model, 4, { rank: 2 });
    const { cache, slots } = runner;
    cache.resize(0, 0);
    cache.resize(2, 64);
    slots.resize(2, 2);
    slots.fill(1, adapter);
    const prompts = [randomIds(4, 6), randomIds(5, 9)] as const;
    const [all] = await runner.run({ from: 0, count: 1, tokens: [prompts[0]], allLogits: true });
    const [first] = await runner.run({ from: 1, count: 1, tokens: [prompts[1]] });
    expect(all).toHaveLength(6);
    expect(first).toHaveLength(1);
    for (const [i, expected] of (await trainingLogits(model, prompts[0])).entries())
      expectClose(all![i], expected);
    const few = { from: 0, count: 2, tokens: [[3], [4]] };
    const fused: Float32Array[] = [];
    for (const [from, token] of few.tokens.entries()) {
      const [logits] = await runner.run({ from, count: 1, tokens: [token] });
      fused.push(logits![0]!.slice());
    }
    cache.truncate(0, 6);
    cache.truncate(1, 9);
    // logits of all tokens are given by the general program only
    const plain = await runner.run({ ...few, allLogits: true });
    expectClose(fused[0], plain[0]![0]);
    expectClose(fused[1], plain[1]![0]);
    expectClose(fused[1], await last([...prompts[1], 4], adapter));
    // a cache too large to be copied at every step
    cache.resize(2, 4096);
    cache.truncate(0, 6);
    cache.truncate(1, 9);
    const large = await runner.run(few);
    expectClose(large[0]![0], fused[0]);
    expectClose(large[1]![0], fused[1]);
  });
});

const [, [, model]] = models as readonly [unknown, readonly [string, TinyModel]];

describe("one slot", () => {
  test.each(models.slice(0, 3))(
    "computes what training computes, with tokens all at once, in chunks, or one by one while the cache grows: %s",
    async (_, long) => {
      const tokens = randomIds(7, 330);
      const expected = await trainingLogits(long, tokens);
      await using runner = await openRunner(long, { adapters: false });
      const { cache } = runner;
      cache.resize(1, 64);
      for (const [i, token] of tokens.entries()) {
        if (i === cache.capacity) cache.resize(1, i + 64);
        const [logits] = await runner.run({ from: 0, count: 1, tokens: [[token]] });
        if ([0, 1, 62, 63, 64, 65, 95, 96, 127, 128, 191, 192, 256, 287, 288, 329].includes(i))
          expectClose(logits![0], expected[i]);
      }
      for (const cuts of [[330], [63, 64, 65, 97, 330], [1, 129, 330], [300, 330]]) {
        cache.truncate(0, 0);
        let from = 0;
        for (const to of cuts) {
          const [logits] = await runner.run({ from: 0, count: 1, tokens: [tokens.slice(from, to)] });
          expectClose(logits![0], expected[to - 1]);
          expect(cache.lengths).toEqual([to]);
          from = to;
        }
      }
    },
  );

  test.each(models.slice(1))(
    "is computed by the fused program, and so are two without adapters: %s",
    async (_, few) => {
      await using runner = await openRunner(few, { adapters: false });
      runner.cache.resize(2, 64);
      const prompts = [randomIds(4, 6), randomIds(5, 9)] as const;
      for (const [from, prompt] of prompts.entries()) await runner.run({ from, count: 1, tokens: [prompt] });
      const step = { from: 0, count: 2, tokens: [[3], [4]] };
      expect(runner.usesFused(step)).toBe(true);
      const logits = await runner.run(step);
      for (const [slot, prompt] of prompts.entries()) {
        const expected = await trainingLogits(few, [...prompt, ...step.tokens[slot]!]);
        expectClose(logits[slot]![0], expected.at(-1));
      }
    },
  );

  test("computes the same with an adapter in the slot and with the adapter merged into the base", async () => {
    const adapter = await makeFactors(model, 5, {
      rank: 3,
      targets: ["q_proj", "o_proj", "up_proj", "down_proj"],
    });
    const untouched = model.weights.get("model.layers.0.self_attn.q_proj.weight")!.data.slice();
    await using merged = await openRunner(model, { mergedAdapter: adapter, adapters: false });
    await using slotted = await openRunner(model);
    slotted.slots.resize(1, 4);
    slotted.slots.fill(0, adapter);
    const tokens = randomIds(8, 20);
    const expected = await trainingLogits(model, tokens, adapter);
    const base = await trainingLogits(model, tokens);
    for (const runner of [merged, slotted]) {
      runner.cache.resize(1, 64);
      const [prompt] = await runner.run({ from: 0, count: 1, tokens: [tokens.slice(0, 19)] });
      expectClose(prompt![0], expected[18]);
      const [decoded] = await runner.run({ from: 0, count: 1, tokens: [tokens.slice(19)] });
      expectClose(decoded![0], expected[19]);
      expect(largestDifference(decoded![0], base[19])).toBeGreaterThan(0.1);
    }
    expect(model.weights.get("model.layers.0.self_attn.q_proj.weight")!.data).toEqual(untouched);
  });

  test("runs a sequence of the maximum length, and starts the next without a trace of it", async () => {
    await using runner = await openRunner(model, { maxLength: 70, adapters: false });
    runner.cache.resize(1, 128);
    const tokens = randomIds(9, 70);
    await runner.run({ from: 0, count: 1, tokens: [tokens.slice(0, 69)] });
    const [first] = await runner.run({ from: 0, count: 1, tokens: [tokens.slice(69)] });
    expectClose(first![0], (await trainingLogits(model, tokens)).at(-1));
    runner.cache.truncate(0, 0);
    const [again] = await runner.run({ from: 0, count: 1, tokens: [tokens.slice(0, 30)] });
    expect(
      largestDifference(again![0], (await trainingLogits(model, tokens.slice(0, 30))).at(-1)),
    ).toBeLessThan(1e-5);
  });
});

describe("a stored base", () => {
  const wide = tinyModel({
    overrides: {
      hidden_size: 64,
      intermediate_size: 96,
      head_dim: 16,
      attention_bias: true,
      mlp_bias: true,
      tie_word_embeddings: true,
    },
  });
  const { config } = wide;

  /** Random weights of a form; those of an NF4 base whose rows its blocks do not divide are in smaller ones. */
  function storedWeights(format: WeightFormat): Map<string, Weight> {
    const ofMatrix = (shape: readonly number[]): WeightFormat =>
      format.kind === "nf4" && (shape[1] ?? 0) % format.blockSize !== 0
        ? { ...format, blockSize: 32 }
        : format;
    return new Map(
      [...floatWeights(wide.weights)].map(([name, weight]) => [
        name,
        weight.shape.length === 1 ? weight : randomWeight(ofMatrix(weight.shape), weight.shape, name),
      ]),
    );
  }
  const expanded = (weights: ReadonlyMap<string, Weight>): Map<string, Weight> =>
    new Map(
      [...weights].map(([name, weight]) => [name, floatWeight(weight.shape, dequantizeWeight(weight))]),
    );

  async function computeLogits(
    weights: Map<string, Weight>,
    options: PrepareOptions & Pick<ModelRunnerOptions, "cacheDtype"> = {},
  ): Promise<readonly Float32Array[]> {
    const { cacheDtype = "float32", ...prepare } = options;
    await using base = await prepareWeights(config, weights, prepare);
    await using runner = await createModelRunner(base, { maxLength: config.maxPositions, cacheDtype });
    runner.cache.resize(2, 64);
    runner.slots.resize(2, 1);
    const tokens = randomIds(11, 12);
    const prompt = { from: 0, count: 1, tokens: [tokens.slice(0, 11)], allLogits: true };
    const [read] = await runner.run(prompt);
    // one token of one slot runs the fused program
    const [decoded] = await runner.run({ from: 0, count: 1, tokens: [tokens.slice(11)] });
    return [...read!, ...decoded!];
  }

  /** The largest difference of two lists of logits, relative to the largest logit. */
  function relative(actual: readonly Float32Array[], expected: readonly Float32Array[]): number {
    const most = Math.max(...expected.flatMap((logits) => [...logits].map(Math.abs)));
    return Math.max(...actual.map((logits, i) => largestDifference(logits, expected[i]))) / most;
  }

  test.each(Object.entries(FORMS))("has the logits of its numbers in float32: %s", async (_, format) => {
    const weights = storedWeights(format);
    const expected = await computeLogits(expanded(weights));
    expect(relative(await computeLogits(new Map(weights)), expected)).toBeLessThan(1e-5);
    if (format.kind === "float16" || format.kind === "bfloat16")
      expect(relative(await computeLogits(weights, { expand: false }), expected)).toBeLessThan(1e-5);
    else expect(relative(await computeLogits(weights, { computeDtype: "int8" }), expected)).toBeLessThan(0.1);
  });

  test("a matrix of another form in a group is a product by itself", async () => {
    const [four = { kind: "nf4", blockSize: 32 }, six = four] = [
      FORMS["4 bits, offsets, halves (Q4_1)"],
      FORMS["8 bits, blocks of 16 (Q6_K)"],
    ];
    const weights = storedWeights(four);
    for (const name of ["self_attn.v_proj", "mlp.gate_proj"]) {
      const path = `model.layers.0.${name}.weight`;
      weights.set(path, randomWeight(six, weights.get(path)!.shape, path));
    }
    weights.set(
      "model.layers.1.mlp.up_proj.weight",
      expanded(weights).get("model.layers.1.mlp.up_proj.weight")!,
    );
    expect(relative(await computeLogits(weights), await computeLogits(expanded(weights)))).toBeLessThan(1e-5);
  });

  test("a cache of float16 rounds keys and values alone", async () => {
    const weights = floatWeights(wide.weights);
    const expected = await computeLogits(new Map(weights));
    const actual = await computeLogits(new Map(weights), { cacheDtype: "float16" });
    // a prompt's own keys and values are not rounded
    expect(relative(actual.slice(0, 11), expected.slice(0, 11))).toBe(0);
    expect(relative(actual, expected)).toBeLessThan(1e-3);
    expect(relative(actual, expected)).toBeGreaterThan(0);
  });

  test("lets go of stored weights as they are packed; a float32 base uses them as they are", async () => {
    const taken = storedWeights(FORMS["4 bits, zero point 8, halves (Q4_0)"]!);
    await using base = await prepareWeights(config, consume(taken));
    expect(taken.size).toBe(0);
    expect(base.feeds).toEqual({});
    const weights = floatWeights(wide.weights);
    await using plain = await prepareWeights(config, weights);
    for (const [name, { data }] of Object.entries(plain.feeds))
      expect(data).toBe(weights.get(name)?.parts.data);
  });

  test("a missing weight is named, and an adapter is not merged into fewer bits", async () => {
    const weights = storedWeights(FORMS["nf4"]!);
    const adapter = await makeFactors(wide, 3, { rank: 2 });
    await using base = await prepareWeights(config, weights);
    await expect(mergeAdapter(base, adapter)).rejects.toThrowError(
      expect.objectContaining({ code: "bad_option" }),
    );
    weights.delete("model.layers.1.mlp.up_proj.weight");
    await expect(prepareWeights(config, weights)).rejects.toThrowError(
      expect.objectContaining({ code: "bad_model", message: expect.stringContaining("layers.1.mlp") }),
    );
  });
});

describe("a model runner", () => {
  test("refuses more positions than the model has", async () => {
    await expect(openRunner(model, { maxLength: 401 })).rejects.toThrowError(
      expect.objectContaining({
        code: "bad_option",
        message: "401 tokens exceed the 400 positions of this model",
      }),
    );
  });

  test("can be disposed twice", async () => {
    const runner = await openRunner(model);
    await runner[Symbol.asyncDispose]();
    await runner[Symbol.asyncDispose]();
  });
});

test.each(["bfloat16", "8 bits, blocks of 16 (Q6_K)"])(
  "embeddings of each layer in %s are neither expanded nor fed, and are no part of a program",
  async (form) => {
    const name = "model.embed_tokens_per_layer.weight";
    const overrides = { ...TINY_FAMILIES["gemma4"], hidden_size_per_layer_input: 8 };
    const { config, weights } = tinyModel({ overrides });
    const table: Weight = randomWeight(FORMS[form]!, weights.get(name)!.shape);
    const all = new Map([...floatWeights(weights), [name, table]]);
    await using base = await prepareWeights(config, all);
    expect(Object.keys(base.feeds).filter((fed) => fed.startsWith(name))).toEqual([]);
    expect(base.constantBytes).toBe(0);
    await using runner = await createModelRunner(base, { maxLength: 64, adapters: false });
    runner.cache.resize(1, 64);
    const tokens = randomIds(1, 12);
    const logits = (await runner.run({ from: 0, count: 1, tokens: [tokens] }))[0]?.[0];
    const float = { shape: table.shape, data: dequantizeWeight(table) };
    const expected = await trainingLogits({ config, weights: new Map([...weights, [name, float]]) }, tokens);
    expectClose(logits, expected.at(-1));
  },
);
