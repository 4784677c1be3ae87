// Trainers that train nothing, for tests of what is around them.
import type { JobRow } from "#store";
import type { Trainer, TrainReport } from "../src/worker/trainer.ts";

const chosen: NonNullable<JobRow["chosen"]> = {
  epochs: 1,
  batchSize: 1,
  maxLength: 64,
  learningRate: 0.002,
  evaluateEvery: 0,
  earlyStoppingPatience: 0,
};

/** The report of a run that is about to begin. */
export const readyReport = (steps: number, tokens = 1): TrainReport => ({
  type: "event",
  event: { type: "ready", steps, train: { tokens }, ...chosen } as never,
});

/** A trainer with this course. */
export const fakeTrainer = (train: Trainer["train"]): Trainer => ({
  stop: () => undefined,
  kill: () => undefined,
  train,
  [Symbol.asyncDispose]: async () => undefined,
});

/** A step as the metrics of a run have it. */
export const stepLine = (step: { readonly step: number; readonly tokens: number }) => ({
  ...{ type: "step" as const, loss: 1, accuracy: 0, learningRate: 0.002, gradientNorm: 1, seconds: 0.5 },
  ...step,
});
