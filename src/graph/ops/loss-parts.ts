// The log-sum-exp over a head in parts of the vocabulary. The float32 numbers of a stored head never exist together: a
// vocabulary of 128,256 would be 1 GB. Nor do the logits of a large vocabulary: 256 rows of 262,144 are 268 MB.
// N target tokens · C hidden width · V vocabulary · v a part of it
import { emit, type StoredWeight, type Value } from "../value.ts";
import { dequantiseRange, sliceStoredRows, storedRows } from "./dequantise.ts";
import { add, exp, mul, sub } from "./elementwise.ts";
import { type CrossEntropyOptions, type Joined, joined, splitIntoChunks } from "./loss-chunks.ts";

/** Tokens of a vocabulary that is large: rows of its logits are, too. Llama's have fewer. */
const LARGE = 2 ** 17;

/** Upper limit of what exists at once: 128 MiB of the head, or 32 and 64 MiB of logits for large vocabularies. */
const PART_SIZE = 2 ** 25;
const LARGE_PART_SIZE = 2 ** 23;
const LARGE_LOGITS = 2 ** 24;

/** The head as parts are taken from it; undefined where it is taken whole. */
export function inParts(head: Value, { partSize }: CrossEntropyOptions): StoredWeight | undefined {
  if (head.stored !== undefined) return head.stored;
  const shape = head.shape as readonly number[];
  const [vocabulary = 0] = shape;
  if (partSize === undefined && vocabulary <= LARGE) return undefined;
  return { format: { kind: "float32" }, shape, parts: { data: head } };
}

/** Loss of the rows of x over the whole vocabulary. */
export function partwiseLoss(x: Value, head: StoredWeight, options: CrossEntropyOptions): Joined {
  const { labels, maxRows, training = false, softCap } = options;
  const [vocabulary = 0, width = 0] = head.shape;
  const isLarge = vocabulary > LARGE;
  const { partSize = isLarge ? LARGE_PART_SIZE : PART_SIZE } = options;
  const rows = storedRows(head);
  const parts = Math.min(rows, Math.ceil((vocabulary * width) / partSize));
  // as many logits at a time as a chunk of rows of the whole vocabulary has
  const chunk = isLarge ? Math.min(options.chunk, LARGE_LOGITS / vocabulary) : options.chunk;
  const count = Math.max(1, Math.ceil(maxRows / (chunk * parts)));
  const pieces = { labels, count, size: Math.ceil(maxRows / count), training, softCap };
  // equal ones, since the runtime uses a buffer again for tensors of the same shape
  const step = Math.ceil(rows / parts);
  let before: Joined | undefined;
  for (let from = 0; from < rows; from += step) {
    const to = Math.min(rows, from + step);
    const last = before === undefined ? [x] : [before.lse, before.own, ...(training ? [before.mixed] : [])];
    const numbers = dequantiseRange(head, { from, to }, last);
    const tokens = sliceStoredRows(head, { from, to });
    const found = joined(splitIntoChunks(x, { ...pieces, head: numbers, tokens }), x);
    before = before === undefined ? found : mergeParts(before, found);
  }
  return before as Joined;
}

/** Two parts of the vocabulary as one: each part's softmax counts by its share of the sum. */
function mergeParts(a: Joined, b: Joined): Joined {
  const larger = (name: "lse" | "peak" | "own"): Value =>
    emit("Max", [a[name], b[name]], { shape: a[name].shape });
  const most = larger("lse");
  const sum = add(exp(sub(a.lse, most)), exp(sub(b.lse, most)));
  const lse = add(most, emit("Log", [sum], { shape: sum.shape }));
  const share = (part: Joined): Value => mul(part.mixed, exp(sub(part.lse, lse)));
  return { lse, mixed: add(share(a), share(b)), peak: larger("peak"), own: larger("own") };
}
