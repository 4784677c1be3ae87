// Jobs, their files and models as rows, and the queue of slices that workers take.
import type { Database } from "#database";
import { openAliases } from "./aliases.ts";
import { openContents } from "./contents.ts";
import { openFeedback } from "./feedback.ts";
import { openFiles } from "./files.ts";
import { openJobKeys } from "./job-keys.ts";
import { openJobs } from "./jobs.ts";
import { openLessons } from "./lessons.ts";
import { openModels } from "./models.ts";
import { openResponses } from "./responses.ts";
import { openUsage } from "./usage.ts";
import { openWebhooks } from "./webhooks.ts";

export { type AliasRow, isAliasName, MAX_ALIASES } from "./aliases.ts";
export type { Arrival } from "./contents.ts";
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
export { lessonKinds, type ShownLesson } from "./lessons.ts";
export { hyperparametersSchema, isReinforcement, methodSchema, shownMethod } from "./method.ts";
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
  trackingOf,
} from "./request.ts";
export {
  openSlices,
  type Progress,
  type SliceEnd,
  type Slices,
  toFailedEnd,
} from "./slices.ts";
export { openWatch, type ServiceState, startHeartbeat } from "./state.ts";
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
export { openContents };

/** The stores of what owners see and change, one per kind. */
export type Stores = ReturnType<typeof openStores>;

/** Opens what the routes need of a database whose tables are there. */
export const openStores = (database: Database) => ({
  aliases: openAliases(database),
  contents: openContents(database),
  feedback: openFeedback(database),
  files: openFiles(database),
  jobKeys: openJobKeys(database),
  jobs: openJobs(database),
  lessons: openLessons(database),
  models: openModels(database),
  responses: openResponses(database),
  usage: openUsage(database),
  webhooks: openWebhooks(database),
});
