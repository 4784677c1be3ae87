export { checkTasks, type EvaluateEvent, evaluate } from "./evaluate.ts";
export { type EvaluationResult, inPercent, resultTable, type TaskScore } from "./result.ts";
export type { EvaluateOptions, Subject, TaskOptions } from "./settings.ts";
export { BASE_NAME, type LinkedAdapters, linkAdapters } from "./subjects.ts";
