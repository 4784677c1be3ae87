// Models whose attention has windows, a soft cap, a scale of its own, or heads that are rotated in part, and tiny models of
// each family: steps of the runner against the forward pass of training.

import { serialize } from "mixture-of-shards-graph";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { randomStream } from "#common";
import { createModelRunner, type ModelRunner, prepareWeights } from "#inference";
import type { ModelConfig } from "#models";
import { generalStep } from "../../src/inference/step-graphs.ts";
import { largestDifference } from "../largest-difference.ts";
import { floatWeights, type TinyModel, tinyModel } from "../tiny-model.ts";
import { trainingLogits } from "../training-logits.ts";

const WINDOW = 4;
const V = 48;

/** A tiny model by its config.json, with changes of the config that it makes. */
function makeModel(json: Readonly<Record<string, unknown>>, choices: Partial<ModelConfig> = {}): TinyModel {
  const overrides = { head_dim: 8, num_hidden_layers: 3, max_position_embeddings: 128, ...json };
  const { config, weights } = tinyModel({
    overrides,
    // scores large enough for a cap to bend, and for what is outside the window to matter
    edit(all) {
      for (const [name, { data }] of all)
        if (name.includes("proj"))
          data.forEach((x, i) => {
            data[i] = 4 * x;
          });
    },
  });
  return { config: { ...config, ...choices }, weights };
}

const someLayers = { size: WINDOW, layers: [true, false, true] };
const choices: Readonly<Record<string, Partial<ModelConfig>>> = {
  "a window in some layers": { window: someLayers },
  "a window in all layers": { window: { size: WINDOW, layers: [true, true, true] } },
  "a soft cap": { attentionSoftCap: 0.7 },
  "a scale": { attentionScale: 0.9 },
  "heads that are rotated in part": { rotaryDim: 2 },
  "all of these": { window: someLayers, attentionSoftCap: 0.7, attentionScale: 0.9, rotaryDim: 2 },
};

const randomIds = (seed: number, length: number): readonly number[] => {
  const random = randomStream(seed, "prompt");
  return Array.from({ length }, () => random.below(V));
};

function expectClose(actual: readonly Float32Array[] | undefined, expected: readonly Float32Array[]): void {
  expect(actual).toHaveLength(expected.length);
  expect(Math.max(...expected.map((logits, i) => largestDifference(actual![i]!, logits)))).toBeLessThan(1e-4);
}

/** What config.json says of a family beyond Llama's fields. */
const families: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  mistral: { sliding_window: WINDOW },
  qwen2: {},
  qwen3: {},
  smollm3: { num_hidden_layers: 4 },
  gemma2: {
    sliding_window: WINDOW,
    query_pre_attn_scalar: 6,
    attn_logit_softcapping: 0.7,
    final_logit_softcapping: 3,
    hidden_activation: "gelu_pytorch_tanh",
  },
  gemma3_text: {
    sliding_window: WINDOW,
    sliding_window_pattern: 3,
    rope_local_base_freq: 100,
    hidden_activation: "gelu_pytorch_tanh",
  },
  phi3: { partial_rotary_factor: 0.5 },
  olmo2: {},
  granite: {
    embedding_multiplier: 3,
    attention_multiplier: 0.5,
    residual_multiplier: 0.4,
    logits_scaling: 2,
  },
  // one rope and whole heads, which the fused attention could rotate itself
  granite_swa: { sliding_window: WINDOW, head_dim: 16, attention_multiplier: 0.5 },
};

// heads of a multiple of 8 decode a few slots by the fused program, others by the general one
const models = [
  ...Object.entries(choices).flatMap(([name, chosen]) =>
    [8, 4].map((width) => [`${name}, heads of ${width}`, makeModel({ head_dim: width }, chosen)] as const),
  ),
  ...Object.entries(families).map(
    ([name, json]) => [name, makeModel({ ...json, model_type: name, architectures: undefined })] as const,
  ),
];

/** All families are in families.test.ts; the choices of most are above. */
const isThorough = (name: string): boolean =>
  name in families && name !== "smollm3" && name !== "granite_swa";

