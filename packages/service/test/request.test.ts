// What the hyperparameters of a job mean.
import { expect, test } from "vitest";
import { jobRequestSchema, planOf } from "#jobs";

test("a step has at most 1,048,576 tokens, however it is made of them", () => {
  const asked = (mos: object) => () => rateOf({ mos });
  const refused = (message: RegExp) =>
    expect.objectContaining({ code: "bad_option", message: expect.stringMatching(message) });
  expect(asked({ gradient_accumulation_steps: 65_536 })).toThrowError(
    refused(/^a step of 65536 batches of 4 rows of 512 tokens has 134217728 tokens, and at most 1048576 are/),
  );
  expect(asked({ batch_size: 4096 })).toThrowError(refused(/of 4096 rows .* use a smaller batch_size/));
  expect(asked({ batch_size: 256, max_length: 4097 })).toThrowError(refused(/at most 1048576/));
  expect(asked({ batch_size: 256, max_length: 4096 })()).toBe(0.002);
  expect(asked({ gradient_accumulation_steps: 65_536, batch_size: 1, max_length: 16 })()).toBe(0.002);
});

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
