import { leaf, mul, scalar, sigmoid, sub, sum, type Value } from "mixture-of-shards-graph";
import { type Batch, type EncodedExample, IGNORED, type LabelledIds, makeBatch, packExamples } from "#data";
import { column, combined, fedColumn, labelColumn, labelMatrix, sumBySequence } from "./answers.ts";
import { type FeedContext, type Metrics, objectiveKind } from "./objective.ts";

/** True for each sequence whose answer is desirable. */
function desirable({ columns, labelSequences, sequences }: Batch): readonly boolean[] {
  const marks = Array.from({ length: sequences }, () => false);
  for (const [label, sequence] of labelSequences.entries())
    if (columns.desirable?.[label] === 1) marks[sequence] = true;
  return marks;
}

/**
 * How far the policy has moved from the reference, in nats for each answer: from the prompts of the batch with answers to
 * other ones, which show a general shift. 0 where the batch has one answer alone.
 */
async function shift(batch: Batch, { logprobs, longest }: FeedContext): Promise<number> {
  let total = 0;
  for (const other of batch.sequences > 1 ? mismatched(batch, longest) : []) {
    const reference = await logprobs(other, "reference");
    for (const [label, logprob] of (await logprobs(other, "policy")).entries())
      total += logprob - (reference[label] ?? 0);
  }
  return Math.max(0, total / batch.sequences);
}

function ratedMetrics(batch: Batch, logprobs: Float32Array, beta: number): Metrics {
  const marks = desirable(batch);
  const logps = sumBySequence(batch, logprobs);
  const reference = sumBySequence(batch, fedColumn(batch, "reference").data);
  const rewards = logps.map((logp, k) => beta * (logp - (reference[k] as number)));
  const among = (isGood: boolean, numbers: Float64Array) => {
    const chosen = numbers.filter((_, k) => marks[k] === isGood);
    return { sum: chosen.reduce((a, x) => a + x, 0), count: chosen.length };
  };
  const [good, bad] = [among(true, rewards), among(false, rewards)];
  const margin = good.sum / good.count - bad.sum / bad.count;
  return {
    "rewards/chosen": good,
    "rewards/rejected": bad,
    "logps/chosen": among(true, logps),
    "logps/rejected": among(false, logps),
    // a difference of means has no sum: batches count by their sequences
    ...(Number.isFinite(margin)
      ? { "rewards/margins": { sum: margin * batch.sequences, count: batch.sequences } }
      : {}),
  };
}

/**
 * KTO: with q the log ratio of an answer by policy and reference, and z the shift of the batch, w (1 − σ(β(q − z))) for a
 * desirable answer, w (1 − σ(β(z − q))) for another.
 */
export const kto = objectiveKind({
  help: "learn from answers that are each rated good or bad",
  data: "rated",
  defaults: { beta: 0.1, desirableWeight: 1, undesirableWeight: 1 },
  learningRate: 1,
  usesDropout: false,
  create: ({ beta, desirableWeight, undesirableWeight }) => ({
    usesReference: true,
    joinsSequences: true,
    shown: ["rewards/chosen", "rewards/rejected", "kl"],
    loss(logprobs: Value): Value {
      const ratio = combined("sums", "sequences", sub(logprobs, labelColumn("reference")));
      const sign = leaf("signs", ["sequences", 1]);
      const value = sigmoid(mul(mul(sub(ratio, leaf("kl", [1, 1])), sign), scalar(beta)));
      return sum(mul(leaf("weights", ["sequences", 1]), sub(scalar(1), value)));
    },
    async feeds(batch, context) {
      const marks = desirable(batch);
      const numbers = (good: number, bad: number) =>
        column(Float32Array.from(marks, (isGood) => (isGood ? good : bad)));
      return {
        sums: labelMatrix(batch, batch.sequences, (row) => ({ row, value: 1 })),
        reference: fedColumn(batch, "reference"),
        signs: numbers(1, -1),
        weights: numbers(desirableWeight, undesirableWeight),
        kl: column(Float32Array.of(await shift(batch, context))),
      };
    },
    count: ({ sequences }) => sequences,
    metrics: (batch, logprobs, { kl }) => ({
      ...ratedMetrics(batch, logprobs, beta),
      kl: { sum: kl?.data[0] ?? 0, count: 1 },
    }),
  }),
});

// Prompts with the answers to other prompts, by which the shift is measured

type Parts = ReturnType<typeof partsOf>;

/** Tokens of a sequence up to its first target, and from there on, with their labels; `labels` are indices in the batch. */
function partsOf(batch: Batch, labels: readonly number[], rest: LabelledIds | undefined) {
  const { ids, positions, segments, labelIndices, labelIds, length } = batch;
  const last = labelIndices[labels[0] ?? 0] ?? 0; // of the prompt
  const rowEnd = (Math.floor(last / length) + 1) * length;
  let end = last + 1;
  while (end < rowEnd && segments[end] === segments[last]) end++;
  const marks = new Map(labels.map((label) => [(labelIndices[label] ?? 0) + 1, labelIds[label] ?? IGNORED]));
  const answer = Array.from(ids.subarray(last + 1, end));
  const marked = answer.map((_, i) => marks.get(last + 1 + i) ?? IGNORED);
  return {
    prompt: Array.from(ids.subarray(last - (positions[last] ?? 0), last + 1)),
    answer: [...answer, ...(rest?.ids ?? [])],
    labels: [...marked, ...(rest?.labels ?? [])],
  };
}

/** A prompt with the answer to another one, cut off at a length. */
function joined({ prompt }: Parts, { answer, labels }: Parts, length: number): EncodedExample {
  const ids = Int32Array.from([...prompt, ...answer]).subarray(0, length);
  const marked = Int32Array.from([...prompt.map(() => IGNORED), ...labels]).subarray(0, length);
  return {
    line: 0,
    ids,
    labels: marked,
    targetTokens: marked.filter((label) => label >= 0).length,
    truncated: false,
    truncatedTargets: 0,
  };
}

/** The length of a batch is a multiple of this, so that there are few programs. */
const LENGTH_MULTIPLE = 64;

/**
 * Each prompt of a batch with the answer of the sequence before it, the first prompt with the last answer. These batches
 * have as many rows as the given one, and its length where they fit; what is longer than `longest` is cut off, and what was
 * cut off behind a longer prompt is there again, as in TRL.
 */
export function mismatched(batch: Batch, longest: number): readonly Batch[] {
  const { rows, sequences, rests } = batch;
  const labels = Array.from({ length: sequences }, (): number[] => []);
  for (const [label, sequence] of batch.labelSequences.entries()) labels[sequence]?.push(label);
  const parts = labels.map((own, k) => partsOf(batch, own, rests[k]));
  const examples = parts.map((own, k) => joined(own, parts.at(k - 1) ?? own, longest));
  const most = Math.max(...examples.map(({ ids }) => ids.length));
  const length = Math.max(
    batch.length,
    Math.min(longest, Math.ceil(most / LENGTH_MULTIPLE) * LENGTH_MULTIPLE),
  );
  const packed = packExamples(
    examples.map(({ ids }) => ids.length),
    { maxLength: length },
  ).map((row) => row.flatMap((k) => examples[k] ?? []));
  return Array.from({ length: Math.ceil(packed.length / rows) }, (_, b) =>
    makeBatch(
      Array.from({ length: rows }, (_, i) => packed[b * rows + i] ?? []),
      { length, padToken: 0 },
    ),
  );
}
