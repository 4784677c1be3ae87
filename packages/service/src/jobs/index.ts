// Jobs, their files and models as rows, and the queue of slices that workers take.
export { checkpointName, modelName, randomId, tenantOfModel } from "./ids.ts";
export { type Jobs, type ListOptions, type NewEvent, type NewFile, type NewJob, openJobs } from "./jobs.ts";
export { openQueue, type Queue, type SliceMessage, type TakenMessage } from "./queue.ts";
export {
  hyperparametersOf,
  type JobRequest,
  jobRequestSchema,
  planOf,
  type TrainingPlan,
} from "./request.ts";
export type { CheckpointRow, EventRow, FileRow, JobRow, ModelRow, Owner, Page } from "./rows.ts";
export {
  defaultSliceOptions,
  failureOf,
  type NewCheckpoint,
  openSlices,
  type Progress,
  type Renewal,
  type SliceEnd,
  type SliceOptions,
  type Slices,
} from "./slices.ts";
