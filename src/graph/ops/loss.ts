// N target tokens · C hidden width · V vocabulary
import { emit, int64s, type Value, withGradient } from "../value.ts";
import { add, mul, neg, sub } from "./elementwise.ts";
import { embed, scatterRows } from "./gather.ts";
import { matmul } from "./linear.ts";
import { sum, sumAll } from "./reduce.ts";
import { after } from "./shape.ts";

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
}

/** Rows from … to − 1 of x, as many as the run has. */
const rowsOf = (x: Value, { from, to }: { readonly from: number; readonly to: number }): Value =>
  emit("Slice", [x, int64s(from), int64s(to), int64s(0)], {
    shape: [`${x.shape[0]}:${from}`, ...x.shape.slice(1)],
  });

const peak = (x: Value): Value =>
  emit("ReduceMax", [x, int64s(1)], { shape: [x.shape[0] ?? 1, 1], attributes: { keepdims: 1 } });

interface Chunk {
  readonly rows: Value;
  /** softmax of the logits [n, V] */
  readonly p: Value;
  /** log Σ e^logit [n, 1] */
  readonly lse: Value;
  /** p · E [n, C] */
  readonly mixed: Value;
}

function chunkOf(rows: Value, head: Value): Chunk {
  const logits = matmul(rows, head, { transposeB: true }); //              [n, V]
  const p = emit("Softmax", [logits], { shape: logits.shape, attributes: { axis: -1 } });
  // log Σ e^z = max z − log max p
  const lse = sub(peak(logits), emit("Log", [peak(p)], { shape: [logits.shape[0] ?? 1, 1] }));
  return { rows, p, lse, mixed: matmul(p, head) };
}

/**
 * The summed cross-entropy in nats, Σ over rows of −log softmax(x Eᵀ)[label], a scalar, for x [N, C] and the head
 * E [V, C]. It works in chunks of rows, so that the logits of all rows never exist together, and its gradient
 * dx = softmax · E − E[label] needs no one-hot rows.
 */
export function crossEntropy(x: Value, head: Value, options: CrossEntropyOptions): Value {
  const { labels, chunk, maxRows, training = false } = options;
  const target = embed(head, labels); //                                     [N, C]
  const hit = sum(mul(x, target), [1]); //                                   [N, 1]
  const chunks: Chunk[] = [];
  for (let from = 0; from < Math.max(1, maxRows); from += chunk) {
    const rows = maxRows <= chunk ? x : rowsOf(x, { from, to: from + chunk });
    const last = chunks.at(-1);
    chunks.push(
      chunkOf(last === undefined ? rows : after(rows, training ? [last.lse, last.mixed] : [last.lse]), head),
    );
  }
  const joined = (parts: readonly Value[], like: Value): Value =>
    parts.length === 1
      ? (parts[0] as Value)
      : emit("Concat", parts, { shape: like.shape, attributes: { axis: 0 } });
  const lse = joined(
    chunks.map((part) => part.lse),
    hit,
  );
  return withGradient(sumAll(sub(lse, hit)), [x, head], (dy) => {
    const mixed = joined(
      chunks.map((part) => part.mixed),
      x,
    );
    const headGradient = chunks
      .map(({ p, rows }) => matmul(p, rows, { transposeA: true }))
      .reduce((a, b) => add(a, b));
    return [mul(sub(mixed, target), dy), mul(add(headGradient, scatterRows(neg(x), labels, head)), dy)];
  });
}
