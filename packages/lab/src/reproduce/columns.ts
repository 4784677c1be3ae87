// The columns of the paper's tables that are scores of benchmarks.
import { type BenchmarkName, inPercent, percentDecimals } from "#evaluation";
import type { TrialResult } from "./cell.ts";

export const COLUMN_KEYS = [
  "mmlu",
  "bbh",
  "gsm8k",
  "tydiqa-f1",
  "tydiqa-em",
  "humaneval",
  "average",
] as const;
export type ColumnKey = (typeof COLUMN_KEYS)[number];

/** A column of scores. */
export interface Column {
  readonly key: ColumnKey;
  /** As in the paper. */
  readonly title: string;
}

interface Source extends Column {
  readonly task: BenchmarkName;
  /** Metric, unless it is the first one of its task. */
  readonly metric?: string;
}

/** In the paper's order. */
const SOURCES: readonly Source[] = [
  { key: "mmlu", title: "MMLU EM", task: "mmlu" },
  { key: "bbh", title: "BBH EM", task: "bbh" },
  { key: "gsm8k", title: "GSM8K EM", task: "gsm8k" },
  { key: "tydiqa-f1", title: "TyDi QA F1", task: "tydiqa", metric: "f1" },
  { key: "tydiqa-em", title: "TyDi QA EM", task: "tydiqa", metric: "exact_match" },
  { key: "humaneval", title: "HumanEval P@1", task: "humaneval" },
];
const AVERAGE: Column = { key: "average", title: "Avg." };

const listSources = (tasks: readonly BenchmarkName[]): readonly Source[] =>
  SOURCES.filter(({ task }) => tasks.includes(task));

/** Those of these tasks; the mean of all where there are several. */
export function listColumns(tasks: readonly BenchmarkName[]): readonly Column[] {
  const columns = listSources(tasks);
  return columns.length > 1 ? [...columns, AVERAGE] : columns;
}

function readScore({ benchmarks = [] }: TrialResult, { task, metric }: Source): number | undefined {
  const found = benchmarks.find((one) => one.task === task);
  const name = metric ?? found?.metric ?? "";
  const score = found?.scores[name];
  return score === undefined ? undefined : inPercent(task, score);
}

/** A cell's number in a column, in per cent; an average needs all columns before it. */
export function columnValue(
  trial: TrialResult,
  key: ColumnKey,
  tasks: readonly BenchmarkName[],
): number | undefined {
  const sources = listSources(tasks);
  const source = sources.find((one) => one.key === key);
  if (source !== undefined) return readScore(trial, source);
  const scores = sources.map((one) => readScore(trial, one)).filter((score) => score !== undefined);
  return key !== "average" || scores.length < sources.length || scores.length === 0
    ? undefined
    : scores.reduce((sum, score) => sum + score, 0) / scores.length;
}

/** Questions that a column's numbers are of; of an average those of the smallest benchmark. */
export function columnQuestions(
  trials: readonly TrialResult[],
  key: ColumnKey,
  tasks: readonly BenchmarkName[],
): number {
  const requested = trials.flatMap(({ benchmarks = [] }) => benchmarks);
  const counts = listSources(tasks)
    .filter((source) => key === "average" || source.key === key)
    .flatMap(({ task }) => {
      const own = requested.filter((one) => one.task === task).map(({ questions }) => questions);
      return own.length === 0 ? [] : [Math.max(...own)];
    });
  return counts.length === 0 ? 0 : Math.min(...counts);
}

/** Decimals that they allow. */
export const columnDecimals = (
  trials: readonly TrialResult[],
  key: ColumnKey,
  tasks: readonly BenchmarkName[],
): number => percentDecimals(columnQuestions(trials, key, tasks));
