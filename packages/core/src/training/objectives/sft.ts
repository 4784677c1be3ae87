import { add, mul, neg, scalar, sub, sum } from "mixture-of-shards-graph";
import type { Batch } from "#data";
import { column, fedColumn, labelColumn } from "./answers.ts";
import { type Objective, objectiveKind } from "./objective.ts";

const weightsOf = ({ columns, labelIds }: Batch): Float32Array =>
  columns.weight ?? new Float32Array(labelIds.length).fill(1);

/**
 * The cross-entropy of target tokens: each counts by its weight, 1 unless its message has another. A token that is anchored
 * counts by ½ (log p − log p_ref)² instead: it is to be as likely as by the reference, whatever token it is. Of tokens that the
 * reference has written, that is its KL divergence to second order.
 */
export const plainTraining: Objective = {
  usesReference: false,
  shown: [],
  loss: (logprobs) => {
    const moved = sub(logprobs, labelColumn("reference"));
    const anchored = sum(mul(mul(moved, moved), labelColumn("anchors")));
    return add(neg(sum(mul(logprobs, labelColumn("weights")))), mul(anchored, scalar(0.5)));
  },
  feeds: (batch) => ({
    weights: column(weightsOf(batch)),
    anchors: fedColumn(batch, "anchor"),
    reference: fedColumn(batch, "reference"),
  }),
  count: (batch) => [...weightsOf(batch), ...(batch.columns.anchor ?? [])].reduce((sum, one) => sum + one, 0),
  metrics: () => ({}),
  guessingLoss: Math.log,
};

export const sft = objectiveKind({
  help: "learn to give the answers of the examples",
  data: "examples",
  defaults: {},
  learningRate: 1,
  usesDropout: true,
  create: () => plainTraining,
});
