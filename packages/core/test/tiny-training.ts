// A tiny model with random examples, ready to be trained.

import type { AdapterConfigInput } from "#adapters";
import { randomStream } from "#common";
import type { EncodedExample } from "#data";
import { floatWeight, type LoadedModel, toLayerShapes } from "#models";
import { adapterModel, type Parameter, type TrainableModel, type TrainSettings } from "#training";
import { withFactors } from "./layer-shapes.ts";
import { randomAdapter } from "./random-adapter.ts";
import { type TinyModelOptions, tinyModel } from "./tiny-model.ts";

export function tinyLoaded(options: TinyModelOptions = {}): LoadedModel {
  const { config, weights } = tinyModel(options);
  const source = { kind: "folder", folder: "tiny" } as const;
  const stored = new Map([...weights].map(([name, { shape, data }]) => [name, floatWeight(shape, data)]));
  return {
    name: "tiny",
    path: "tiny",
    config,
    weights: stored,
    fingerprint: "sha256:tiny",
    identity: "sha256:tiny-identity",
    source,
  };
}

/** The adapter of these tests. */
export const tinyMos = { method: "mos", rank: 3, equivalentRank: 2, shardsPerVector: 2 } as const;

/** An adapter on the tiny model whose B is not zero, so that all of it has a gradient. */
export function tinyTrainable(
  input: AdapterConfigInput = tinyMos,
  { deviation = 0.2, ...options }: TinyModelOptions & { readonly deviation?: number } = {},
): TrainableModel {
  const loaded = tinyLoaded(options);
  const numbers = { seed: 7, deviation };
  return adapterModel(loaded, randomAdapter(input, withFactors(toLayerShapes(loaded.config)), numbers));
}

/** Examples of these lengths; the first third of each, a prompt, does not count in the loss. */
export function randomExamples(lengths: readonly number[], seed = 0): EncodedExample[] {
  return lengths.map((length, line) => {
    const random = randomStream(seed, `example.${line}`);
    const ids = Int32Array.from({ length }, () => random.below(48));
    const labels = ids.map((id, i) => (3 * i < length ? -100 : id));
    const targetTokens = labels.filter((label, i) => i > 0 && label >= 0).length;
    return { line: line + 1, ids, labels, targetTokens, truncated: false, truncatedTargets: 0 };
  });
}

/** An example with a hint of so many tokens at the beginning of what its teacher reads. */
export function withHint(example: EncodedExample, length: number): EncodedExample {
  const hint = Int32Array.from({ length }, (_, i) => 47 - 3 * i);
  return {
    ...example,
    hinted: {
      ...example,
      ids: Int32Array.of(...hint, ...example.ids),
      labels: Int32Array.of(...hint.map(() => -100), ...example.labels),
    },
  };
}

export const tinySettings: TrainSettings = {
  steps: 6,
  learningRate: 1e-2,
  schedule: "linear",
  warmup: 1,
  weightDecay: 0.01,
  maxGradientNorm: 1,
  gradientAccumulationSteps: 1,
  batchSize: 2,
  maxLength: 32,
  packing: true,
  dropout: 0,
  seed: 11,
  padToken: 0,
  evaluateEvery: 0,
  saveEvery: 0,
};

/** Copies that later steps do not change. */
export const copyNumbers = (parameters: ReadonlyMap<string, Parameter>): Record<string, Float32Array> =>
  Object.fromEntries([...parameters].map(([name, { data }]) => [name, data.slice()]));
