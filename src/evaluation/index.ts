export { type HubSettings, hubSettings } from "#hub";
export { type CheckerOptions, type CheckReason, createProgramChecker, type ProgramChecker } from "#sandbox";
export { type FetchBenchmarkOptions, fetchBenchmark } from "./fetch/index.ts";
export {
  BASE_NAME,
  checkTasks,
  type EvaluateEvent,
  type EvaluateOptions,
  type EvaluationResult,
  evaluate,
  inPercent,
  type LinkedAdapters,
  linkAdapters,
  previewTasks,
  resultTable,
  type Subject,
  type TaskOptions,
  type TaskScore,
} from "./run/index.ts";
export {
  estimatePassAtK,
  type HumanEvalAnswer,
  humanEvalProgram,
  markProgram,
  type PassCount,
  passAtK,
  scorers,
  type TextTask,
} from "./scoring/index.ts";
export { tasks } from "./tasks/index.ts";
export {
  CHAT_FORMATS,
  type ChatFormat,
  type PromptSettings,
  RULES,
  type Rules,
  type Scorer,
  TASK_NAMES,
  type Task,
  type TaskName,
  usualFormat,
  type Verdict,
} from "./types.ts";
