// Rows as the objects of OpenAI's API.
import { z } from "@hono/zod-openapi";
import {
  type AliasRow,
  type CheckpointRow,
  type DeliveryRow,
  type EventRow,
  type FileRow,
  type JobRequest,
  type JobRow,
  toHyperparameters,
  type WebhookRow,
} from "#store";
import { wholeNumber } from "./service-env.ts";

/** Time in OpenAI's objects: seconds since 1970. */
export const seconds = (at: Date): number => Math.floor(at.getTime() / 1000);

/** A file. */
export const fileSchema = z
  .object({
    id: z.string(),
    object: z.literal("file"),
    bytes: z.number(),
    created_at: z.int(),
    expires_at: z.int().optional(),
    filename: z.string(),
    purpose: z.string(),
    status: z.enum(["processed", "error"]),
    status_details: z.string().optional(),
  })
  .openapi("OpenAIFile");

export const toFileObject = (file: FileRow): z.output<typeof fileSchema> => ({
  id: file.id,
  object: "file",
  bytes: file.bytes,
  created_at: seconds(file.created_at),
  ...(file.expires_at === null ? {} : { expires_at: seconds(file.expires_at) }),
  filename: file.filename,
  purpose: file.purpose,
  status: file.status,
  ...(file.status_details === null ? {} : { status_details: file.status_details }),
});

const auto = z.union([z.literal("auto"), z.number()]);
const hyperparameters = z.object({ batch_size: auto, n_epochs: auto, learning_rate_multiplier: auto });

/** A job. */
export const jobSchema = z
  .object({
    id: z.string(),
    object: z.literal("fine_tuning.job"),
    created_at: z.int(),
    finished_at: z.int().nullable(),
    estimated_finish: z.int().nullable(),
    model: z.string(),
    fine_tuned_model: z.string().nullable(),
    organization_id: z.string(),
    status: z.enum(["queued", "running", "paused", "succeeded", "failed", "cancelled"]),
    hyperparameters,
    method: z.object({ type: z.literal("supervised"), supervised: z.object({ hyperparameters }) }),
    training_file: z.string(),
    validation_file: z.string().nullable(),
    result_files: z.array(z.string()),
    trained_tokens: z.int().nullable(),
    seed: z.int(),
    error: z.object({ code: z.string(), message: z.string(), param: z.string().nullable() }).nullable(),
    integrations: z.array(z.unknown()),
    metadata: z.record(z.string(), z.string()).nullable(),
    user_provided_suffix: z.string().nullable(),
    mos: z
      .record(z.string(), z.unknown())
      .describe("Extensions to OpenAI's API: the job's settings and progress."),
  })
  .openapi("FineTuningJob");

/** Ends when the rest takes as long as what was done. */
function estimatedFinish(
  { status, step, steps, seconds: spent, created_at }: JobRow,
  now: number,
): number | null {
  if (status !== "running" || step === 0 || steps === null) return null;
  return Math.max(seconds(created_at), Math.floor(now / 1000 + (spent / step) * (steps - step)));
}

export function toJobObject(job: JobRow, now: number): z.output<typeof jobSchema> {
  const request = job.request as unknown as JobRequest;
  const given = toHyperparameters(request);
  return {
    id: job.id,
    object: "fine_tuning.job",
    created_at: seconds(job.created_at),
    finished_at: job.finished_at === null ? null : seconds(job.finished_at),
    estimated_finish: estimatedFinish(job, now),
    model: request.model,
    fine_tuned_model: job.fine_tuned_model,
    organization_id: job.tenant,
    status: job.status,
    hyperparameters: given,
    method: { type: "supervised", supervised: { hyperparameters: given } },
    training_file: job.training_file,
    validation_file: job.validation_file,
    result_files: job.result_file === null ? [] : [job.result_file],
    trained_tokens: job.status === "succeeded" ? job.trained_tokens : null,
    seed: Number(job.plan.settings["seed"]),
    error: job.error,
    integrations: [],
    metadata: job.metadata,
    user_provided_suffix: request.suffix ?? null,
    mos: { ...request.mos, priority: job.priority, step: job.step, total_steps: job.steps },
  };
}

/** An event. */
export const eventSchema = z
  .object({
    id: z.string(),
    object: z.literal("fine_tuning.job.event"),
    created_at: z.int(),
    level: z.enum(["info", "warn", "error"]),
    message: z.string(),
    type: z.enum(["message", "metrics"]),
    data: z.record(z.string(), z.unknown()).optional(),
  })
  .openapi("FineTuningJobEvent");

