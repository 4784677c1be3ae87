// N counted positions · C hidden width · V vocabulary
import { emit, int64s, type Value, withGradient } from "../value.ts";
import { add, mul, neg, sub } from "./elementwise.ts";
import { embed, scatterRows } from "./gather.ts";
import { matmul } from "./linear.ts";
import { sum, sumAll } from "./reduce.ts";

export interface CrossEntropyOptions {
  /** The token each row must predict, [N] int32. */
  readonly labels: Value;
  /** Rows whose logits exist at the same time. */
  readonly chunk: number;
  /** The largest N of any run; it decides how many chunks there are. */
  readonly most: number;
}

/** Rows from … to − 1 of x, as many as the run has. */
const rowsOf = (x: Value, { from, to }: { readonly from: number; readonly to: number }): Value =>
  emit("Slice", [x, int64s(from), int64s(to), int64s(0)], {
    shape: [`${x.shape[0]}:${from}`, ...x.shape.slice(1)],
  });

/**
 * Σ over rows of −log softmax(x Eᵀ)[label], for x [N, C] and the head E [V, C], in chunks of rows, so that the logits
 * of all rows never exist together. dx = softmax · E − E[label], without one-hot rows.
 */
export function crossEntropy(x: Value, head: Value, { labels, chunk, most }: CrossEntropyOptions): Value {
  const target = embed(head, labels); //                                     [N, C]
  const hit = sum(mul(x, target), [1]); //                                   [N, 1]
  const starts = Array.from({ length: Math.max(1, Math.ceil(most / chunk)) }, (_, i) => i * chunk);
  const chunks = starts.map((from) => {
    const rows = starts.length === 1 ? x : rowsOf(x, { from, to: from + chunk });
    const logits = matmul(rows, head, { transposeB: true }); //              [n, V]
    const p = emit("Softmax", [logits], { shape: logits.shape, attributes: { axis: -1 } });
    // log Σ e^z = max z − log max p
    const lse = sub(peak(logits), emit("Log", [peak(p)], { shape: [logits.shape[0] ?? 1, 1] }));
    return { rows, p, lse };
  });
  const joined = (parts: readonly Value[], like: Value): Value =>
    parts.length === 1
      ? (parts[0] as Value)
      : emit("Concat", parts, { shape: like.shape, attributes: { axis: 0 } });
  const loss = sumAll(
    sub(
      joined(
        chunks.map(({ lse }) => lse),
        hit,
      ),
      hit,
    ),
  );
  return withGradient(loss, [x, head], (dy) => {
    const mixed = joined(
      chunks.map(({ p }) => matmul(p, head)),
      x,
    );
    const dx = mul(sub(mixed, target), dy);
    const pulled = chunks
      .map(({ p, rows }) => matmul(p, rows, { transposeA: true }))
      .reduce((a, b) => add(a, b));
    return [dx, mul(add(pulled, scatterRows(neg(x), labels, head)), dy)];
  });
}

const peak = (x: Value): Value =>
  emit("ReduceMax", [x, int64s(1)], { shape: [x.shape[0] ?? 1, 1], attributes: { keepdims: 1 } });
