// N target tokens · C hidden width · V vocabulary
import { type Value, withGradient } from "../value.ts";
import { add, mul, neg, sub } from "./elementwise.ts";
import { embed, scatterRows } from "./gather.ts";
import { matmul } from "./linear.ts";
import { type Chunk, type CrossEntropyOptions, chunkOf, joined, rowsOf } from "./loss-chunks.ts";
import { sum, sumAll } from "./reduce.ts";
import { after } from "./shape.ts";
import { storedLoss } from "./stored-loss.ts";

/**
 * The summed cross-entropy in nats, Σ over rows of −log softmax(x Eᵀ)[label], a scalar, for x [N, C] and the head
 * E [V, C]. It works in chunks of rows, so that the logits of all rows never exist together, and its gradient
 * dx = softmax · E − E[label] needs no one-hot rows. A stored head is dequantised once, a part of the vocabulary at a time.
 */
export function crossEntropy(x: Value, head: Value, options: CrossEntropyOptions): Value {
  const { labels, chunk, maxRows, training = false } = options;
  const target = embed(head, labels); //                                     [N, C]
  const hit = sum(mul(x, target), [1]); //                                   [N, 1]
  if (head.stored !== undefined) {
    const { lse, mixed } = storedLoss(x, head.stored, options);
    return withGradient(sumAll(sub(lse, hit)), [x], (dy) => [mul(sub(mixed, target), dy)]);
  }
  const chunks: Chunk[] = [];
  for (let from = 0; from < Math.max(1, maxRows); from += chunk) {
    const rows = maxRows <= chunk ? x : rowsOf(x, { from, to: from + chunk });
    const last = chunks.at(-1);
    chunks.push(
      chunkOf(last === undefined ? rows : after(rows, training ? [last.lse, last.mixed] : [last.lse]), head),
    );
  }
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
