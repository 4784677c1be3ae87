// Gated delta rule, the linear attention of gated DeltaNet (arXiv 2412.06464), in chunks of tokens.
// B batch · S tokens · N chunks of C tokens · K key heads · G value heads of each · H = K · G · D key width · E value width
import { MosError } from "../error.ts";
import { pullBack } from "../grad.ts";
import type { Shape } from "../tensor-type.ts";
import { cast, constant, emit, scalar, showShape, type Value, withGradient } from "../value.ts";
import { add, exp, mul, neg, sub } from "./elementwise.ts";
import { matmul } from "./linear.ts";
import { after, concat, padAxis, reshape, slice, split, transpose, zeros } from "./shape.ts";

/** Longer chunks cost more in each, shorter ones make more steps, which follow one another. */
const CHUNK = 64;

/** Inputs of the rule besides queries and keys. */
interface DeltaRuleOptions {
  /** Values, [B, S, H, E]: each key head serves H / K value heads side by side. */
  readonly v: Value;
  /** The logarithm g of what each token leaves of the state, [B, S, H], at most 0. */
  readonly decay: Value;
  /** How much of its value each token writes, β in [0, 1], [B, S, H]. */
  readonly beta: Value;
  /** Segment ids [B, S] int32, as `packedBlocks` takes them: the state begins at 0 in each segment. */
  readonly segments: Value;
}

/**
 * For each head a state M [D, E] that a token decays, corrects and reads, M ← e^g M, M ← M + k β (v − Mᵀ k), y = Mᵀ q / √D,
 * of q, k [B, S, K, D], usually of length 1: [B, S, H, E]. The tokens of a chunk are computed at once, by products. Only the
 * inputs are kept for the backward pass.
 *
 * @throws MosError `bad_config` where B or S is not known.
 */
export function gatedDeltaRule(q: Value, k: Value, { segments, ...options }: DeltaRuleOptions): Value {
  const [batch, length] = segments.shape;
  if (typeof batch !== "number" || typeof length !== "number")
    throw new MosError(
      "bad_config",
      `gatedDeltaRule needs segments of known shape, not ${showShape(segments.shape)}`,
    );
  const inputs = [q, k, options.v, options.decay, options.beta] as const;
  const masks = segmentMasks(segments, chunkSize(length));
  return withGradient(forward(inputs, masks), inputs, (dy) => {
    const again = inputs.map((x) => after(x, [dy])) as unknown as Inputs;
    return pullBack(forward(again, masks), dy, again);
  });
}

/** q, k, v, g and β. */
type Inputs = readonly [Value, Value, Value, Value, Value];

/** Whole chunks, or the smallest power of two that holds all tokens, for the blocks of the inverse. */
const chunkSize = (length: number): number => Math.min(CHUNK, 2 ** Math.max(2, Math.ceil(Math.log2(length))));

/** Which tokens share a segment. */
interface SegmentMasks {
  /** A token with one before it, or itself, in its chunk [N, B, 1, 1, C, C]. */
  readonly within: Value;
  /** A token with the last one before its chunk [N, B, 1, 1, C, 1]. */
  readonly before: Value;
}

function segmentMasks(segments: Value, C: number): SegmentMasks {
  const [B, S] = segments.shape as readonly [number, number];
  const N = Math.ceil(S / C);
  const ids = transpose(
    reshape(padAxis(segments, { axis: 1, before: 0, after: N * C - S }), [B, N, C]),
    [1, 0, 2],
  );
  const queries = reshape(ids, [N, B, 1, 1, C, 1]);
  const areSame = (keys: Value, width: number): Value => {
    const shape: Shape = [N, B, 1, 1, C, width];
    return cast(emit("Equal", [queries, keys], { shape, dtype: "bool" }), "float32");
  };
  const last = slice(ids, { axis: 2, from: C - 1, to: C });
  // no segment has the number of what stands before the first chunk, whose state is 0 in any case
  const previous =
    N === 1
      ? last
      : concat([slice(last, { axis: 0, from: 0, to: 1 }), slice(last, { axis: 0, from: 0, to: N - 1 })], 0);
  return {
    within: mul(
      areSame(reshape(ids, [N, B, 1, 1, 1, C]), C),
      square(C, (row, column) => column <= row),
    ),
    before: areSame(reshape(previous, [N, B, 1, 1, 1, 1]), 1),
  };
}

/** A matrix of 1 where the test holds, and 0. */
const square = (rows: number, test: (row: number, column: number) => boolean, columns = rows): Value =>
  constant(
    Float32Array.from({ length: rows * columns }, (_, i) =>
      Number(test(Math.floor(i / columns), i % columns)),
    ),
    [rows, columns],
  );

// With M the state before a chunk, Γ_t the decay from there to token t, and D_ts that from token s to t, what the tokens write
// is U = (I + L)⁻¹ diag(β) (V − diag(Γ) K M) for L_ts = β_t D_ts k_t·k_s, s < t. Then Y = (diag(Γ) Q M + (Q Kᵀ ∘ D) U) / √D,
// and M becomes Γ_C M + (D_C ∘ K)ᵀ U. All but the terms with M is computed for all chunks at once.

