// N target tokens · n rows of a chunk · C hidden width · V vocabulary · K tokens that are compared
import type { Shape } from "../tensor-type.ts";
import { emit, emitAll, int64s, scalar, type Value, withGradient } from "../value.ts";
import { dequantiseRange, sliceStoredRows, storedRows } from "./dequantise.ts";
import { add, exp, log, log1mexp, minimum, mul, softCap, softplus, sub } from "./elementwise.ts";
import { matmul } from "./linear.ts";
import { type CrossEntropyOptions, chunkRows, LARGE_LOGITS, PART_SIZE, uncap } from "./loss.ts";
import { sum } from "./reduce.ts";
import { after, concat, slice } from "./shape.ts";

/** How far a student's distribution p is from a teacher's q. */
export interface DivergenceMeasure {
  /**
   * 0: Σ q log (q / p), the forward KL divergence. 1: Σ p log (p / q), the reverse one. Between them the generalised
   * Jensen–Shannon divergence α KL(q ‖ m) + (1 − α) KL(p ‖ m) from the mixture m = α q + (1 − α) p.
   */
  readonly alpha: number;
  /** Tokens that are compared, the student's likeliest ones; all of the vocabulary by default. */
  readonly topK?: number | undefined;
  /** Compares all other tokens as one with `topK`; without it, the probabilities of the K tokens are scaled to a sum of 1. */
  readonly addTail?: boolean | undefined;
}

interface DivergenceOptions extends DivergenceMeasure, Omit<CrossEntropyOptions, "labels"> {
  /** Hidden states of the teacher [N, C]. No gradient reaches them. */
  readonly teacher: Value;
}

/**
 * The divergence of the student's next token from the teacher's for each row, in nats [N, 1]: both are hidden states, of x
 * [N, C], by the frozen head E [V, C]. It works in chunks of rows, so that the logits of all rows never exist together. A stored
 * head is dequantised for each chunk, a part of the vocabulary at a time.
 */
export function divergence(x: Value, head: Value, options: DivergenceOptions): Value {
  const { teacher, chunk, maxRows, training = false, partSize = PART_SIZE } = options;
  const [vocabulary = 1] = head.shape as readonly number[];
  const size = Math.max(1, Math.min(chunk, Math.floor(LARGE_LOGITS / vocabulary)));
  const count = Math.max(1, Math.ceil(maxRows / size));
  const parts = headParts(head, partSize);
  const chunks: ReturnType<typeof compareRows>[] = [];
  for (let i = 0; i < count; i++) {
    const last = chunks.at(-1);
    const before = last === undefined ? [] : [last.value, ...(training ? [last.dx] : [])];
    const rowsOf = (states: Value): Value => after(chunkRows(states, { i, count, size }), before);
    chunks.push(compareRows(rowsOf(x), rowsOf(teacher), { ...options, parts }));
  }
  const joined = (name: "value" | "dx", shape: Shape): Value =>
    emit(
      "Concat",
      chunks.map((one) => one[name]),
      { shape, attributes: { axis: 0 } },
    );
  return withGradient(joined("value", [x.shape[0] ?? 1, 1]), [x], (dy) => [mul(joined("dx", x.shape), dy)]);
}

/**
 * The divergence of some rows [n, 1], and its derivative by their hidden states [n, C]. A part of the head is loaded when that
 * before it is done with.
 */
function compareRows(
  own: Value,
  teacher: Value,
  { parts, softCap: cap, ...measure }: DivergenceOptions & { readonly parts: readonly HeadPart[] },
) {
  const z: Value[] = [];
  const taught: Value[] = [];
  for (const { load } of parts) {
    const numbers = load([z.at(-1) ?? own, taught.at(-1) ?? teacher]);
    z.push(matmul(own, numbers, { transposeB: true }));
    taught.push(matmul(teacher, numbers, { transposeB: true }));
  }
  const logits = softCap(concat(z, 1), cap); // [n, V]
  const { value, dz } = compareLogits(logits, softCap(concat(taught, 1), cap), measure);
  let dx = uncap(dz, logits, cap);
  const slope = dx;
  for (const [i, { from, to, load }] of parts.entries()) {
    const product = matmul(columns(slope, from, to), load([dx]));
    dx = i === 0 ? product : add(dx, product);
  }
  return { value, dx };
}

