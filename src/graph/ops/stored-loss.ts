// The log-sum-exp over a stored head, whose float32 numbers never exist together: a vocabulary of 128,256 would be 1 GB.
// N target tokens · C hidden width · V vocabulary · v a part of it
import { emit, type StoredWeight, type Value } from "../value.ts";
import { dequantiseRange, rowsOfRange, storedRows } from "./dequantise.ts";
import { add, exp, mul, sub } from "./elementwise.ts";
import { type CrossEntropyOptions, chunksOf, type Joined, joined } from "./loss-chunks.ts";

/** Numbers of the head that exist at a time, at most: 128 MiB. */
const PART_SIZE = 2 ** 25;

/** What the rows of x make of the whole vocabulary. */
export function storedLoss(
  x: Value,
  head: StoredWeight,
  { labels, chunk, maxRows, training = false, partSize = PART_SIZE }: CrossEntropyOptions,
): Joined {
  const [vocabulary = 0, width = 0] = head.shape;
  const rows = storedRows(head);
  const parts = Math.min(rows, Math.ceil((vocabulary * width) / partSize));
  // as many logits at a time as `chunk` rows of the whole vocabulary have
  const count = Math.max(1, Math.ceil(maxRows / (chunk * parts)));
  const pieces = { labels, count, size: Math.ceil(maxRows / count), training };
  let before: Joined | undefined;
  for (let part = 0; part < parts; part++) {
    const [from, to] = [part, part + 1].map((i) => Math.floor((i * rows) / parts)) as [number, number];
    const last = before === undefined ? [x] : [before.lse, before.own, ...(training ? [before.mixed] : [])];
    const numbers = dequantiseRange(head, { from, to }, last);
    const tokens = rowsOfRange(head, { from, to });
    const found = joined(chunksOf(x, { ...pieces, head: numbers, tokens }), x);
    before = before === undefined ? found : mixtureOf(before, found);
  }
  return before as Joined;
}

/** Two parts of the vocabulary as one: each part's softmax counts by its share of the sum. */
function mixtureOf(a: Joined, b: Joined): Joined {
  const larger = (name: "lse" | "peak" | "own"): Value =>
    emit("Max", [a[name], b[name]], { shape: a[name].shape });
  const most = larger("lse");
  const sum = add(exp(sub(a.lse, most)), exp(sub(b.lse, most)));
  const lse = add(most, emit("Log", [sum], { shape: sum.shape }));
  const share = (part: Joined): Value => mul(part.mixed, exp(sub(part.lse, lse)));
  return { lse, mixed: add(share(a), share(b)), peak: larger("peak"), own: larger("own") };
}