for (const [name, model] of models)
  describe(name, { tags: isThorough(name) ? ["thorough"] : [] }, () => {
    let runner: ModelRunner;
    beforeAll(async () => {
      const base = await prepareWeights(model.config, floatWeights(model.weights), {});
      runner = await createModelRunner(base, { maxLength: 100, adapters: false });
    });
    afterAll(() => runner[Symbol.asyncDispose]());

    test("is not what a plain Llama computes", async () => {
      const tokens = randomIds(1, 12);
      const plain = await trainingLogits(makeModel({ head_dim: model.config.headDim }), tokens);
      const chosen = await trainingLogits(model, tokens);
      expect(largestDifference(plain.at(-1)!, chosen.at(-1)!)).toBeGreaterThan(1e-2);
    });

    test("one by one, at once, or in chunks, tokens have the logits of training", async () => {
      const tokens = randomIds(2, 40);
      const expected = await trainingLogits(model, tokens);
      const { cache } = runner;
      cache.resize(0, 0);
      cache.resize(1, 64);
      const one: Float32Array[] = [];
      for (const token of tokens) {
        const [logits] = await runner.run({ from: 0, count: 1, tokens: [[token]] });
        one.push(logits![0]!.slice());
      }
      expectClose(one, expected);
      for (const cuts of [[40], [1, 3, 40], [10, 11, 25, 40], [3, 6, 9, 40]]) {
        cache.truncate(0, 0);
        let from = 0;
        for (const to of cuts) {
          const step = { from: 0, count: 1, tokens: [tokens.slice(from, to)], allLogits: true };
          expectClose((await runner.run(step))[0], expected.slice(from, to));
          from = to;
        }
      }
    });

    test("slots of other lengths, kept prefixes and larger caches change nothing", async () => {
      const { cache } = runner;
      cache.resize(0, 0);
      cache.resize(3, 64);
      const prompts = [randomIds(3, 20), randomIds(4, 2), randomIds(5, 9)];
      const expected = await Promise.all(prompts.map((tokens) => trainingLogits(model, tokens)));
      const all = await runner.run({ from: 0, count: 3, tokens: prompts, allLogits: true });
      for (const [slot, logits] of expected.entries()) expectClose(all[slot], logits);
      // the first slot keeps a prefix, which the second gets as well; the third goes on
      cache.truncate(0, 13);
      cache.move(0, 1);
      cache.resize(3, 128);
      const added = [prompts[0]!.slice(13, 15), [], [1, 2, 3]];
      const next = await runner.run({ from: 0, count: 3, tokens: added, allLogits: true });
      expectClose(next[0], expected[0]!.slice(13, 15));
      expectClose(next[2], (await trainingLogits(model, [...prompts[2]!, 1, 2, 3])).slice(9));
      // two slots of different lengths, one token each
      const few = await runner.run({ from: 0, count: 2, tokens: [[prompts[0]![15]!], [prompts[0]![13]!]] });
      expectClose(few[0], [expected[0]![15]!]);
      expectClose(few[1], [expected[0]![13]!]);
    });
  });

test("a window that no sequence fills is none", async () => {
  const model = makeModel({}, { window: { size: 50, layers: [true, true, true] } });
  const base = await prepareWeights(model.config, floatWeights(model.weights), {});
  const inputsAt = (maxLength: number) => {
    const options = { maxLength, adapters: false };
    const names = serialize(generalStep.outputs(base, options), { externalName: "weights" }).inputs.keys();
    return [...names].filter((name) => !name.startsWith("past."));
  };
  expect(inputsAt(51)).toContain("first_seen.50");
  expect(inputsAt(50)).not.toContain("first_seen.50");
  expect(inputsAt(50)).toContain("new_mask");
  await using runner = await createModelRunner(base, { maxLength: 50, adapters: false });
  runner.cache.resize(1, 64);
  const tokens = randomIds(6, 50);
  const [logits] = await runner.run({ from: 0, count: 1, tokens: [tokens], allLogits: true });
  expectClose(logits, await trainingLogits(model, tokens));
});
