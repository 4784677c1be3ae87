// B batch · S tokens · H query heads · K key heads · G = H / K · D head width · M keys already in the cache
import { MosError } from "#core";
import {
  constant,
  emit,
  MICROSOFT,
  type Shape,
  scalar,
  showShape,
  type Value,
  withGradient,
} from "../value.ts";
import { add, mul, neg } from "./elementwise.ts";
import { matmul } from "./linear.ts";
import { sum } from "./reduce.ts";
import { concat, padAxis, reshape, slice, transpose } from "./shape.ts";

export interface RotationTables {
  /** Cosine and sine of position · frequency, [positions, D / 2]. */
  readonly cosine: Value;
  readonly sine: Value;
}

/** Rotary positions on x [B, heads, S, D]; positions [B, S] int64. A rotation by the opposite angle is its gradient. */
export function rotate(x: Value, positions: Value, tables: RotationTables): Value {
  const turn = (v: Value, sine: Value): Value =>
    emit("RotaryEmbedding", [v, positions, tables.cosine, sine], {
      ...MICROSOFT,
      shape: v.shape,
      attributes: { interleaved: 0 },
    });
  return withGradient(turn(x, tables.sine), [x], (dy) => [turn(dy, neg(tables.sine))]);
}

/** e^x / Σ e^x over the last axis. */
export function softmax(x: Value): Value {
  const y = emit("Softmax", [x], { shape: x.shape, attributes: { axis: -1 } });
  // dx = y (dy − Σ dy y)
  return withGradient(y, [x], (dy) => {
    const weighted = mul(dy, y);
    return [add(weighted, neg(mul(y, sum(weighted, [x.shape.length - 1]))))];
  });
}

export interface AttentionOptions {
  /** Factor on q kᵀ, usually 1 / √D. */
  readonly scale: number;
  /** One additive mask [B, 1, 1, bs, hi] for each block of queries, from `packedMask`. */
  readonly masks: readonly Value[];
}

/** Blocks of queries and the keys that causality lets them see: rows from … to − 1 of S, keys 0 … to − 1. */
export function causalBlocks(
  length: number,
  size: number,
): readonly { readonly from: number; readonly to: number }[] {
  return Array.from({ length: Math.ceil(length / size) }, (_, i) => ({
    from: i * size,
    to: Math.min(length, (i + 1) * size),
  }));
}

/**
 * 0 where a token may look and −10³⁰ where it may not: back in its own segment only. segments [B, S] int32 gives every
 * packed example its own number. One mask [B, 1, 1, bs, hi] per causal block of `blockSize` queries.
 */
export function packedMask(segments: Value, blockSize: number): readonly Value[] {
  const [batch, length] = segments.shape;
  if (typeof batch !== "number" || typeof length !== "number")
    throw new MosError(
      "bad_config",
      `packedMask needs segments of known shape, not ${showShape(segments.shape)}`,
    );
  return causalBlocks(length, blockSize).map(({ from, to }) => {
    const queries = reshape(slice(segments, { axis: 1, from, to }), [batch, 1, 1, to - from, 1]);
    const keys = reshape(slice(segments, { axis: 1, from: 0, to }), [batch, 1, 1, 1, to]);
    const shape: Shape = [batch, 1, 1, to - from, to];
    const same = emit("Equal", [queries, keys], { shape, dtype: "bool" });
    const causal = new Float32Array((to - from) * to);
    for (let q = from; q < to; q++) causal.fill(-1e30, (q - from) * to + q + 1, (q - from + 1) * to);
    return emit("Where", [same, constant(causal, [to - from, to]), scalar(-1e30)], {
      shape,
      dtype: "float32",
    });
  });
}

/**
 * Causal attention with grouped heads: q [B, H, S, D], k and v [B, K, S, D], giving [B, H, S, D].
 * Computed per block of queries, whose probabilities are computed again in the backward rather than kept. Query heads
 * that share a key head are rows of one product, so the gradients of k and v are summed over them for free.
 */
export function attention(q: Value, k: Value, options: AttentionOptions & { readonly v: Value }): Value {
  const { v, scale, masks } = options;
  const [B, H, S, D] = q.shape as readonly [number, number, number, number];
  const K = k.shape[1] as number;
  const G = H / K;
  const blocks = causalBlocks(S, masks[0]?.shape[3] as number);
  const grouped = (x: Value, { from, to }: { from: number; to: number }): Value =>
    reshape(slice(x, { axis: 2, from, to }), [B, K, G * (to - from), x.shape[3] as number]);
  const probabilities = (i: number): Value => {
    const { from, to } = blocks[i] as { from: number; to: number };
    const keys = slice(k, { axis: 2, from: 0, to });
    const scores = matmul(grouped(q, { from, to }), keys, { transposeB: true, alpha: scale }); // [B, K, G·bs, hi]
    const masked = add(reshape(scores, [B, K, G, to - from, to]), masks[i] as Value);
    return reshape(softmax(masked), [B, K, G * (to - from), to]);
  };
  const parts = blocks.map(({ from, to }, i) =>
    reshape(matmul(probabilities(i), slice(v, { axis: 2, from: 0, to })), [B, H, to - from, D]),
  );
  const y = concat(parts, 2);
  return withGradient(y, [q, k, v], (dy) => {
    // dS = P ∘ (dO Vᵀ − rowsum(dO ∘ O)): the last term is one more column of dO against a column of ones in V.
    const rowsum = sum(mul(dy, y), [3]); //                                               [B, H, S, 1]
    const dOne = concat([dy, neg(rowsum)], 3); //                                         [B, H, S, D + 1]
    const vOne = concat([v, constant(new Float32Array(B * K * S).fill(1), [B, K, S, 1])], 3);
    const dq: Value[] = [];
    const dk: Value[] = [];
    const dv: Value[] = [];
    blocks.forEach(({ from, to }, i) => {
      const p = probabilities(i); //                                                      [B, K, G·bs, hi]
      const ds = mul(
        p,
        matmul(grouped(dOne, { from, to }), slice(vOne, { axis: 2, from: 0, to }), { transposeB: true }),
      );
      const keys = slice(k, { axis: 2, from: 0, to });
      dq.push(reshape(matmul(ds, keys, { alpha: scale }), [B, H, to - from, D]));
      const rest = { axis: 3, before: 0, after: S - to };
      // as [B, K, D, hi]: the product with the short side first is the fast one
      dk.push(padAxis(matmul(grouped(q, { from, to }), ds, { transposeA: true, alpha: scale }), rest));
      dv.push(padAxis(matmul(grouped(dy, { from, to }), p, { transposeA: true }), rest));
    });
    return [concat(dq, 2), turned(dk), turned(dv)];
  });
}

/** The sum of parts [B, K, D, S], as [B, K, S, D]. */
const turned = (parts: readonly Value[]): Value =>
  transpose(
    parts.reduce((a, b) => add(a, b)),
    [0, 1, 3, 2],
  );
