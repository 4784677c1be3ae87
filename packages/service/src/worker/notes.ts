// What a run reports as notes for the owner of its job, as metrics of its checkpoints and as its result file: under OpenAI's names
// where it has some, and under TRL's otherwise.
import type { FinetuneEvent } from "mixture-of-shards";
import { readJsonLines } from "mixture-of-shards/cli";
import type { NewEvent } from "#store";
import { type RunSoFar, rewardNote, rewardNumbers } from "./reward-notes.ts";

const formatLoss = (loss: number): string => loss.toFixed(4);

/** Event for the job's owner; undefined for events that do not concern the owner. */
export function toJobEvent(event: FinetuneEvent, run: RunSoFar): NewEvent | undefined {
  const { steps } = run;
  switch (event.type) {
    case "ready":
      return { name: "started", message: "Fine-tuning job started" };
    case "step":
      return {
        name: `step-${event.step}`,
        message: `Step ${event.step}/${steps ?? "?"}: training loss=${formatLoss(event.loss)}`,
        ...withRewards(event, run, { total_steps: steps ?? null, ...measured(event), ...pace(event) }),
      };
    case "stopped":
      return stoppedWithin(event, steps);
    case "evaluation":
      return {
        name: `evaluation-${event.step}`,
        message: `Step ${event.step}/${steps ?? "?"}: validation loss=${formatLoss(event.loss)}`,
        ...withRewards(event, run, { total_steps: steps ?? null, ...measured(event) }),
      };
    case "earlyStop":
      return {
        name: "early-stop",
        message:
          event.best === undefined
            ? `Stopped early at step ${event.step}: no evaluation was better than the one before training`
            : `Stopped early at step ${event.step}: the best evaluation was at step ${event.best.step}`,
      };
    case "warning":
      return { name: `warning-${event.reason}`, level: "warn", message: event.message };
    default:
      return undefined;
  }
}

/** The data of a measurement, and what a run by rewards says besides and instead. */
function withRewards(event: Measurement, run: RunSoFar, data: Readonly<Record<string, unknown>>) {
  const rewards = rewardNote(event, run);
  return { ...rewards, data: { ...data, ...rewards?.data } };
}

/** Progress of an unfinished step or evaluation. */
function stoppedWithin(
  { step, microBatches, tokens, evaluationBatches = 0 }: FinetuneEvent & { readonly type: "stopped" },
  steps: number | undefined,
): NewEvent | undefined {
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

/** Tests for a checkpoint between two steps, after the evaluation that is due there. */
export const isAfterStep = ({
  what,
  microBatches,
  evaluationBatches,
}: FinetuneEvent & { readonly type: "saved" }): boolean =>
  what === "checkpoint" && microBatches === undefined && evaluationBatches === undefined;

type Measurement = Extract<FinetuneEvent, { readonly type: "step" | "evaluation" }>;

/** A measurement under OpenAI's names. */
function measured(event: Measurement): Readonly<Record<string, number>> {
  const { type, step, loss, accuracy, metrics } = event;
  return {
    step,
    ...(type === "step"
      ? { train_loss: loss, train_mean_token_accuracy: accuracy }
      : { full_valid_loss: loss, full_valid_mean_token_accuracy: accuracy }),
    ...rewardNumbers(event),
    ...metrics,
  };
}

/** The rest of a step's measurements, which OpenAI has no names for. */
const pace = ({ learningRate, gradientNorm, tokens, seconds }: Extract<FinetuneEvent, { type: "step" }>) => ({
  learning_rate: learningRate,
  gradient_norm: gradientNorm,
  ...(seconds > 0 ? { tokens_per_second: tokens / seconds } : {}),
});

/** The last measurements up to a step, from the metrics of its run. */
export async function metricsAt(metrics: string, step: number): Promise<Readonly<Record<string, number>>> {
  let last: Readonly<Record<string, number>> = {};
  for await (const { value } of readJsonLines(metrics)) {
    const measurement = value as Measurement;
    if (measurement.step <= step) last = { ...last, ...measured(measurement) };
  }
  return { ...last, step };
}

/** Columns of OpenAI's result files. */
const COLUMNS = ["step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy"];

/** The result file of a job, from the metrics of its run; those that OpenAI does not have are columns behind its own. */
export async function* formatResults(metrics: string): AsyncGenerator<Uint8Array, void> {
  const rows = new Map<number, Record<string, number>>();
  const names = new Set(COLUMNS);
  for await (const { value } of readJsonLines(metrics)) {
    const { type, step, loss, accuracy, metrics: more } = value as Measurement;
    const row = rows.get(step) ?? {};
    const own =
      type === "step"
        ? { step, train_loss: loss, train_accuracy: accuracy }
        : { valid_loss: loss, valid_mean_token_accuracy: accuracy };
    rows.set(step, { ...row, ...own, ...more });
    for (const name of Object.keys(more ?? {})) names.add(name);
  }
  const columns = [...names];
  const encoder = new TextEncoder();
  const line = (cells: readonly (string | number)[]): Uint8Array => encoder.encode(`${cells.join(",")}\n`);
  yield line(columns);
  for (const row of rows.values())
    if (row["step"] !== undefined) yield line(columns.map((name) => row[name] ?? ""));
}
