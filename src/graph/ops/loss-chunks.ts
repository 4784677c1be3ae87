// Rows of a cross-entropy, a chunk at a time. n rows · C hidden width · V vocabulary, or a part of it
import { constant, emit, int64s, scalar, type Value } from "../value.ts";
import type { StoredRange } from "./dequantise.ts";
import { add, mul, softCap, sub } from "./elementwise.ts";
import { matmul } from "./linear.ts";
import { sumAll } from "./reduce.ts";
import { after, reshape } from "./shape.ts";

/** Targets, and how many logits exist at a time. */
export interface CrossEntropyOptions {
  /** The token that each row must predict, [N] int32. */
  readonly labels: Value;
  /** Rows whose logits exist at the same time; of a head that is taken in parts, as many logits as these rows have. */
  readonly chunk: number;
  /** The largest N of any run; it decides how many chunks there are. */
  readonly maxRows: number;
  /** Computes the gradient too, each chunk's part before the logits of the next; false by default. */
  readonly training?: boolean;
  /**
   * Numbers of the head that are taken at a time, at most; a stored head 2²⁵, a vocabulary of more than 2¹⁷ tokens 2²³, and
   * any other head whole.
   */
  readonly partSize?: number;
  /** Logits z become cap · tanh(z / cap) (Gemma 2); left out, they stay as they are. */
  readonly softCap?: number | undefined;
}

/** dy times the derivative of the soft cap where its value is y, 1 − (y / cap)². Without a cap, dy. */
export const uncap = (dy: Value, y: Value, cap: number | undefined): Value =>
  cap === undefined ? dy : mul(dy, add(mul(mul(y, y), scalar(-1 / cap ** 2)), scalar(1)));

/** Rows from … to − 1 of x, as many as the run has. */
const sliceRows = (x: Value, { from, to }: { readonly from: number; readonly to: number }): Value =>
  emit("Slice", [x, int64s(from), int64s(to), int64s(0)], {
    shape: [`${x.shape[0]}:${from}:${to}`, ...x.shape.slice(1)],
    dtype: x.dtype,
  });

const rowMax = (x: Value): Value =>
  emit("ReduceMax", [x, int64s(1)], { shape: [x.shape[0] ?? 1, 1], attributes: { keepdims: 1 } });

/** What the loss of some rows needs of their logits. */
export interface Chunk {
  readonly rows: Value;
  /** The derivative of lse by x Eᵀ [n, V]: softmax of the logits, times the slope of their cap. */
  readonly p: Value;
  /** log Σ e^logit [n, 1] */
  readonly lse: Value;
  /** p · E [n, C] */
  readonly mixed: Value;
  /** The largest logit [n, 1] */
  readonly peak: Value;
  /** The label's logit [n, 1]; far below all others where the label is in another part of the vocabulary. */
  readonly own: Value;
}

/** The rows of x against a head, and how many of them at a time. */
export interface ChunkOptions {
  readonly labels: Value;
  readonly head: Value;
  /** The tokens of the head's rows, in their order, where it is a part of the vocabulary. */
  readonly tokens?: readonly StoredRange[];
  readonly count: number;
  readonly size: number;
  readonly training: boolean;
  readonly softCap: number | undefined;
}

/** Chunks of the rows of x, each computed after the one before. */
export function splitIntoChunks(
  x: Value,
  { count, size, training, labels, ...head }: ChunkOptions,
): readonly Chunk[] {
  const chunks: Chunk[] = [];
  for (let i = 0; i < count; i++) {
    const cut = (v: Value): Value => (count === 1 ? v : sliceRows(v, { from: i * size, to: (i + 1) * size }));
    const last = chunks.at(-1);
    const before = last === undefined ? [] : [last.lse, last.own, ...(training ? [last.mixed] : [])];
    const rows = before.length === 0 ? cut(x) : after(cut(x), before);
    chunks.push(computeChunk(rows, cut(labels), head));
  }
  return chunks;
}

function computeChunk(
  rows: Value,
  labels: Value,
  { head, tokens, softCap: cap }: Pick<ChunkOptions, "head" | "tokens" | "softCap">,
): Chunk {
  const logits = softCap(matmul(rows, head, { transposeB: true }), cap); // [n, V]
  const softmax = emit("Softmax", [logits], { shape: logits.shape, attributes: { axis: -1 } });
  // log Σ e^z = max z − log max p
  const peak = rowMax(logits);
  const lse = sub(peak, emit("Log", [rowMax(softmax)], { shape: [logits.shape[0] ?? 1, 1] }));
  const p = uncap(softmax, logits, cap);
  return { rows, p, lse, mixed: matmul(p, head), peak, own: ownLogit(logits, labels, tokens) };
}

const OUTSIDE = -1e38;

function ownLogit(logits: Value, labels: Value, tokens: readonly StoredRange[] | undefined): Value {
  const column = reshape(labels, [logits.shape[0] ?? 1, 1]);
  const { shape } = column;
  const gather = (at: Value): Value =>
    emit("GatherElements", [logits, at], { shape, dtype: "float32", attributes: { axis: 1 } });
  if (tokens === undefined) return gather(column);
  const ints = (n: number): Value => constant(Int32Array.of(n), []);
  let row = 0;
  const found = tokens.map(({ from, to }) => {
    const inside = emit("Clip", [column, ints(from), ints(to - 1)], { shape });
    const isInside = emit("Equal", [column, inside], { shape, dtype: "bool" });
    const at = emit("Add", [inside, ints(row - from)], { shape });
    row += to - from;
    return emit("Where", [isInside, gather(at), scalar(OUTSIDE)], { shape, dtype: "float32" });
  });
  return found.length === 1 ? (found[0] as Value) : emit("Max", found, { shape });
}

/** Σ over rows of 1 where a token was likelier than the label, a scalar. */
export function countMisses({ peak, own }: Pick<Chunk, "peak" | "own">): Value {
  const isMiss = emit("Less", [own, peak], { shape: peak.shape, dtype: "bool" });
  return sumAll(emit("Cast", [isMiss], { shape: peak.shape, dtype: "float32", attributes: { to: 1 } }));
}

/** What chunks say of their rows, put together again. */
export type Joined = Pick<Chunk, "lse" | "mixed" | "peak" | "own">;

export function joined(chunks: readonly Chunk[], x: Value): Joined {
  const together = (name: keyof Joined, shape: Value["shape"]): Value => {
    const parts = chunks.map((chunk) => chunk[name]);
    return parts.length === 1
      ? (parts[0] as Value)
      : emit("Concat", parts, { shape, attributes: { axis: 0 } });
  };
  const column = [x.shape[0] ?? 1, 1];
  return {
    lse: together("lse", column),
    mixed: together("mixed", x.shape),
    peak: together("peak", column),
    own: together("own", column),
  };
}
