// B batch · S tokens · H query heads · K key heads · G = H / K · D head width · M keys in the cache
import { MosError } from "../error.ts";
import type { Shape } from "../tensor-type.ts";
import { constant, emit, int64s, scalar, showShape, type Value, withGradient } from "../value.ts";
import { add, mul, neg, sub, tanh } from "./elementwise.ts";
import { matmul } from "./linear.ts";
import { sum } from "./reduce.ts";
import { after, concat, padAxis, reshape, slice, split, transpose, zeros } from "./shape.ts";

/** e^x / Σ e^x over the last axis. */
export function softmax(x: Value): Value {
  const y = emit("Softmax", [x], { shape: x.shape, attributes: { axis: -1 } });
  // dx = y (dy − Σ dy y)
  return withGradient(y, [x], (dy) => {
    const weighted = mul(dy, y);
    return [add(weighted, neg(mul(y, sum(weighted, [x.shape.length - 1]))))];
  });
}

/** A block of queries, from … to − 1 of S, and the range of keys that they attend to, first … to − 1 (lo of them). */
export interface AttentionBlock {
  readonly from: number;
  readonly to: number;
  readonly first: number;
  /** Added to the attention scores, [B, 1, 1, to − from, lo]. */
  readonly mask: Value;
}

/** Split of the queries into blocks. */
export interface PackedBlocksOptions {
  /** Queries of a block, in tokens. */
  readonly blockSize: number;
  /** The longest segment in tokens: keys further back belong to another segment and are left out. All of S by default. */
  readonly maxSegment?: number;
  /** Tokens of its segment that a query sees: the last ones, itself among them. All by default. */
  readonly window?: number | undefined;
  /** For rows in which several segments follow one prompt. */
  readonly shared?: SharedPrompts | undefined;
}

/** Prompts that stand once in a row, each a segment that the segments of its answers see, too. */
export interface SharedPrompts {
  /** The segment id of each token's prompt [B, S] int32; its own where it has none. */
  readonly prompts: Value;
  /** Position ids [B, S], by which windows count. */
  readonly positions: Value;
  /** Tokens from the start of a prompt to the end of its last answer, at most. */
  readonly reach: number;
}

/**
 * Blocks of queries for packed rows. `segments` [B, S] int32 are segment ids: the tokens of one example share an id. The
 * masks are 0 where a token may attend, up to itself in its own segment, its prompt and its window, and −10³⁰ elsewhere.
 *
 * @throws MosError `bad_config` where the shape of the segments is not known.
 */
export function packedBlocks(segments: Value, options: PackedBlocksOptions): readonly AttentionBlock[] {
  const [batch, length] = segments.shape;
  if (typeof batch !== "number" || typeof length !== "number")
    throw new MosError(
      "bad_config",
      `packedBlocks needs segments of known shape, not ${showShape(segments.shape)}`,
    );
  const { blockSize, maxSegment = length, window = length, shared } = options;
  // between an answer and its prompt there may be others
  const reach = shared === undefined ? Math.min(maxSegment, window) : Math.max(maxSegment, shared.reach);
  return Array.from({ length: Math.ceil(length / blockSize) }, (_, i): AttentionBlock => {
    const from = i * blockSize;
    const to = Math.min(length, from + blockSize);
    const first = Math.max(0, from - reach + 1);
    const shape: Shape = [batch, 1, 1, to - from, to - first];
    const compare = (op: "Equal" | "And" | "Or" | "Less", x: Value, y: Value): Value =>
      emit(op, [x, y], { shape, dtype: "bool" });
    const queries = (x: Value): Value =>
      reshape(slice(x, { axis: 1, from, to }), [batch, 1, 1, to - from, 1]);
    const keys = (x: Value): Value =>
      reshape(slice(x, { axis: 1, from: first, to }), [batch, 1, 1, 1, to - first]);
    let seen = compare("Equal", queries(segments), keys(segments));
    if (shared !== undefined) {
      seen = compare("Or", seen, compare("Equal", queries(shared.prompts), keys(segments)));
      if (window < length) {
        const distance = emit("Sub", [queries(shared.positions), keys(shared.positions)], { shape });
        seen = compare("And", seen, compare("Less", distance, int64s(window)));
      }
    }
    const causal = causalMask({ from, to, first }, shared === undefined ? window : length);
    const mask = emit("Where", [seen, causal, scalar(-1e30)], { shape, dtype: "float32" });
    return { from, to, first, mask };
  });
}

/** 0 for the last `window` keys up to the query's own position, −10³⁰ for all others: [to − from, to − first] */
function causalMask({ from, to, first }: Omit<AttentionBlock, "mask">, window: number): Value {
  const width = to - first;
  const mask = new Float32Array((to - from) * width).fill(-1e30);
  for (let q = from; q < to; q++) {
    const row = (q - from) * width - first; // of key 0, which is before the row where first > 0
    mask.fill(0, row + Math.max(first, q - window + 1), row + q + 1);
  }
  return constant(mask, [to - from, width]);
}

/** Inputs of attention besides queries and keys. */
interface AttentionOptions {
  /** Values, [B, K, S, D]. */
  readonly v: Value;
  /** Factor on q kᵀ, usually 1 / √D. */
  readonly scale: number;
  /** Scores become softCap · tanh(score / softCap), before the mask (Gemma 2). */
  readonly softCap?: number | undefined;
  /** A score of each head [H] that takes part in the softmax and has no value (Granite with windows). */
  readonly sinks?: Value | undefined;
  /** From `packedBlocks`; together they cover all S queries. */
  readonly blocks: readonly AttentionBlock[];
}

