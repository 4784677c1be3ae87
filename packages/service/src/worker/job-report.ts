// What a run reports as notes for the owner of its job, as metrics of its checkpoints and as its result file.
import type { FinetuneEvent } from "mixture-of-shards";
import { describeOutcome, readMeasurements } from "mixture-of-shards-core/training";
import type { NewCheckpoint, NewEvent } from "#store";

/** Event for the job's owner; undefined for events that do not concern the owner. `trained` is the last step that this process has made. */
export function toJobEvent(
  event: FinetuneEvent,
  { steps, trained }: { steps: number | undefined; trained?: (FinetuneEvent & { type: "step" }) | undefined },
): NewEvent | undefined {
  switch (event.type) {
    case "ready":
      return { name: "started", message: "Fine-tuning job started" };
    case "step":
      return { name: `step-${event.step}`, data: event };
    case "stopped":
      return stoppedWithin(event, steps);
    case "evaluation": {
      const before = trained?.step === event.step ? { trained } : {};
      return { name: `evaluation-${event.step}`, data: { ...event, ...before } };
    }
    case "earlyStop":
      return { name: "early-stop", message: `Stopped early at step ${event.step}: ${whyStopped(event)}` };
    case "outcome":
      return { name: "outcome", message: describeOutcome(event).text };
    case "warning":
      return { name: `warning-${event.reason}`, level: "warn", message: event.message };
    default:
      return undefined;
  }
}

function whyStopped({ reason, best }: FinetuneEvent & { readonly type: "earlyStop" }): string {
  if (reason === "learnt") return "nothing was left to learn";
  return best === undefined
    ? "no evaluation was better than the one before training"
    : `the best evaluation was at step ${best.step}`;
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

/** The last measurements of a run up to a step. */
export async function metricsAt(run: string, step: number): Promise<NewCheckpoint["metrics"]> {
  let last: NewCheckpoint["metrics"] = {};
  for await (const { measurement } of readMeasurements(run))
    if (measurement.step <= step) last = { ...last, [measurement.type]: measurement };
  return last;
}

/** Columns of OpenAI's result files. */
const COLUMNS = ["step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy"];

/** The result file of a job, from the metrics of its run; those that OpenAI does not have are columns behind its own. */
export async function* formatResults(run: string): AsyncGenerator<Uint8Array, void> {
  const rows = new Map<number, Record<string, number>>();
  const names = new Set(COLUMNS);
  for await (const { measurement } of readMeasurements(run)) {
    const { type, step, loss, accuracy, metrics } = measurement;
    const row = rows.get(step) ?? {};
    const own =
      type === "step"
        ? { step, train_loss: loss, train_accuracy: accuracy }
        : { valid_loss: loss, valid_mean_token_accuracy: accuracy };
    rows.set(step, { ...row, ...own, ...metrics });
    for (const name of Object.keys(metrics ?? {})) names.add(name);
  }
  const columns = [...names];
  const encoder = new TextEncoder();
  const line = (cells: readonly (string | number)[]): Uint8Array => encoder.encode(`${cells.join(",")}\n`);
  yield line(columns);
  for (const row of rows.values())
    if (row["step"] !== undefined) yield line(columns.map((name) => row[name] ?? ""));
}
