// N target tokens · n rows of a chunk · C hidden width · V vocabulary, or a part of it
import {
  cast,
  constant,
  emit,
  int64s,
  type StoredWeight,
  scalar,
  type Value,
  withGradient,
} from "../value.ts";
import { dequantiseRange, type StoredRange, sliceStoredRows, storedRows } from "./dequantise.ts";
import { add, exp, mul, softCap, sub } from "./elementwise.ts";
import { embed, scatterRows } from "./gather.ts";
import { matmul } from "./linear.ts";
import { max, sum } from "./reduce.ts";
import { after, reshape } from "./shape.ts";

/** What a head says of the token that each of N rows must predict. */
export interface TokenLogprobs {
  /** log softmax(x Eᵀ)[label], in nats [N, 1] */
  readonly logprobs: Value;
  /** 1 where another token than the label is the likeliest, else 0 [N, 1] */
  readonly misses: Value;
}

/**
 * The cross-entropy of each row, negated: the log-probability of a token for each row of x [N, C] by the head E [V, C], and
 * which rows predict another token. It works in chunks of rows, so that the logits of all rows never exist together, and
 * the gradient of a row, E[label] − softmax · E, needs no one-hot rows. Where logits are capped, both terms have the slope of
 * the cap. A stored head is dequantised once, a part of the vocabulary at a time; a large vocabulary is taken in parts, too.
 */
export function crossEntropy(x: Value, head: Value, options: CrossEntropyOptions): TokenLogprobs {
  const { labels, chunk, maxRows, training = false, softCap: cap } = options;
  const target = embed(head, labels); //                                     [N, C]
  const hit = softCap(sum(mul(x, target), [1]), cap); //                     [N, 1]
  const size = { count: Math.max(1, Math.ceil(maxRows / chunk)), size: chunk };
  const wholeHead = (): readonly Chunk[] =>
    splitIntoChunks(x, { ...size, labels, head, training, softCap: cap });
  const parts = inParts(head, options);
  const chunks = parts === undefined ? wholeHead() : [];
  const { lse, mixed, ...logits } = parts === undefined ? joined(chunks, x) : joinedParts(x, parts, options);
  const isStored = head.stored !== undefined;
  const logprobs = withGradient(sub(hit, lse), isStored ? [x] : [x, head], (dy) => {
    const dx = mul(sub(uncap(target, hit, cap), mixed), dy);
    if (isStored) return [dx];
    const expected = (chunks.length > 0 ? chunks : wholeHead())
      .map(({ p, rows }, i) => matmul(p, mul(rows, chunkRows(dy, { ...size, i })), { transposeA: true }))
      .reduce((a, b) => add(a, b));
    return [dx, sub(scatterRows(mul(uncap(x, hit, cap), dy), labels, head), expected)];
  });
  const isMiss = emit("Less", [logits.own, logits.peak], { shape: logits.peak.shape, dtype: "bool" });
  return { logprobs, misses: cast(isMiss, "float32") };
}

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

/** The rows of one of `count` chunks of `size`. */
export const chunkRows = (
  x: Value,
  { i, count, size }: { readonly i: number; readonly count: number; readonly size: number },
): Value => (count === 1 ? x : sliceRows(x, { from: i * size, to: (i + 1) * size }));

/** Results of the logits of some rows, from which the loss is computed. */
interface Chunk {
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
interface ChunkOptions {
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
function splitIntoChunks(
  x: Value,
  { count, size, training, labels, ...head }: ChunkOptions,
): readonly Chunk[] {
  const chunks: Chunk[] = [];
  for (let i = 0; i < count; i++) {
    const cut = (v: Value): Value => chunkRows(v, { i, count, size });
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
  const peak = max(logits, [1]);
  const lse = sub(peak, emit("Log", [max(softmax, [1])], { shape: [logits.shape[0] ?? 1, 1] }));
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

/** Results of all chunks, joined. */
type Joined = Pick<Chunk, "lse" | "mixed" | "peak" | "own">;

function joined(chunks: readonly Chunk[], x: Value): Joined {
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

// The log-sum-exp over a head in parts of the vocabulary. The float32 numbers of a stored head never exist together: a
// vocabulary of 128,256 would be 1 GB. Nor do the logits of a large vocabulary: 256 rows of 262,144 are 268 MB.

/** Tokens of a vocabulary that is large: rows of its logits are, too. Llama's have fewer. */
const LARGE = 2 ** 17;

/** Upper limit of what exists at once: 128 MiB of the head, or 32 and 64 MiB of logits for large vocabularies. */
export const PART_SIZE = 2 ** 25;
const LARGE_PART_SIZE = 2 ** 23;
export const LARGE_LOGITS = 2 ** 24;

/** The head as parts are taken from it; undefined where it is taken whole. */
function inParts(head: Value, { partSize }: CrossEntropyOptions): StoredWeight | undefined {
  if (head.stored !== undefined) return head.stored;
  const shape = head.shape as readonly number[];
  const [vocabulary = 0] = shape;
  if (partSize === undefined && vocabulary <= LARGE) return undefined;
  return { format: { kind: "float32" }, shape, parts: { data: head } };
}

/** Results of the rows of x over the whole vocabulary. */
function joinedParts(x: Value, head: StoredWeight, options: CrossEntropyOptions): Joined {
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
