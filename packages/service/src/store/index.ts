// Jobs, their files and models as rows, and the queue of slices that workers take.
export { type AliasId, isAliasName, MAX_ALIASES } from "./aliases.ts";
export type { Arrival } from "./contents.ts";
export { isFinalModel, isFineTuned, modelTenant } from "./ids.ts";
export { type Jobs, type NewEvent, type NewJob, openJobs } from "./jobs.ts";
export { type FineTuningLimits, toLimits } from "./key-limits.ts";
export { assertAllowed } from "./limits.ts";
export { openQueue, type Queue, type SliceMessage } from "./queue.ts";
export {
  type JobRequest,
  jobRequestSchema,
  lifetimeSchema,
  type TrainingPlan,
  toHyperparameters,
  toTrainingPlan,
} from "./request.ts";
export {
  type AliasRow,
  type CheckpointRow,
  type DeliveryRow,
  type EventRow,
  type FileRow,
  hasEnded,
  type JobRow,
  type ModelRow,
  type Owner,
  type WebhookRow,
} from "./rows.ts";
export {
  defaultSliceOptions,
  openSlices,
  type Progress,
  type SliceEnd,
  type Slices,
  toFailedEnd,
} from "./slices.ts";
export { openWatch, type ServiceState, type ServiceWatch, type WorkerSign } from "./state.ts";
export type { UsageRow } from "./usage.ts";
export { type AttemptEnd, type ClaimedDelivery, type Outbox, openOutbox, webhookEvents } from "./webhooks.ts";
