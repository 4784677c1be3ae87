import type { Run } from "#api";
import { nowInSeconds } from "#core";

/** Seconds from its start to its end, or to now. */
export function durationOf({ status, created_at, finished_at }: Run, now = nowInSeconds()): number | null {
  if (finished_at !== null) return Math.max(0, finished_at - created_at);
  return status === "running" ? Math.max(0, now - created_at) : null;
}

/** The loss to judge it by: on validation data where it has some. */
export const judgedLoss = ({ validation_loss, loss }: Run): number | null => validation_loss ?? loss;
