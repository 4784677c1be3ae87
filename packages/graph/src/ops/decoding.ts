// B batch · S new tokens · H query heads · K key heads · D head width · M positions in the cache
// Fused operators for inference: each replaces several small ones, and none has a gradient.
import type { Dim, Shape } from "../tensor-type.ts";
import { cast, emit, emitAll, int64s, MICROSOFT, scalar, type Value } from "../value.ts";
import type { NormOptions } from "./norm.ts";
import type { RotationTables } from "./rotary.ts";

/** The outputs of `addRmsNorm`, both in the shape of its inputs. */
export interface AddedNorm {
  /** x + y */
  readonly sum: Value;
  /** The root-mean-square norm of the sum over the last axis, times the gain. */
  readonly norm: Value;
}

/** A residual addition and the norm that follows it, x + y and rmsNorm(x + y), in one operator. `gain` is [C]. */
export function addRmsNorm(x: Value, y: Value, options: NormOptions & { readonly gain: Value }): AddedNorm {
  const { gain, epsilon } = options;
  // the two outputs in between are statistics, which the CPU provider does not compute
  const [norm, , , sum] = emitAll("SkipSimplifiedLayerNormalization", [x, y, gain], {
    ...MICROSOFT,
    outputs: [x.shape, x.shape, x.shape, x.shape],
    attributes: { epsilon: { float: epsilon } },
  });
  return { norm: norm as Value, sum: sum as Value };
}

/** The values of a float16 KV cache as float32. A float32 one stays as it is. */
export const fromCache = (x: Value): Value => cast(x, "float32");
/** Float32 values as a KV cache of this type stores them. */
export const toCache = (x: Value, dtype: "float32" | "float16"): Value => cast(x, dtype);

/**
 * The mask of a windowed layer: `mask` [B, 1, 1, M] on tokens of the cache at `positions` [M] int32, and −10³⁰ on those
 * before the first that a query sees, `first` [B, 1, rows, 1] int32. [B, 1, rows, M]
 */
export function windowMask(mask: Value, positions: Value, first: Value): Value {
  const shape = [...first.shape.slice(0, 3), ...positions.shape];
  const isBefore = emit("Less", [positions, first], { shape, dtype: "bool" });
  return emit("Where", [isBefore, scalar(-1e30), mask], { shape, dtype: "float32" });
}

/**
 * x [N, 1, k] times b [k, 1, n], or b [n, 1, k] transposed: [N, 1, n]. Each row is a product by itself, so that its result does
 * not depend on how many there are: the runtime multiplies one row by another kernel than several.
 */
export const rowProducts = (x: Value, b: Value, { transposeB = false } = {}): Value =>
  emit("FusedMatMul", [x, b], {
    ...MICROSOFT,
    shape: x.shape.with(2, b.shape[transposeB ? 0 : 2] as Dim),
    attributes: { transB: Number(transposeB), transBatchB: 1 },
  });

/** Rows of x [P, Q, C] at `places` [R, S, 2] int64, along P and Q: [R, S, C]. */
export const rowsAt = (x: Value, places: Value): Value =>
  emit("GatherND", [x, places], { shape: [...places.shape.slice(0, 2), x.shape[2] as Dim] });

/** x without its first `before` and last `after` places along an axis whose size each run decides; `shape` is the result's. */
export function shifted(
  x: Value,
  { axis, before, after }: { readonly axis: number; readonly before: number; readonly after: number },
  shape: Shape,
): Value {
  const end = after === 0 ? int64s(2 ** 31 - 1) : int64s(-after);
  return emit("Slice", [x, int64s(before), end, int64s(axis)], { shape });
}

/** x in a shape that each run is fed, as int64. */
export const reshapeAs = (x: Value, target: Value, shape: Shape): Value =>
  emit("Reshape", [x, target], { shape });

