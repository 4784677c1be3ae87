// N target tokens · C hidden width · V vocabulary
import { type Value, withGradient } from "../value.ts";
import { add, mul, neg, softCap, sub } from "./elementwise.ts";
import { embed, scatterRows } from "./gather.ts";
import { matmul } from "./linear.ts";
import {
  type Chunk,
  type CrossEntropyOptions,
  countMisses,
  joined,
  splitIntoChunks,
  uncap,
} from "./loss-chunks.ts";
import { inParts, partwiseLoss } from "./loss-parts.ts";
import { sum, sumAll } from "./reduce.ts";

/** Loss and hits of a batch, both scalars. */
export interface TokenLoss {
  /** The summed cross-entropy in nats, Σ over rows of −log softmax(x Eᵀ)[label]. */
  readonly loss: Value;
  /** Rows for which another token than the label is the likeliest. */
  readonly misses: Value;
}

/**
 * The summed cross-entropy of x [N, C] with the head E [V, C], and how many rows predict another token. It works in chunks
 * of rows, so that the logits of all rows never exist together, and its gradient dx = softmax · E − E[label] needs no
 * one-hot rows. Where logits are capped, both terms have the slope of the cap. A stored head is dequantised once, a part of
 * the vocabulary at a time; a large vocabulary is taken in parts, too.
 */
export function crossEntropy(x: Value, head: Value, options: CrossEntropyOptions): TokenLoss {
  const { labels, chunk, maxRows, training = false, softCap: cap } = options;
  const target = embed(head, labels); //                                     [N, C]
  const hit = softCap(sum(mul(x, target), [1]), cap); //                     [N, 1]
  const wholeHead = (): readonly Chunk[] => {
    const count = Math.max(1, Math.ceil(maxRows / chunk));
    return splitIntoChunks(x, { labels, head, count, size: chunk, training, softCap: cap });
  };
  const parts = inParts(head, options);
  const chunks = parts === undefined ? wholeHead() : [];
  const { lse, mixed, ...logits } = parts === undefined ? joined(chunks, x) : partwiseLoss(x, parts, options);
  const isStored = head.stored !== undefined;
  const loss = withGradient(sumAll(sub(lse, hit)), isStored ? [x] : [x, head], (dy) => {
    const dx = mul(sub(mixed, uncap(target, hit, cap)), dy);
    if (isStored) return [dx];
    const headGradient = (chunks.length > 0 ? chunks : wholeHead())
      .map(({ p, rows }) => matmul(p, rows, { transposeA: true }))
      .reduce((a, b) => add(a, b));
    return [dx, mul(add(headGradient, scatterRows(neg(uncap(x, hit, cap)), labels, head)), dy)];
  });
  return { loss, misses: countMisses(logits) };
}