export const toEventObject = (event: EventRow): z.output<typeof eventSchema> => ({
  id: event.id,
  object: "fine_tuning.job.event",
  created_at: seconds(event.created_at),
  level: event.level,
  message: event.message,
  type: event.type,
  ...(event.data === null ? {} : { data: event.data }),
});

/** A checkpoint. */
export const checkpointSchema = z
  .object({
    id: z.string(),
    object: z.literal("fine_tuning.job.checkpoint"),
    created_at: z.int(),
    fine_tuned_model_checkpoint: z.string(),
    fine_tuning_job_id: z.string(),
    step_number: z.int(),
    metrics: z.record(z.string(), z.number()),
  })
  .openapi("FineTuningJobCheckpoint");

export const toCheckpointObject = (checkpoint: CheckpointRow): z.output<typeof checkpointSchema> => ({
  id: checkpoint.id,
  object: "fine_tuning.job.checkpoint",
  created_at: seconds(checkpoint.created_at),
  fine_tuned_model_checkpoint: checkpoint.model,
  fine_tuning_job_id: checkpoint.job,
  step_number: checkpoint.step,
  metrics: checkpoint.metrics,
});

/** An alias. */
export const aliasSchema = z
  .object({
    id: z.string(),
    object: z.literal("alias"),
    organization_id: z.string(),
    model: z.string(),
    version: z.int(),
    created_at: z.int(),
    changed_at: z.int(),
  })
  .openapi("Alias");

export const toAliasObject = (alias: AliasRow): z.output<typeof aliasSchema> => ({
  id: alias.id,
  object: "alias",
  organization_id: alias.tenant,
  model: alias.model,
  version: alias.version,
  created_at: seconds(alias.created_at),
  changed_at: seconds(alias.changed_at),
});

/** A webhook, without its secret. */
export const webhookSchema = z
  .object({
    id: z.string(),
    object: z.literal("webhook"),
    created_at: z.int(),
    url: z.string(),
    description: z.string().nullable(),
    events: z.array(z.string()),
    status: z.enum(["enabled", "disabled"]),
  })
  .openapi("Webhook");

export const toWebhookObject = (webhook: WebhookRow): z.output<typeof webhookSchema> => ({
  id: webhook.id,
  object: "webhook",
  created_at: seconds(webhook.created_at),
  url: webhook.url,
  description: webhook.description,
  events: webhook.events,
  status: webhook.disabled_at === null ? "enabled" : "disabled",
});

/** A delivery of a webhook. */
export const deliverySchema = z
  .object({
    id: z.string(),
    object: z.literal("webhook.delivery"),
    created_at: z.int(),
    event: z.string().describe("The webhook-id header, the same for all attempts."),
    type: z.string(),
    data: z.object({ id: z.string() }),
    status: z.enum(["waiting", "delivered", "failed"]),
    attempts: z.int(),
    next_attempt_at: z.int().nullable(),
    response_status: z.int().nullable().describe("HTTP status of the last attempt."),
    error: z.string().nullable(),
    finished_at: z.int().nullable(),
  })
  .openapi("WebhookDelivery");

export const toDeliveryObject = (delivery: DeliveryRow): z.output<typeof deliverySchema> => ({
  id: delivery.id,
  object: "webhook.delivery",
  created_at: seconds(delivery.created_at),
  event: delivery.event,
  type: delivery.type,
  data: { id: delivery.job },
  status: delivery.status,
  attempts: delivery.attempts,
  next_attempt_at: delivery.due_at === null ? null : seconds(delivery.due_at),
  response_status: delivery.response_status,
  error: delivery.error,
  finished_at: delivery.finished_at === null ? null : seconds(delivery.finished_at),
});

/** A part of a list, as all lists of the API are. */
export const pageSchema = <T extends z.ZodType>(item: T) =>
  z.object({
    object: z.literal("list"),
    data: z.array(item),
    first_id: z.string().nullable(),
    last_id: z.string().nullable(),
    has_more: z.boolean(),
  });

export const toListObject = <T extends { readonly id: string }>(data: readonly T[], hasMore: boolean) => ({
  object: "list" as const,
  data: [...data],
  first_id: data[0]?.id ?? null,
  last_id: data.at(-1)?.id ?? null,
  has_more: hasMore,
});

/** `after` and `limit` of a list. */
export const pageQuery = (limits: { readonly standard: number; readonly most: number }) => ({
  after: z.string().max(200).optional().describe("Last id of the previous page."),
  limit: wholeNumber(1, limits.most).default(limits.standard),
});
