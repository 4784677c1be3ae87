// A training run as the API shows it, whoever ran it: a run folder of `mos train`, or a job of the service.
import { z } from "@hono/zod-openapi";
import { snakeCase } from "mixture-of-shards-core/common";
import type { ApiKey } from "../auth.ts";

const scalar = z.union([z.string(), z.number(), z.boolean(), z.null()]);
const values = z.array(z.number().nullable());

export const runSchema = z
  .object({
    id: z.string(),
    object: z.literal("run"),
    kind: z.enum(["folder", "job"]).describe("A run folder of the server's --runs, or a fine-tuning job."),
    name: z.string(),
    status: z
      .enum(["queued", "running", "paused", "succeeded", "failed", "cancelled", "interrupted"])
      .describe("interrupted: a folder's run is not complete, and nothing trains it now."),
    created_at: z.int(),
    finished_at: z.int().nullable(),
    model: z.string().nullable().describe("The base; null until the first adapter of a folder names it."),
    method: z.string().nullable(),
    tenant: z.string().nullable(),
    step: z.int(),
    total_steps: z.int().nullable(),
    loss: z.number().nullable().describe("Of the last step."),
    validation_loss: z.number().nullable().describe("Of the last evaluation."),
    best_validation_loss: z.number().nullable(),
    best_step: z.int().nullable().describe("The step with the lowest validation loss."),
    sparkline: z.array(z.number()).describe("The training loss in at most 48 means."),
    settings: z.record(z.string(), z.union([scalar, z.array(scalar)])),
    trainable_parameters: z.int().nullable(),
    fine_tuned_model: z.string().nullable().describe("The name under which this server serves its adapter."),
    error: z.string().nullable(),
    outcome: z
      .object({ text: z.string(), warning: z.string().nullable() })
      .nullable()
      .describe(
        "What a complete run that teaches a chat model has taught, and what of its base is kept; null in lists of jobs.",
      ),
  })
  .openapi("Run");
export type Run = z.output<typeof runSchema>;

export const metricsSchema = z
  .object({
    object: z.literal("run.metrics"),
    training: z
      .object({
        step: z.array(z.int()),
        loss: values,
        learning_rate: values,
        gradient_norm: values,
        tokens_per_second: values,
      })
      .catchall(values)
      .describe("With columns of an objective's own metrics."),
    validation: z.object({ step: z.array(z.int()), loss: values }).catchall(values),
    last_step: z.int().describe("The last step that was measured, 0 without one."),
  })
  .openapi("RunMetrics");

/** A run without its settings and what its measurements say. `step` is the least that it has made. */
export type RunFacts = Omit<
  Run,
  "settings" | "loss" | "validation_loss" | "best_validation_loss" | "best_step" | "sparkline"
>;

/** Measurements as they are stored, and the position behind them; values that are none are passed over. */
export interface MeasurementBatch {
  readonly measurements: readonly unknown[];
  readonly position: number;
}

/** A run with the place of its measurements, which are read from a position on as they are added. */
export interface RunEntry {
  readonly facts: RunFacts;
  /** By names of the package's own, as anybody may have written them; what comes later replaces what has its name. */
  readonly settings: readonly Readonly<Record<string, unknown>>[];
  /** Milliseconds since 1970, by which runs are ordered. */
  readonly createdAt: number;
  /** Another one means that all measurements are other ones. */
  readonly series: string;
  /** The same one means that there are no new measurements; undefined where only reading tells. */
  readonly version: string | undefined;
  /** The measurements behind a position, which is 0 at first. */
  read(position: number): AsyncIterable<MeasurementBatch>;
}

/** The place of a run in the order of runs, which is by time and then by id, the newest first. */
export type RunPlace = Pick<RunEntry, "createdAt"> & { readonly id: string };

export interface RunSource {
  /** The newest runs that the key may see, behind a place if one is given. */
  list(
    key: ApiKey,
    page: { readonly after: RunPlace | undefined; readonly limit: number },
  ): Promise<readonly RunEntry[]>;
  /** A run that the key may see. */
  find(key: ApiKey, id: string): Promise<RunEntry | undefined>;
}

export const placeOf = ({ facts: { id }, createdAt }: RunEntry): RunPlace => ({ id, createdAt });

/** Orders runs: the newest first. */
export const comparePlaces = (a: RunPlace, b: RunPlace): number =>
  b.createdAt - a.createdAt || (a.id < b.id ? 1 : a.id > b.id ? -1 : 0);

/** Members of the settings, characters of a text, and items of a list, which may come from anybody's file. */
const [MAX_SETTINGS, MAX_TEXT, MAX_ITEMS] = [200, 1000, 100];

const clip = (text: string): string => (text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text);

function toScalar(value: unknown): z.output<typeof scalar> | undefined {
  if (typeof value === "string") return clip(value);
  if (typeof value === "number") return Number.isFinite(value) ? value : undefined;
  return typeof value === "boolean" || value === null ? value : undefined;
}

/** Settings as the API shows them, by names in snake case: numbers, texts and lists of them. Others are left out. */
export function toSettings(groups: RunEntry["settings"]): Run["settings"] {
  const shown = groups.flatMap((group) =>
    Object.entries(group).flatMap(([name, value]) => {
      const found = Array.isArray(value)
        ? value.slice(0, MAX_ITEMS).flatMap((item) => toScalar(item) ?? [])
        : toScalar(value);
      return found === undefined ? [] : [[snakeCase(clip(name)), found] as const];
    }),
  );
  return Object.fromEntries(shown.slice(0, MAX_SETTINGS));
}
