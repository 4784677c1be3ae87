// Jobs, their files and models as rows, and the queue of slices that workers take.
export { type AliasId, isAliasName, MAX_ALIASES } from "./aliases.ts";
export type { Arrival } from "./contents.ts";
export { isMadeOf, isModelOf, tenantOfModel } from "./ids.ts";
export { type Jobs, type NewEvent, type NewJob, openJobs } from "./jobs.ts";
export { expectAllowed } from "./limits.ts";
export { openQueue, type Queue, type SliceMessage } from "./queue.ts";
export {
  hyperparametersOf,
  type JobRequest,
  jobRequestSchema,
  lifetimeSchema,
  planOf,
  type TrainingPlan,
} from "./request.ts";
export {
  type AliasRow,
  type AliasVersionRow,
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
  failureOf,
  openSlices,
  type Progress,
  type SliceEnd,
  type Slices,
} from "./slices.ts";
export { openWatch, type ServiceState, type ServiceWatch, type WorkerSign } from "./state.ts";
export type { UsageRow } from "./usage.ts";
export { type AttemptEnd, type ClaimedDelivery, type Outbox, openOutbox, webhookEvents } from "./webhooks.ts";
