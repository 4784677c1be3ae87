// The forward pass that training uses, as the reference for inference.

import { compile, type HostTensor, leaf, linear, softCap, type Value } from "mixture-of-shards-graph";
import { adapterHook, type FactorMap } from "#adapters";
import { headWeight, moduleKey, weightLeaves } from "#models";
import { hiddenStates } from "#training";
import type { TinyModel } from "./tiny-model.ts";

/** The next multiple, so that sequences and adapters of all sizes have few programs, which are compiled once. */
const padded = (size: number, unit: number): number => Math.ceil(size / unit) * unit;

/** Logits [V] of every token of a sequence, with an adapter's factors or without; no sequence is longer than `maxSegment`. */
export async function trainingLogits(
  { config, weights }: TinyModel,
  tokens: readonly number[],
  adapter?: FactorMap,
  maxSegment = padded(tokens.length, 16),
): Promise<readonly Float32Array[]> {
  const length = padded(tokens.length, 16);
  const leaves = weightLeaves(config);
  const feeds: Record<string, HostTensor> = Object.fromEntries(weights);
  /** A factor [r, width] as a leaf with rows of zeros besides. */
  const factorLeaf = (name: string, factor: Float32Array, rank: number): Value => {
    const shape = [padded(rank, 8), factor.length / rank] as const;
    const data = new Float32Array(shape[0] * shape[1]);
    data.set(factor);
    feeds[name] = { shape, data };
    return leaf(name, shape);
  };
  const hidden = hiddenStates(config, {
    shape: { rows: 1, length, maxSegment },
    weights: leaves,
    linear: adapterHook({
      factors(target) {
        const key = moduleKey(target);
        const found = adapter?.get(key);
        if (found === undefined) return undefined;
        const { rank, a, b, scale } = found;
        return {
          a: factorLeaf(`${key}.a`, a, rank),
          b: factorLeaf(
            `${key}.b`,
            b.map((x) => scale * x),
            rank,
          ),
          scale: 1,
        };
      },
      merge: false,
    }),
    queryBlock: 50,
  });
  const logitsValue = softCap(linear(hidden, headWeight(config, leaves)), config.logitSoftCap);
  await using program = await compile({ logits: logitsValue });
  const shape = [1, length];
  const { logits } = await program.run({
    ...feeds,
    ids: { shape, data: Int32Array.from({ length }, (_, i) => tokens[i] ?? 0) },
    positions: { shape, data: Int32Array.from({ length }, (_, i) => i) },
    segments: { shape, data: Int32Array.from({ length }, (_, i) => (i < tokens.length ? 1 : 0)) },
  });
  const V = config.vocabularySize;
  const data = logits?.data as Float32Array;
  return tokens.map((_, i) => data.subarray(i * V, (i + 1) * V));
}
