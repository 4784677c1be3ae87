// N target tokens · C hidden width · V vocabulary
import { type Value, withGradient } from "../value.ts";
import { add, mul, neg, sub } from "./elementwise.ts";
import { embed, scatterRows } from "./gather.ts";
import { matmul } from "./linear.ts";
import { type CrossEntropyOptions, chunksOf, joined, missesOf } from "./loss-chunks.ts";
import { sum, sumAll } from "./reduce.ts";
import { storedLoss } from "./stored-loss.ts";

/** What the head makes of a batch, both scalars. */
export interface TokenLoss {
  /** The summed cross-entropy in nats, Σ over rows of −log softmax(x Eᵀ)[label]. */
  readonly loss: Value;
  /** Rows for which another token than the label is the likeliest. */
  readonly misses: Value;
}

/**
 * The summed cross-entropy of x [N, C] with the head E [V, C], and how many rows predict another token. It works in chunks of rows, so that the logits of all rows never exist together, and its gradient
 * dx = softmax · E − E[label] needs no one-hot rows. A stored head is dequantised once, a part of the vocabulary at a time.
 */
export function crossEntropy(x: Value, head: Value, options: CrossEntropyOptions): TokenLoss {
  const { labels, chunk, maxRows, training = false } = options;
  const target = embed(head, labels); //                                     [N, C]
  const hit = sum(mul(x, target), [1]); //                                   [N, 1]
  if (head.stored !== undefined) {
    const { lse, mixed, ...logits } = storedLoss(x, head.stored, options);
    const loss = withGradient(sumAll(sub(lse, hit)), [x], (dy) => [mul(sub(mixed, target), dy)]);
    return { loss, misses: missesOf(logits) };
  }
  const count = Math.max(1, Math.ceil(maxRows / chunk));
  const chunks = chunksOf(x, { labels, head, count, size: chunk, training });
  const { lse, mixed, ...logits } = joined(chunks, x);
  const loss = withGradient(sumAll(sub(lse, hit)), [x, head], (dy) => {
    const headGradient = chunks
      .map(({ p, rows }) => matmul(p, rows, { transposeA: true }))
      .reduce((a, b) => add(a, b));
    return [mul(sub(mixed, target), dy), mul(add(headGradient, scatterRows(neg(x), labels, head)), dy)];
  });
  return { loss, misses: missesOf(logits) };
}
