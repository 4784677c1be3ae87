import { leaf, mul, scalar, sigmoid, sub, sum, type Value } from "mixture-of-shards-graph";
import type { Batch } from "#data";
import { column, combined, fedColumn, labelColumn, labelMatrix, sumBySequence } from "./answers.ts";
import { mismatched } from "./mismatched.ts";
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
