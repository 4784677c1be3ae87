// Jobs, their files and models as rows, and the queue of slices that workers take.
export { type AliasRow, isAliasName, MAX_ALIASES } from "./aliases.ts";
export { type Arrival, openContents } from "./contents.ts";
export type { FeedbackRow } from "./feedback.ts";
export type { FileRow } from "./files.ts";
export {
  type EventRow,
  hasEnded,
  type JobMeasurement,
  type JobRow,
  type JobStore,
  MEASUREMENTS,
  type NewEvent,
  type NewJob,
} from "./jobs.ts";
export { type FineTuningLimits, toLimits } from "./key-limits.ts";
export { isReinforcement, responseFormatField, shownMethod } from "./method.ts";
export {
  type CheckpointRow,
  isFinalModel,
  isFineTuned,
  type ModelRow,
  type ModelStore,
  modelName,
  modelTenant,
  type NewCheckpoint,
} from "./models.ts";
export {
  assertAllowed,
  checkMethod,
  type DataKind,
  type JobRequest,
  jobRequestSchema,
  lifetimeSchema,
  type OtherData,
  objectivesFor,
  type TrainingPlan,
  toTrainingPlan,
} from "./request.ts";
export {
  openSlices,
  type Progress,
  type SliceEnd,
  type Slices,
  toFailedEnd,
} from "./slices.ts";
export { openWatch, type ServiceState, startHeartbeat } from "./state.ts";
export { openStores, type Stores } from "./stores.ts";
export type { UsageRow } from "./usage.ts";
export {
  type AttemptEnd,
  type ClaimedDelivery,
  type DeliveryRow,
  type Outbox,
  openOutbox,
  type WebhookRow,
  webhookEvents,
} from "./webhooks.ts";