/** The KV cache that new tokens attend to, and the heads of the model. */
interface CachedAttentionOptions {
  /** Keys of earlier tokens, [B, K, M, D]. */
  readonly pastKeys: Value;
  /** Their values, [B, K, M, D]. */
  readonly pastValues: Value;
  /** Filled positions of each sequence, [B] int32. */
  readonly lengths: Value;
  /** The largest of them plus one, [] int32. */
  readonly total: Value;
  /** H */
  readonly heads: number;
  /** K */
  readonly keyValueHeads: number;
  /** D */
  readonly headDim: number;
  /** Factor on q kᵀ, usually 1 / √D. */
  readonly scale: number;
  /** Scores become softCap · tanh(score / softCap). */
  readonly softCap?: number | undefined;
  /** A score of each head [H] that takes part in the softmax and has no value. */
  readonly sinks?: Value | undefined;
  /** Tokens that the new one sees, itself among them; all where it is left out. */
  readonly window?: number | undefined;
}

/** Queries, keys and values side by side, [B, S, (H + 2 K) · D], which the operator rotates by the positions behind the cache. */
export interface JoinedHeads {
  readonly qkv: Value;
  readonly tables: RotationTables;
}

/**
 * Attention of new tokens, rotated q [B, S, H · D] and k, v [B, S, K · D] or all joined, to the cache and each other:
 * [B, S, H · D]. The runtime copies the cache at each call, so this pays off for small batches only.
 */
export function groupedAttention(
  given: readonly [Value, Value, Value] | JoinedHeads,
  options: CachedAttentionOptions,
): Value {
  const { pastKeys, pastValues, lengths, total, heads, keyValueHeads, headDim } = options;
  const { scale, softCap, window, sinks } = options;
  const present = [...pastKeys.shape.slice(0, 2), "present", headDim];
  const cached = [pastKeys, pastValues, lengths, total];
  const isJoined = "qkv" in given;
  const [q] = isJoined ? [given.qkv] : given;
  const inputs = isJoined
    ? [q, undefined, undefined, ...cached, given.tables.cosine, given.tables.sine]
    : [
        ...given,
        ...cached,
        ...(sinks === undefined ? [] : [undefined, undefined, undefined, undefined, sinks]),
      ];
  const [seen] = emitAll("GroupQueryAttention", inputs, {
    ...MICROSOFT,
    outputs: [q.shape.with(2, heads * headDim), present, present],
    attributes: {
      num_heads: heads,
      kv_num_heads: keyValueHeads,
      do_rotary: Number(isJoined),
      scale: { float: scale },
      ...(softCap === undefined ? {} : { softcap: { float: softCap } }),
      ...(window === undefined ? {} : { local_window_size: window }),
    },
  });
  return seen as Value;
}

/** What a token writes to the state of linear attention, and what it leaves of it. */
interface LinearAttentionOptions {
  /** Values, [B, S, H · E]: each key head serves H / K value heads side by side. */
  readonly v: Value;
  /** The logarithm of what each token leaves of the state, [B, S, H]. */
  readonly decay: Value;
  /** How much of its value each token writes, [B, S, H]. */
  readonly beta: Value;
  /** The state before the tokens, [B, H, D, E]. */
  readonly state: Value;
  /** K */
  readonly keyHeads: number;
}

/**
 * `gatedDeltaRule` of new tokens q, k [B, S, K · D] from a state on: what they read, [B, S, H · E], and the state after the last.
 * A token with a decay and a β of 0 leaves the state as it was.
 */
export function linearAttention(
  q: Value,
  k: Value,
  { v, decay, beta, state, keyHeads }: LinearAttentionOptions,
): { readonly y: Value; readonly state: Value } {
  const [y, next] = emitAll("LinearAttention", [q, k, v, state, decay, beta], {
    ...MICROSOFT,
    outputs: [v.shape, state.shape],
    attributes: {
      q_num_heads: keyHeads,
      kv_num_heads: state.shape[1] as number,
      update_rule: "gated_delta",
    },
  }) as [Value, Value];
  return { y, state: next };
}

/**
 * silu of the causal depthwise convolution of x [B, C, S] by a kernel [C, 1, k], with the k − 1 inputs before it, `earlier`
 * [B, C, k − 1]: [B, C, S].
 */
export function convolveSilu(x: Value, kernel: Value, earlier: Value): Value {
  const [y] = emitAll("CausalConvWithState", [x, kernel, undefined, earlier], {
    ...MICROSOFT,
    outputs: [x.shape, earlier.shape],
    attributes: { activation: "silu" },
  });
  return y as Value;
}
