// Rows of a cross-entropy, a chunk at a time. n rows · C hidden width · V vocabulary, or a part of it
import { emit, int64s, type Value } from "../value.ts";
import { sub } from "./elementwise.ts";
import { matmul } from "./linear.ts";

/** Targets, and how many logits exist at a time. */
export interface CrossEntropyOptions {
  /** The token that each row must predict, [N] int32. */
  readonly labels: Value;
  /** Rows whose logits exist at the same time. */
  readonly chunk: number;
  /** The largest N of any run; it decides how many chunks there are. */
  readonly maxRows: number;
  /** Whether the gradient is computed too, each chunk's part before the logits of the next; false. */
  readonly training?: boolean;
  /** Numbers of a stored head that are dequantised at a time, at most; 2²⁵. */
  readonly partSize?: number;
}

/** Rows from … to − 1 of x, as many as the run has. */
export const rowsOf = (x: Value, { from, to }: { readonly from: number; readonly to: number }): Value =>
  emit("Slice", [x, int64s(from), int64s(to), int64s(0)], {
    shape: [`${x.shape[0]}:${from}:${to}`, ...x.shape.slice(1)],
  });

const peak = (x: Value): Value =>
  emit("ReduceMax", [x, int64s(1)], { shape: [x.shape[0] ?? 1, 1], attributes: { keepdims: 1 } });

/** What the loss of some rows needs of their logits. */
export interface Chunk {
  readonly rows: Value;
  /** softmax of the logits [n, V] */
  readonly p: Value;
  /** log Σ e^logit [n, 1] */
  readonly lse: Value;
  /** p · E [n, C] */
  readonly mixed: Value;
}

export function chunkOf(rows: Value, head: Value): Chunk {
  const logits = matmul(rows, head, { transposeB: true }); //              [n, V]
  const p = emit("Softmax", [logits], { shape: logits.shape, attributes: { axis: -1 } });
  // log Σ e^z = max z − log max p
  const lse = sub(peak(logits), emit("Log", [peak(p)], { shape: [logits.shape[0] ?? 1, 1] }));
  return { rows, p, lse, mixed: matmul(p, head) };
}

/** Chunks of rows put together again, in the shape of `like`. */
export const joined = (parts: readonly Value[], like: Value): Value =>
  parts.length === 1
    ? (parts[0] as Value)
    : emit("Concat", parts, { shape: like.shape, attributes: { axis: 0 } });
