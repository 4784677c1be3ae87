// The log-sum-exp over a stored head, whose float32 numbers never exist together: a vocabulary of 128,256 would be 1 GB.
// N target tokens · C hidden width · V vocabulary · v a part of it
import { emit, type StoredWeight, type Value } from "../value.ts";
import { dequantiseRange, storedRows } from "./dequantise.ts";
import { add, exp, mul, sub } from "./elementwise.ts";
import { type Chunk, type CrossEntropyOptions, chunkOf, joined, rowsOf } from "./loss-chunks.ts";
import { after } from "./shape.ts";

/** Numbers of the head that exist at a time, at most: 128 MiB. */
const PART_SIZE = 2 ** 25;

type Mixture = Pick<Chunk, "lse" | "mixed">;

/** log Σ e^logit [N, 1] over the whole vocabulary, and softmax · E [N, C]. */
export function storedLoss(
  x: Value,
  head: StoredWeight,
  { chunk, maxRows, training = false, partSize = PART_SIZE }: CrossEntropyOptions,
): Mixture {
  const [vocabulary = 0, width = 0] = head.shape;
  const rows = storedRows(head);
  const parts = Math.min(rows, Math.ceil((vocabulary * width) / partSize));
  // as many logits at a time as `chunk` rows of the whole vocabulary have
  const pieces = Math.max(1, Math.ceil(maxRows / (chunk * parts)));
  let before: Mixture | undefined;
  for (let part = 0; part < parts; part++) {
    const [from, to] = [part, part + 1].map((i) => Math.floor((i * rows) / parts)) as [number, number];
    const last = before === undefined ? [x] : training ? [before.lse, before.mixed] : [before.lse];
    const numbers = dequantiseRange(head, { from, to }, last);
    const found = inPieces(x, numbers, { pieces, size: Math.ceil(maxRows / pieces), training });
    before = before === undefined ? found : mixtureOf(before, found);
  }
  return before as Mixture;
}

interface Pieces {
  readonly pieces: number;
  readonly size: number;
  readonly training: boolean;
}

/** The rows of x against a part of the head, `size` rows at a time. */
function inPieces(x: Value, head: Value, { pieces, size, training }: Pieces): Mixture {
  const chunks: Chunk[] = [];
  for (let piece = 0; piece < pieces; piece++) {
    const rows = pieces === 1 ? x : rowsOf(x, { from: piece * size, to: (piece + 1) * size });
    const last = chunks.at(-1);
    const others = last === undefined ? [] : training ? [last.lse, last.mixed] : [last.lse];
    chunks.push(chunkOf(others.length === 0 ? rows : after(rows, others), head));
  }
  const column = { ...x, shape: [x.shape[0] ?? 1, 1] };
  return {
    lse: joined(
      chunks.map(({ lse }) => lse),
      column,
    ),
    mixed: joined(
      chunks.map(({ mixed }) => mixed),
      x,
    ),
  };
}

/** Two parts of the vocabulary as one: each part's softmax counts by its share of the sum. */
function mixtureOf(a: Mixture, b: Mixture): Mixture {
  const most = emit("Max", [a.lse, b.lse], { shape: a.lse.shape });
  const sum = add(exp(sub(a.lse, most)), exp(sub(b.lse, most)));
  const lse = add(most, emit("Log", [sum], { shape: sum.shape }));
  const share = (part: Mixture): Value => mul(part.mixed, exp(sub(part.lse, lse)));
  return { lse, mixed: add(share(a), share(b)) };
}
