import { expect, test } from "vitest";
import { learningRateFactor, type ScheduleName } from "./optimizer.ts";

// what transformers' get_scheduler gives at each step before it is made
const expected: readonly (readonly [ScheduleName, number, number, readonly number[]])[] = [
  [
    "linear",
    10,
    3,
    [
      0, 0.333333333333, 0.666666666667, 1, 0.857142857143, 0.714285714286, 0.571428571429, 0.428571428571,
      0.285714285714, 0.142857142857,
    ],
  ],
  [
    "cosine",
    10,
    3,
    [
      0, 0.333333333333, 0.666666666667, 1, 0.950484433951, 0.811744900929, 0.611260466978, 0.388739533022,
      0.188255099071, 0.049515566049,
    ],
  ],
  ["constant", 4, 2, [0, 0.5, 1, 1]],
  ["linear", 5, 0, [1, 0.8, 0.6, 0.4, 0.2]],
  ["linear", 4, 4, [0, 0.25, 0.5, 0.75]],
  ["cosine", 4, 4, [0, 0.25, 0.5, 0.75]],
  ["linear", 1, 0, [1]],
];

test.each(expected)(
  "%s over %i steps with a warm-up of %i is transformers' schedule",
  (name, steps, warmup, factors) => {
    factors.forEach((factor, step) => {
      expect(learningRateFactor(step, { name, steps, warmup })).toBeCloseTo(factor, 10);
    });
  },
);

test("after the last step the decaying schedules are at 0", () => {
  expect(learningRateFactor(10, { name: "linear", steps: 10, warmup: 3 })).toBe(0);
  expect(learningRateFactor(10, { name: "cosine", steps: 10, warmup: 3 })).toBeCloseTo(0, 15);
});

test.each([-1, 6])("a warm-up of %i does not fit into 5 steps", (warmup) => {
  expect(() => learningRateFactor(0, { name: "linear", steps: 5, warmup })).toThrowError(
    expect.objectContaining({
      code: "bad_option",
      message: `warm-up of ${warmup} steps does not fit into 5 steps`,
    }),
  );
});