/** Rows of a head as columns of logits, and their numbers, which exist from when `others` do. */
interface HeadPart {
  readonly from: number;
  readonly to: number;
  load(others: readonly Value[]): Value;
}

/** A stored head is taken in parts. The order of its tokens does not matter to a divergence. */
function headParts(head: Value, partSize: number): readonly HeadPart[] {
  const { stored } = head;
  const [vocabulary = 1, width = 1] = head.shape as readonly number[];
  if (stored === undefined) return [{ from: 0, to: vocabulary, load: () => head }];
  const rows = storedRows(stored);
  const step = Math.ceil(rows / Math.ceil((vocabulary * width) / partSize));
  let to = 0;
  return Array.from({ length: Math.ceil(rows / step) }, (_, i) => {
    const range = { from: i * step, to: Math.min(rows, (i + 1) * step) };
    const from = to;
    for (const part of sliceStoredRows(stored, range)) to += part.to - part.from;
    return { from, to, load: (others) => dequantiseRange(stored, range, others) };
  });
}

const columns = (x: Value, from: number, to: number): Value =>
  from === 0 && to === x.shape[1] ? x : slice(x, { axis: 1, from, to });

const logSoftmax = (z: Value): Value => emit("LogSoftmax", [z], { shape: z.shape, attributes: { axis: -1 } });

/** The divergence of logits z [n, V] from the teacher's, [n, 1], and its derivative by z. */
function compareLogits(z: Value, teacher: Value, { alpha, topK, addTail = false }: DivergenceMeasure) {
  const [own, other] = [logSoftmax(z), logSoftmax(teacher)];
  if (topK === undefined || topK >= Number(z.shape[1])) return compareLogprobs(own, other, alpha);
  const shape = [z.shape[0] ?? 1, topK];
  const [best, at] = emitAll("TopK", [own, int64s(topK)], { outputs: [shape, shape] }) as [Value, Value];
  const indices: Value = { ...at, dtype: "int64" };
  const taught = emit("GatherElements", [other, indices], { shape, attributes: { axis: 1 } });
  const scatter = (rows: Value, numbers: Value): Value =>
    emit("ScatterElements", [rows, indices, numbers], { shape: z.shape, attributes: { axis: 1 } });
  if (!addTail) {
    const { value, dz } = compareLogprobs(logSoftmax(best), logSoftmax(taught), alpha);
    return { value, dz: scatter(mul(own, scalar(0)), dz) };
  }
  const { value, dz } = compareLogprobs(withTail(best), withTail(taught), alpha);
  // what the tail's derivative is, its tokens share by their probabilities
  const share = sub(own, tailOf(best)); // log p − log p of the tail
  return { value, dz: scatter(mul(exp(share), columns(dz, topK, topK + 1)), columns(dz, 0, topK)) };
}

/** Log-probability of all tokens but these, with TRL's limit where there is next to none left. */
const tailOf = (logprobs: Value): Value => log1mexp(minimum(log(sum(exp(logprobs), [1])), scalar(-1e-7)));

const withTail = (logprobs: Value): Value => concat([logprobs, tailOf(logprobs)], 1);

/** The divergence of log-probabilities [n, K] from the teacher's, [n, 1], and its derivative by the student's logits. */
function compareLogprobs(own: Value, teacher: Value, alpha: number) {
  const [p, q] = [exp(own), exp(teacher)];
  const from = (probabilities: Value, logprobs: Value, mixture: Value): Value =>
    mul(probabilities, sub(logprobs, mixture));
  // p ∘ the derivative by p, up to what is the same for all tokens
  const finish = (value: Value, dp: Value) => ({ value, dz: sub(dp, mul(p, sum(dp, [1]))) });
  if (alpha === 0) return finish(sum(from(q, teacher, own), [1]), mul(q, scalar(-1)));
  if (alpha === 1) {
    const terms = from(p, own, teacher);
    return finish(sum(terms, [1]), terms);
  }
  const one = add(own, scalar(Math.log(1 - alpha)));
  const mixture = add(one, softplus(sub(add(teacher, scalar(Math.log(alpha))), one)));
  const terms = mul(from(p, own, mixture), scalar(1 - alpha));
  return finish(sum(add(terms, mul(from(q, teacher, mixture), scalar(alpha))), [1]), terms);
}
