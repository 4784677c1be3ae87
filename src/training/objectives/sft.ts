import type { Batch } from "#data";
import { leaf, mul, neg, sum, type Value } from "#graph";
import { objectiveKind } from "./objective.ts";

const weightsOf = ({ columns, labelIds }: Batch): Float32Array =>
  columns.weight ?? new Float32Array(labelIds.length).fill(1);

/** The cross-entropy of target tokens: each counts by its weight, 1 unless its message has another. */
export const sft = objectiveKind({
  help: "learn to give the answers of the examples",
  data: "examples",
  defaults: {},
  learningRate: 1,
  create: () => ({
    usesReference: false,
    shown: [],
    loss: (logprobs: Value): Value => neg(sum(mul(logprobs, leaf("weights", ["labels", 1])))),
    feeds: (batch) => {
      const data = weightsOf(batch);
      return { weights: { shape: [data.length, 1], data } };
    },
    count: ({ columns, labelIds }) =>
      columns.weight === undefined ? labelIds.length : columns.weight.reduce((a, b) => a + b, 0),
    metrics: () => ({}),
  }),
});
