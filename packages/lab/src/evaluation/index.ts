export {
  type CheckReason,
  createProgramChecker,
  type ProgramChecker,
} from "mixture-of-shards-core/graders";
export {
  type Benchmark,
  CHAT_FORMATS,
  type ChatFormat,
  defaultChatFormat,
  type ProgramBenchmark,
  type PromptSettings,
  type Question,
  type QuestionOptions,
  type QuestionSet,
  RULES,
  type Rules,
  type Scorer,
  type ScoreSummary,
  type ScoringTools,
  scorePrediction,
  type TextBenchmark,
  type Verdict,
} from "./benchmark.ts";
export {
  estimatePassAtK,
  type HumanEvalCompletion,
  humanEvalProgram,
  type PassCount,
  passAtK,
} from "./benchmarks/humaneval.ts";
export { BENCHMARK_NAMES, type BenchmarkName, benchmarks, findBenchmark } from "./benchmarks/index.ts";
export { checkTasks, evaluate, previewTasks } from "./evaluate.ts";
export { type EvaluateModelEvent, type EvaluateModelOptions, evaluateModel } from "./evaluate-model.ts";
export { type FetchBenchmarkOptions, fetchBenchmark, findData } from "./fetch.ts";
export {
  inPercent,
  markdownTable,
  type Percentage,
  percentDecimals,
  percentText,
  pointsText,
  resultTable,
  toPercentage,
  toPoints,
} from "./results.ts";
export { meanWithError } from "./scoring.ts";
export { evaluationSettings, python } from "./settings.ts";
export type {
  EvaluateEvent,
  EvaluateOptions,
  EvaluationResult,
  Subject,
  SubjectRecord,
  TaskDifference,
  TaskOptions,
  TaskRecord,
  TaskScore,
} from "./types.ts";
