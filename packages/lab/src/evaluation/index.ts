export { createProgramChecker, type ProgramChecker } from "mixture-of-shards-core/graders";
export {
  type ChatFormat,
  defaultChatFormat,
  type Rules,
  type ScoringTools,
  scorePrediction,
  type Verdict,
} from "./benchmark.ts";
export { FACT_GROUPS } from "./benchmarks/facts.ts";
export { humanEvalProgram } from "./benchmarks/humaneval.ts";
export { BENCHMARK_NAMES, type BenchmarkName, benchmarks, findBenchmark } from "./benchmarks/index.ts";
export { evaluate, previewTasks } from "./evaluate.ts";
export { evaluateModel } from "./evaluate-model.ts";
export { findData } from "./fetch.ts";
export {
  inPercent,
  markdownTable,
  percentDecimals,
  percentText,
  resultTable,
  toPercentage,
} from "./results.ts";
export { meanWithError } from "./scoring.ts";
export { evaluationSettings, python } from "./settings.ts";
export type { EvaluateEvent, EvaluateOptions, EvaluationResult, TaskScore } from "./types.ts";
