// What a run measures, as OpenAI's events, checkpoints and result files show it.
import type { FinetuneEvent } from "mixture-of-shards";
import { readJsonLines } from "mixture-of-shards/storage";
import type { NewEvent } from "#jobs";

const shown = (loss: number): string => loss.toFixed(4);

/** What an event is to the job's owner; undefined for what is of no concern. */
export function noteOf(event: FinetuneEvent, steps: number | undefined): Omit<NewEvent, "job"> | undefined {
  switch (event.type) {
    case "ready":
      return { name: "started", message: "Fine-tuning job started" };
    case "step":
      return {
        name: `step-${event.step}`,
        message: `Step ${event.step}/${steps ?? "?"}: training loss=${shown(event.loss)}`,
        data: { step: event.step, total_steps: steps ?? null, train_loss: event.loss },
      };
    case "evaluation":
      return {
        name: `evaluation-${event.step}`,
        message: `Step ${event.step}/${steps ?? "?"}: validation loss=${shown(event.loss)}`,
        data: { step: event.step, total_steps: steps ?? null, full_valid_loss: event.loss },
      };
    case "warning":
      return { name: `warning-${event.reason}`, level: "warn", message: event.message };
    case "saved":
      return event.what === "checkpoint"
        ? { name: `checkpoint-${event.step}`, message: `Checkpoint created at step ${event.step}` }
        : undefined;
    default:
      return undefined;
  }
}

/** The losses at a step. */
export function metricsOf(events: readonly FinetuneEvent[], step: number): Readonly<Record<string, number>> {
  const train = events.findLast((event) => event.type === "step" && event.step <= step);
  const valid = events.findLast((event) => event.type === "evaluation" && event.step <= step);
  return {
    step,
    ...(train?.type === "step" ? { train_loss: train.loss } : {}),
    ...(valid?.type === "evaluation" ? { full_valid_loss: valid.loss } : {}),
  };
}

const COLUMNS = "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n";

interface MetricsLine {
  readonly type?: string;
  readonly step?: number;
  readonly loss?: number;
}

/** The result file of a job, from the metrics of its run. */
export async function* resultsOf(metrics: string): AsyncGenerator<Uint8Array, void> {
  const encoder = new TextEncoder();
  yield encoder.encode(COLUMNS);
  const valid = new Map<number, number>();
  const train: (readonly [number, number])[] = [];
  for await (const { value } of readJsonLines(metrics)) {
    const { type, step = 0, loss = Number.NaN } = value as MetricsLine;
    if (type === "evaluation") valid.set(step, loss);
    if (type === "step") train.push([step, loss]);
  }
  for (const [step, loss] of train) yield encoder.encode(`${step},${loss},,${valid.get(step) ?? ""},\n`);
}