function forward([q, k, v, g, beta]: Inputs, masks: SegmentMasks): Value {
  const [B, S, K, D] = q.shape as readonly [number, number, number, number];
  const [, , H, E] = v.shape as readonly [number, number, number, number];
  const C = chunkSize(S);
  const N = Math.ceil(S / C);
  const chunks = (x: Value, heads: number, width: number): Value => {
    const padded = padAxis(x, { axis: 1, before: 0, after: N * C - S });
    const parts = transpose(reshape(padded, [B, N, C, heads, width]), [1, 0, 3, 2, 4]);
    return reshape(parts, [N, B, K, heads / K, C, width]);
  };
  const [queries, keys, values] = [chunks(q, K, D), chunks(k, K, D), chunks(v, H, E)];
  const [written, { within, toHere, toEnd }] = [chunks(beta, H, 1), decays(chunks(g, H, 1), masks)];
  const products = mul(
    matmul(keys, keys, { transposeB: true }),
    square(C, (row, column) => column < row),
  );
  const inverse = unitInverse(mul(mul(products, within), written)); //              [N, B, K, G, C, C]
  const corrected = matmul(inverse, mul(keys, mul(written, toHere))); //            [N, B, K, G, C, D]
  const read = mul(queries, mul(toHere, scalar(D ** -0.5)));
  const { added, seen } = passState({
    reads: concat([corrected, read], 4),
    values: matmul(inverse, mul(values, written)),
    keys: mul(keys, toEnd),
    kept: slice(toHere, { axis: 4, from: C - 1, to: C }),
  });
  const scores = mul(matmul(queries, keys, { transposeB: true, alpha: D ** -0.5 }), within);
  const y = seen === undefined ? matmul(scores, added) : add(matmul(scores, added), seen);
  const rows = transpose(reshape(y, [N, B, H, C, E]), [1, 0, 3, 2, 4]);
  return slice(reshape(rows, [B, N * C, H, E]), { axis: 1, from: 0, to: S });
}

/** What is left of a token at a later one, 0 where they are of different segments. */
interface Decays {
  /** D [N, B, K, G, C, C] */
  readonly within: Value;
  /** Γ, from the last token before the chunk [N, B, K, G, C, 1]. */
  readonly toHere: Value;
  /** From each token to the last of its chunk [N, B, K, G, C, 1]. */
  readonly toEnd: Value;
}

/**
 * Decays of g [N, B, K, G, C, 1]. Their logarithms are sums over the tokens in between, by a product with a triangle: the
 * difference of two sums from the chunk's start would lose the digits of what is small beside them.
 */
function decays(g: Value, masks: SegmentMasks): Decays {
  const shape = g.shape as readonly number[];
  const C = shape[4] as number;
  const until = mul(
    reshape(g, shape.with(4, 1).with(5, C)),
    square(C, (row, column) => column <= row),
  );
  const sums = matmul(
    until,
    square(C, (row, column) => column <= row, C + 1),
  ); // from each token on, in the columns
  const [start, after] = split(exp(sums), { axis: 5, sizes: [1, C] }) as [Value, Value];
  const within = mul(after, masks.within);
  return {
    within,
    toHere: mul(start, masks.before),
    toEnd: reshape(slice(within, { axis: 4, from: C - 1, to: C }), shape),
  };
}

/** What the chunks read and write, [N, B, K, G, …]. */
interface ChunkParts {
  /** Rows [2 C, D] by which the state is read: to correct what is written, and for the queries. */
  readonly reads: Value;
  /** What each token writes to a state of 0 [C, E]. */
  readonly values: Value;
  /** Keys, as far as they are left at the end of the chunk [C, D]. */
  readonly keys: Value;
  /** What the chunk leaves of the state before it [1, 1]. */
  readonly kept: Value;
}

/** Takes the state through all chunks: what each token writes, U, and reads of earlier chunks, undefined where there are none. */
function passState({ reads, values, keys, kept }: ChunkParts): {
  readonly added: Value;
  readonly seen?: Value;
} {
  const [N, ...shape] = values.shape as readonly number[];
  const count = N as number;
  if (count === 1) return { added: values };
  const each = (x: Value): readonly Value[] => split(x, { axis: 0, sizes: Array<number>(count).fill(1) });
  const [readParts, valueParts, keyParts, keptParts] = [each(reads), each(values), each(keys), each(kept)];
  const added = [valueParts[0] as Value];
  const seen = [zeros([1, ...shape])];
  let state: Value | undefined;
  for (let i = 1; i < count; i++) {
    const written = matmul(keyParts[i - 1] as Value, added[i - 1] as Value, { transposeA: true });
    state = state === undefined ? written : add(mul(state, keptParts[i - 1] as Value), written);
    const size = shape[3] as number;
    const found = split(matmul(readParts[i] as Value, state), { axis: 4, sizes: [size, size] });
    added.push(sub(valueParts[i] as Value, found[0] as Value));
    seen.push(found[1] as Value);
  }
  return { added: concat(added, 0), seen: concat(seen, 0) };
}

/**
 * A = (I + L)⁻¹ of strictly lower triangles [..., C, C]: of blocks of 4 as (I − L)(I + L²), which is exact, joined two by two.
 * For the whole chunk such products lose all digits where keys are similar. The gradient is that of an inverse, −Aᵀ dA Aᵀ.
 */
function unitInverse(lower: Value): Value {
  const C = lower.shape.at(-1) as number;
  const blocks = (size: number) => (row: number, column: number) =>
    Math.floor(row / size) === Math.floor(column / size);
  const part = mul(lower, square(C, blocks(4)));
  const first = sub(
    square(C, (row, column) => row === column),
    part,
  );
  let inverse = add(first, matmul(first, matmul(part, part)));
  for (let size = 4; size < C; size *= 2) {
    const [inner, outer] = [blocks(size), blocks(2 * size)];
    const between = mul(
      lower,
      square(C, (row, column) => outer(row, column) && !inner(row, column)),
    );
    inverse = sub(inverse, matmul(matmul(inverse, between), inverse));
  }
  return withGradient(inverse, [lower], (dy, a) => [
    neg(matmul(matmul(a, dy, { transposeA: true }), a, { transposeB: true })),
  ]);
}
