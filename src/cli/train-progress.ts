import type { FinetuneEvent } from "#recipes";
import { formatBytes, formatDuration, formatInteger, formatRate } from "./progress.ts";

type StepEvent = Extract<FinetuneEvent, { readonly type: "step" }>;

/** Steps that speed and remaining time are averaged over. */
const WINDOW = 20;
/** Share of the smoothed loss that one more step keeps. */
const MEMORY = 0.9;

/** What the live line of a training run knows. */
export interface TrainProgress {
  step(event: StepEvent): void;
  evaluation(loss: number): void;
  /** The line. `residentBytes` is the memory of the process now. */
  text(residentBytes: number): string;
}

/** Follows a run of so many steps. */
export function trainProgress(steps: number): TrainProgress {
  const recent: StepEvent[] = [];
  let sum = 0;
  let weight = 0;
  let heldOut: number | undefined;
  return {
    step(event) {
      recent.push(event);
      if (recent.length > WINDOW) recent.shift();
      sum = MEMORY * sum + event.loss;
      weight = MEMORY * weight + 1;
    },
    evaluation(loss) {
      heldOut = loss;
    },
    text(residentBytes) {
      const last = recent.at(-1);
      if (last === undefined) return heldOut === undefined ? "" : `held-out ${heldOut.toFixed(3)}`;
      const seconds = recent.reduce((total, event) => total + event.seconds, 0);
      const tokens = recent.reduce((total, event) => total + event.tokens, 0);
      return [
        `${formatInteger(last.step)}/${formatInteger(steps)}`,
        `loss ${(sum / weight).toFixed(3)}`,
        ...(heldOut === undefined ? [] : [`held-out ${heldOut.toFixed(3)}`]),
        `lr ${last.learningRate.toExponential(1)}`,
        `${formatDuration(((steps - last.step) * seconds) / recent.length)} left`,
        formatRate(tokens / seconds, "tok"),
        formatBytes(residentBytes),
      ].join("  ");
    },
  };
}
