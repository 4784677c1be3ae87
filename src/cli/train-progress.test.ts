import { expect, test } from "vitest";
import { trainProgress } from "./train-progress.ts";

const step = (number: number, loss: number) => ({
  type: "step" as const,
  step: number,
  epoch: 0,
  loss,
  learningRate: 5e-4,
  gradientNorm: 1,
  tokens: 100,
  targetTokens: 50,
  examples: 4,
  seconds: 0.5,
});

test("shows what is known so far", () => {
  const progress = trainProgress(1000);
  expect(progress.text(1e9)).toBe("");
  progress.evaluation(2.5);
  expect(progress.text(1e9)).toBe("held-out 2.500");
  progress.step(step(1, 3));
  expect(progress.text(1e9)).toBe(
    "1/1,000  loss 3.000  held-out 2.500  lr 5.0e-4  8 min 20 s left  200 tok/s  1.00 GB",
  );
});

test("the shown loss follows slowly and without bias to the start", () => {
  const progress = trainProgress(100);
  for (let i = 1; i <= 50; i++) progress.step(step(i, 2));
  expect(progress.text(0)).toContain("loss 2.000");
  progress.step(step(51, 12));
  expect(Number(/loss ([\d.]+)/.exec(progress.text(0))?.[1])).toBeCloseTo(3, 1);
});
