// B rows · S new tokens of each · H query heads · K key heads · D head width · M places of the cache
// Fused operators for writing one token after the other: each spares several small ones, and none has a gradient.
import { emit, emitAll, MICROSOFT, type Value } from "../value.ts";
import type { RotationTables } from "./attention.ts";
import type { NormOptions } from "./norm.ts";

/** A sum, and its root-mean-square norm over the last axis. */
export interface AddedNorm {
  /** x + y */
  readonly sum: Value;
  readonly norm: Value;
}

/** x + y, and the norm of that in the same operator. */
export function addRmsNorm(x: Value, y: Value, options: NormOptions & { readonly gain: Value }): AddedNorm {
  const { gain, epsilon } = options;
  // the two outputs between are statistics that the CPU leaves out
  const [norm, , , sum] = emitAll("SkipSimplifiedLayerNormalization", [x, y, gain], {
    ...MICROSOFT,
    outputs: [x.shape, x.shape, x.shape, x.shape],
    attributes: { epsilon: { float: epsilon } },
  });
  return { norm: norm as Value, sum: sum as Value };
}

/** Rotary positions on x [B, S, heads · D]; positions [B, S] int64. */
export const rotateJoined = (
  x: Value,
  positions: Value,
  { cosine, sine, heads }: RotationTables & { readonly heads: number },
): Value =>
  emit("RotaryEmbedding", [x, positions, cosine, sine], {
    ...MICROSOFT,
    shape: x.shape,
    attributes: { interleaved: 0, num_heads: heads },
  });

export interface CachedAttentionOptions {
  /** Keys and values of earlier tokens, [B, K, M, D]. */
  readonly pastKeys: Value;
  readonly pastValues: Value;
  /** int32 [B]: places of each row that are filled. */
  readonly lengths: Value;
  /** int32 []: one more than the largest of them. */
  readonly total: Value;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headDim: number;
}

/**
 * Attention of one rotated token of each row, q [B, 1, H · D] and k, v [B, 1, K · D], over the cache and itself:
 * [B, 1, H · D]. The runtime copies the cache, so it is for few rows.
 */
export function groupedAttention(
  q: Value,
  [k, v]: readonly [Value, Value],
  options: CachedAttentionOptions,
): Value {
  const { pastKeys, pastValues, lengths, total, heads, keyValueHeads, headDim } = options;
  const present = [...pastKeys.shape.slice(0, 2), "present", headDim];
  const [seen] = emitAll("GroupQueryAttention", [q, k, v, pastKeys, pastValues, lengths, total], {
    ...MICROSOFT,
    outputs: [q.shape, present, present],
    attributes: {
      num_heads: heads,
      kv_num_heads: keyValueHeads,
      do_rotary: 0,
      scale: { float: 1 / Math.sqrt(headDim) },
    },
  });
  return seen as Value;
}
