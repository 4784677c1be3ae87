// Metrics of a run, as OpenAI's events, checkpoints and result files.
import type { FinetuneEvent } from "mixture-of-shards";
import { readJsonLines } from "mixture-of-shards/cli";
import type { NewEvent } from "#store";

const formatLoss = (loss: number): string => loss.toFixed(4);

/** Event for the job's owner; undefined for events that do not concern the owner. */
export function toJobEvent(
  event: FinetuneEvent,
  steps: number | undefined,
): Omit<NewEvent, "job"> | undefined {
  switch (event.type) {
    case "ready":
      return { name: "started", message: "Fine-tuning job started" };
    case "step":
      return {
        name: `step-${event.step}`,
        message: `Step ${event.step}/${steps ?? "?"}: training loss=${formatLoss(event.loss)}`,
        data: { total_steps: steps ?? null, ...measured(event) },
      };
    case "stopped":
      return stoppedWithin(event, steps);
    case "evaluation":
      return {
        name: `evaluation-${event.step}`,
        message: `Step ${event.step}/${steps ?? "?"}: validation loss=${formatLoss(event.loss)}`,
        data: { total_steps: steps ?? null, ...measured(event) },
      };
    case "earlyStop":
      return {
        name: "early-stop",
        message:
          event.best === undefined
            ? `Stopped early at step ${event.step}: the validation loss never fell below its value before training`
            : `Stopped early at step ${event.step}: the lowest validation loss was at step ${event.best.step}`,
      };
    case "warning":
      return { name: `warning-${event.reason}`, level: "warn", message: event.message };
    case "saved":
      return isAfterStep(event)
        ? { name: `checkpoint-${event.step}`, message: `Checkpoint created at step ${event.step}` }
        : undefined;
    default:
      return undefined;
  }
}

/** How far an unfinished step or evaluation is. */
function stoppedWithin(
  { step, microBatches, tokens, evaluationBatches = 0 }: FinetuneEvent & { readonly type: "stopped" },
  steps: number | undefined,
): Omit<NewEvent, "job"> | undefined {
  const of = steps ?? "?";
  if (microBatches !== undefined)
    return {
      name: `step-${step + 1}-${microBatches}`,
      message: `Step ${step + 1}/${of}: ${tokens} tokens so far`,
    };
  if (evaluationBatches === 0) return undefined;
  return {
    name: `evaluation-${step}-${evaluationBatches}`,
    message: `Step ${step}/${of}: ${evaluationBatches} validation batches so far`,
  };
}

/** Whether a checkpoint was saved between two steps, with the evaluation that is due there. */
export const isAfterStep = ({
  what,
  microBatches,
  evaluationBatches,
}: FinetuneEvent & { readonly type: "saved" }): boolean =>
  what === "checkpoint" && microBatches === undefined && evaluationBatches === undefined;

type Measurement = Extract<FinetuneEvent, { readonly type: "step" | "evaluation" }>;

/** A measurement under OpenAI's names. */
const measured = ({ type, step, loss, accuracy }: Measurement): Readonly<Record<string, number>> =>
  type === "step"
    ? { step, train_loss: loss, train_mean_token_accuracy: accuracy }
    : { step, full_valid_loss: loss, full_valid_mean_token_accuracy: accuracy };

/** What was measured last, up to a step, from the metrics of its run. */
export async function metricsAt(metrics: string, step: number): Promise<Readonly<Record<string, number>>> {
  let last: Readonly<Record<string, number>> = {};
  for await (const { value } of readJsonLines(metrics)) {
    const measurement = value as Measurement;
    if (measurement.step <= step) last = { ...last, ...measured(measurement) };
  }
  return { ...last, step };
}

const COLUMNS = "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n";

/** The result file of a job, from the metrics of its run. */
export async function* formatResults(metrics: string): AsyncGenerator<Uint8Array, void> {
  const encoder = new TextEncoder();
  yield encoder.encode(COLUMNS);
  const valid = new Map<number, string>();
  const train: (readonly [number, string])[] = [];
  for await (const { value } of readJsonLines(metrics)) {
    const { type, step, loss, accuracy } = value as Measurement;
    const columns = `${loss},${accuracy}`;
    if (type === "evaluation") valid.set(step, columns);
    if (type === "step") train.push([step, columns]);
  }
  for (const [step, columns] of train) yield encoder.encode(`${step},${columns},${valid.get(step) ?? ","}\n`);
}
