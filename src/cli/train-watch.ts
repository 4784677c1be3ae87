import type { FinetuneEvent } from "#recipes";
import { formatInteger, type LiveLine } from "./progress.ts";
import { sayJson } from "./terminal.ts";
import { trainProgress } from "./train-progress.ts";

export type ReadyEvent = Extract<FinetuneEvent, { readonly type: "ready" }>;

export interface TrainOutcome {
  readonly steps: number;
  /** The last step of a run that was stopped. */
  readonly stoppedAt: number | undefined;
  /** Tokens and seconds of the training steps of this run, without those before a break. */
  readonly tokens: number;
  readonly seconds: number;
}

export interface WatchOptions {
  readonly line: LiveLine;
  /** Write each event to stdout as a line of JSON. */
  readonly json: boolean;
  readonly onReady: (event: ReadyEvent) => void;
}

/** Runs a training to its end and shows on the live line how it goes. */
export async function watchTraining(
  events: AsyncIterable<FinetuneEvent>,
  { line, json, onReady }: WatchOptions,
): Promise<TrainOutcome> {
  let progress = trainProgress(0);
  let outcome: TrainOutcome = { steps: 0, stoppedAt: undefined, tokens: 0, seconds: 0 };
  for await (const event of events) {
    if (json) sayJson(event);
    switch (event.type) {
      case "ready":
        onReady(event);
        progress = trainProgress(event.steps);
        outcome = { ...outcome, steps: event.steps };
        break;
      case "step":
        progress.step(event);
        outcome = {
          ...outcome,
          tokens: outcome.tokens + event.tokens,
          seconds: outcome.seconds + event.seconds,
        };
        break;
      case "evaluation":
        progress.evaluation(event.loss);
        line.print(evaluationText(event));
        break;
      case "stopped":
        outcome = { ...outcome, stoppedAt: event.step };
        break;
      case "saved":
    }
    const state = progress.text(process.memoryUsage.rss());
    if (state !== "") line.update(state);
  }
  return outcome;
}

function evaluationText({
  step,
  loss,
  best,
}: Extract<FinetuneEvent, { readonly type: "evaluation" }>): string {
  if (step === 0) return `held-out loss before training ${loss.toFixed(3)}`;
  return `step ${formatInteger(step)}  held-out loss ${loss.toFixed(3)}${best ? ", the best so far" : ""}`;
}