/**
 * Causal grouped-query attention: q [B, H, S, D], k and v [B, K, S, D], giving [B, H, S, D].
 * It is computed by blocks of queries; the backward pass rematerialises their probabilities. Query heads that share a
 * key head are rows of one product, so the gradients of k and v are summed over them for free.
 */
export function attention(q: Value, k: Value, options: AttentionOptions): Value {
  const { v, scale, softCap, sinks, blocks } = options;
  const [B, H, S, D] = q.shape as readonly [number, number, number, number];
  const K = k.shape[1] as number;
  const G = H / K;
  const queries = (x: Value, { from, to }: AttentionBlock): Value =>
    reshape(slice(x, { axis: 2, from, to }), [B, K, G * (to - from), x.shape[3] as number]);
  const keys = (x: Value, { first, to }: AttentionBlock): Value => slice(x, { axis: 2, from: first, to });
  const product = (of: Value, block: AttentionBlock, alpha: number): Value =>
    matmul(queries(of, block), keys(k, block), { transposeB: true, alpha }); //              [B, K, G·bs, lo]
  /** With a cap also t = tanh(score / cap), of which the backward pass needs 1 − t². */
  const probabilities = (
    of: Value,
    block: AttentionBlock,
  ): { readonly p: Value; readonly t: Value | undefined; readonly toSink: Value | undefined } => {
    const [rows, width] = [block.to - block.from, block.to - block.first];
    const t = softCap === undefined ? undefined : tanh(product(of, block, scale / softCap));
    const scores = t === undefined ? product(of, block, scale) : mul(t, scalar(softCap as number));
    const masked = add(reshape(scores, [B, K, G, rows, width]), block.mask);
    const { p, toSink } = withSinks(masked, sinks);
    const flat = (x: Value): Value => reshape(x, [B, K, G * rows, x.shape[4] as number]);
    return { p: flat(p), t, toSink: toSink && flat(toSink) };
  };
  const joined = (parts: readonly Value[]): Value =>
    concat(
      parts.map((part, i) => {
        const { from, to } = blocks[i] as AttentionBlock;
        return reshape(part, [B, H, to - from, D]);
      }),
      2,
    );
  const y = joined(blocks.map((block) => matmul(probabilities(q, block).p, keys(v, block))));
  return withGradient(y, [q, k, v, ...(sinks === undefined ? [] : [sinks])], (dy) => {
    // dS = P ∘ (dO Vᵀ − rowsum(dO ∘ O)): the last term is an extra column of dO times a column of ones in V
    const rowsum = sum(mul(dy, y), [3]); //                                               [B, H, S, 1]
    const dOne = concat([dy, neg(rowsum)], 3); //                                         [B, H, S, D + 1]
    const vOne = concat([v, constant(new Float32Array(B * K * S).fill(1), [B, K, S, 1])], 3);
    const dq: Value[] = [];
    let dk: Value | undefined; // [B, K, D, S]
    let dv: Value | undefined;
    let dSinks: Value | undefined; // [K, G]
    for (const block of blocks) {
      // one block after the other, so that the probabilities of two never exist together
      const [last] = dq.slice(-1);
      const inTurn = (x: Value): Value => (last && dk && dv ? after(x, [last, dk, dv]) : x);
      const { p, t, toSink } = probabilities(inTurn(q), block); //                        [B, K, G·bs, lo]
      if (toSink !== undefined) {
        const lost = mul(toSink, queries(neg(rowsum), block));
        dSinks = plus(dSinks, sum(reshape(lost, [B, K, G, block.to - block.from]), [0, 3]));
      }
      const dCapped = mul(p, matmul(queries(inTurn(dOne), block), keys(vOne, block), { transposeB: true }));
      const ds = t === undefined ? dCapped : mul(dCapped, sub(scalar(1), mul(t, t)));
      dq.push(matmul(ds, keys(k, block), { alpha: scale }));
      const padding = { axis: 3, before: block.first, after: S - block.to };
      // computed as [B, K, D, lo], since the product with the short side first is the fast one
      dk = plus(dk, padAxis(matmul(queries(q, block), ds, { transposeA: true, alpha: scale }), padding));
      dv = plus(dv, padAxis(matmul(queries(dy, block), p, { transposeA: true }), padding));
    }
    const turned = (x: Value | undefined): Value => transpose(x as Value, [0, 1, 3, 2]);
    return [joined(dq), turned(dk), turned(dv), ...(dSinks === undefined ? [] : [reshape(dSinks, [H])])];
  });
}

/** Softmax of scores [B, K, G, rows, lo] beside those of the sinks [H], and what goes to these, [B, K, G, rows, 1]. */
function withSinks(
  scores: Value,
  sinks: Value | undefined,
): { readonly p: Value; readonly toSink: Value | undefined } {
  if (sinks === undefined) return { p: softmax(scores), toSink: undefined };
  const [B, K, G, rows, width] = scores.shape as readonly [number, number, number, number, number];
  const sink = add(zeros([B, K, G, rows, 1]), reshape(sinks, [K, G, 1, 1]));
  const [p, toSink] = split(softmax(concat([scores, sink], 4)), { axis: 4, sizes: [width, 1] });
  return { p: p as Value, toSink };
}

const plus = (sum: Value | undefined, part: Value): Value => (sum === undefined ? part : add(sum, part));
