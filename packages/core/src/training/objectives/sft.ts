import { mul, neg, sum } from "mixture-of-shards-graph";
import type { Batch } from "#data";
import { column, labelColumn } from "./answers.ts";
import { type Objective, objectiveKind } from "./objective.ts";

const weightsOf = ({ columns, labelIds }: Batch): Float32Array =>
  columns.weight ?? new Float32Array(labelIds.length).fill(1);

/** The cross-entropy of target tokens: each counts by its weight, 1 unless its message has another. */
export const plainTraining: Objective = {
  usesReference: false,
  shown: [],
  loss: (logprobs) => neg(sum(mul(logprobs, labelColumn("weights")))),
  feeds: (batch) => ({ weights: column(weightsOf(batch)) }),
  count: (batch) => weightsOf(batch).reduce((sum, weight) => sum + weight, 0),
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
