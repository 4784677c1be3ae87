export { checkTasks, type EvaluateEvent, evaluate, previewTasks } from "./evaluate.ts";
export { BASE_NAME, type LinkedAdapters, linkAdapters } from "./link-adapters.ts";
export { type EvaluationResult, inPercent, resultTable, type TaskScore } from "./result.ts";
export type { EvaluateOptions, Subject, TaskOptions } from "./settings.ts";
