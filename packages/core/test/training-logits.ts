// The forward pass that training uses, as the reference for inference.

import { compile, constant, linear, softCap } from "mixture-of-shards-graph";
import { adapterHook, type FactorMap } from "#adapters";
import { headWeight, moduleKey, weightLeaves } from "#models";
import { hiddenStates } from "#training";
import type { TinyModel } from "./tiny-model.ts";

/** Logits [V] of every token of a sequence, with an adapter's factors or without; no sequence is longer than `maxSegment`. */
export async function trainingLogits(
  { config, weights }: TinyModel,
  tokens: readonly number[],
  adapter?: FactorMap,
  maxSegment = tokens.length,
): Promise<readonly Float32Array[]> {
  const length = tokens.length;
  const leaves = weightLeaves(config);
  const hidden = hiddenStates(config, {
    shape: { rows: 1, length, maxSegment },
    weights: leaves,
    linear: adapterHook({
      factors(target) {
        const found = adapter?.get(moduleKey(target));
        if (found === undefined) return undefined;
        const { rank, a, b, scale } = found;
        return { a: constant(a, [rank, a.length / rank]), b: constant(b, [rank, b.length / rank]), scale };
      },
      merge: false,
    }),
    queryBlock: 50,
  });
  const logitsValue = softCap(linear(hidden, headWeight(config, leaves)), config.logitSoftCap);
  await using program = await compile({ logits: logitsValue });
  const shape = [1, length];
  const { logits } = await program.run({
    ...Object.fromEntries(weights),
    ids: { shape, data: Int32Array.from(tokens) },
    positions: { shape, data: Int32Array.from(tokens, (_, i) => i) },
    segments: { shape, data: new Int32Array(length).fill(1) },
  });
  const V = config.vocabularySize;
  const data = logits?.data as Float32Array;
  return tokens.map((_, i) => data.subarray(i * V, (i + 1) * V));
}
