// What the hyperparameters of a job mean.
import { expect, test } from "vitest";
import { jobRequestSchema, planOf } from "#jobs";

const rateOf = (asked: object): number | undefined => {
  const request = jobRequestSchema.parse({ model: "base", training_file: "file-1", ...asked });
  return planOf(request, { seed: 1, layers: 30, learningRate: 0.002 }).settings.learningRate;
};

test("a multiplier is of the learning rate that is usual for the base", () => {
  expect(rateOf({})).toBe(0.002);
  expect(rateOf({ hyperparameters: { learning_rate_multiplier: "auto" } })).toBe(0.002);
  expect(rateOf({ hyperparameters: { learning_rate_multiplier: 0.5 } })).toBe(0.001);
  const supervised = { hyperparameters: { learning_rate_multiplier: 2 } };
  expect(rateOf({ method: { type: "supervised", supervised } })).toBe(0.004);
});

test("our own field has the last word", () => {
  const hyperparameters = { learning_rate_multiplier: 2 };
  expect(rateOf({ hyperparameters, mos: { learning_rate: 0.01 } })).toBe(0.01);
});
