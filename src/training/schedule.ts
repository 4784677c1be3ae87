import { MosError } from "#core";

/** How the learning rate falls after its warm-up. */
export type ScheduleName = "linear" | "cosine" | "constant";
/** All schedules. */
export const SCHEDULES: readonly ScheduleName[] = ["linear", "cosine", "constant"];

/** A schedule over a run. */
export interface ScheduleOptions {
  readonly name: ScheduleName;
  /** Optimizer steps of the whole run. */
  readonly steps: number;
  /** Steps in which the rate grows linearly from 0. */
  readonly warmup: number;
}

/**
 * The factor on the learning rate at optimizer step s = 0, 1, …, as transformers' schedulers give it:
 * s / warm-up, then (steps − s) / (steps − warm-up), half a cosine to 0, or 1.
 */
export function learningRateFactor(step: number, { name, steps, warmup }: ScheduleOptions): number {
  if (warmup < 0 || warmup > steps)
    throw new MosError("bad_option", `warm-up of ${warmup} steps does not fit into ${steps} steps`);
  if (step < warmup) return step / warmup;
  const progress = (step - warmup) / Math.max(1, steps - warmup);
  switch (name) {
    case "linear":
      return Math.max(0, 1 - progress);
    case "cosine":
      return Math.max(0, 0.5 * (1 + Math.cos(Math.PI * progress)));
    case "constant":
      return 1;
  }
}
