// The results of the rows in numbers: means over seeds, and paired tests of the reference rows.
import { type BenchmarkName, FACT_GROUPS, inPercent, percentDecimals } from "#evaluation";
import type { TrialName, TrialResult } from "./cell.ts";
import { findRateSteps, type TriedRate } from "./rate-search.ts";
import { holm, pairedTest, type Summary, summarize } from "./statistics.ts";
import type { Row } from "./tables.ts";

/** Outcome of a row. */
export interface RowOutcome {
  readonly row: Row;
  /** The one that the cells were run with; unknown until tuning is done. */
  readonly learningRate: number | undefined;
  /** Cells that there should be. */
  readonly expected: number;
  readonly trials: readonly TrialResult[];
  readonly failures: readonly { readonly trial: TrialName; readonly message: string }[];
  /** The rates tried for it, in the order of the search. */
  readonly tuning: readonly TriedRate[];
}

/** A row in numbers, means over its seeds. */
export type RowSummary = ReturnType<typeof summarizeRows>[number];

export type Metric = "validationLoss" | "exactMatch" | ColumnKey;

/** A reference row against another row, over the seeds that both have. */
export type Comparison = ReturnType<typeof compareRows>[number];

const exactMatch = ({ answers }: TrialResult): number | undefined =>
  answers === undefined || answers.total === 0 ? undefined : answers.correct / answers.total;

function readMetric(trial: TrialResult, metric: Metric, tasks: readonly BenchmarkName[]): number | undefined {
  if (metric === "validationLoss") return trial.validationLoss;
  return metric === "exactMatch" ? exactMatch(trial) : columnValue(trial, metric, tasks);
}

/** The mean of what a measure finds in these cells, over those that have it. */
const mean = (
  trials: readonly TrialResult[],
  measure: (trial: TrialResult) => number | undefined,
): Summary | undefined => summarize(trials.map(measure).filter((value) => value !== undefined));

/** Results that came from another machine have no times and no memory: zeros. */
const timed = (trials: readonly TrialResult[]): readonly TrialResult[] =>
  trials.filter(({ seconds, peakMemoryBytes }) => seconds.total > 0 && peakMemoryBytes > 0);

/** Means and spreads of every row, with the scores of these benchmarks. */
export function summarizeRows(outcomes: readonly RowOutcome[], tasks: readonly BenchmarkName[] = []) {
  const stepTime = ({ row, trials }: RowOutcome): Summary | undefined =>
    row.adapter ? mean(timed(trials), ({ seconds }) => seconds.step) : undefined;
  const lora = outcomes.find(({ row }) => row.adapter?.method === "lora");
  const unit = lora && stepTime(lora)?.mean;
  return outcomes.map((outcome) => {
    const { trials, row } = outcome;
    const stepSeconds = stepTime(outcome);
    const scores = listColumns(tasks).flatMap(({ key }) => {
      const score = mean(trials, (trial) => columnValue(trial, key, tasks));
      return score === undefined ? [] : [[key, score] as const];
    });
    return {
      ...outcome,
      validationLoss: mean(trials, (trial) => trial.validationLoss),
      /** Share of greedy answers that are the reference, 0 to 1. */
      exactMatch: mean(trials, exactMatch),
      /** In per cent, over the seeds that have been asked. */
      ...(tasks.length === 0 ? {} : { scores: Object.fromEntries(scores) }),
      stepSeconds,
      /** As a multiple of the first LoRA row of this run. */
      relativeTime: stepSeconds && unit && stepSeconds.mean / unit,
      tokensPerSecond: row.adapter
        ? mean(timed(trials), ({ tokens, seconds }) => tokens / seconds.training)
        : undefined,
      peakMemoryBytes: mean(timed(trials), (trial) => trial.peakMemoryBytes),
    };
  });
}

/** Tests whether a row is compared with a reference row: every method, and the reference's own ablations. */
const isCompared = ({ row }: RowOutcome, ours: string, references: readonly string[]): boolean =>
  row.adapter !== null &&
  !references.includes(row.key) &&
  (row.ablates === undefined || row.ablates === ours);

function pairTrials(
  ours: RowOutcome,
  theirs: RowOutcome,
  measure: (trial: TrialResult) => number | undefined,
): (readonly [number, number])[] {
  return ours.trials.flatMap((trial) => {
    const partner = theirs.trials.find(({ seed }) => seed === trial.seed);
    const [mine, other] = [measure(trial), partner && measure(partner)];
    return mine === undefined || other === undefined ? [] : [[mine, other] as const];
  });
}

/** Every paired test, with p adjusted within the family of its reference row and metric. */
export function compareRows(
  outcomes: readonly RowOutcome[],
  references: readonly string[],
  tasks: readonly BenchmarkName[] = [],
) {
  const columns = listColumns(tasks).map(({ key }) => key);
  const metrics: readonly Metric[] = ["validationLoss", "exactMatch", ...columns];
  return metrics.flatMap((metric) =>
    references.flatMap((key) => {
      const ours = outcomes.find(({ row }) => row.key === key);
      if (ours === undefined) return [];
      const others = outcomes.filter((other) => isCompared(other, key, references));
      return adjusted(
        others.flatMap((theirs) => {
          const pairs = pairTrials(ours, theirs, (trial) => readMetric(trial, metric, tasks));
          const differences = summarize(pairs.map(([mine, other]) => mine - other));
          if (differences === undefined) return [];
          return {
            metric,
            ours: key,
            theirs: theirs.row.key,
            pairs: differences.count,
            difference: differences.mean,
            test: pairedTest(pairs),
            // the larger of both rows
            rateStep: metric === "validationLoss" ? largestRateStep(ours, theirs) : undefined,
          };
        }),
      );
    }),
  );
}

function largestRateStep(...rows: readonly RowOutcome[]): number | undefined {
  const changes = rows.flatMap(({ tuning }) => findRateSteps(tuning)?.change ?? []);
  return changes.length === 0 ? undefined : Math.max(...changes);
}

/** With p adjusted by Holm's method, where there is a test: two pairs at least, and a spread of their differences. */
function adjusted<C extends { readonly test: ReturnType<typeof pairedTest> }>(family: readonly C[]) {
  const values = holm(family.flatMap(({ test }) => (test === undefined ? [] : [test.p])));
  let next = 0;
  return family.map((one) => ({ ...one, adjusted: one.test === undefined ? undefined : values[next++] }));
}

// --- columns

/** Columns of scores in the paper's order, with its titles. The metric is the first one of its task where none is named. */
const SOURCES = [
  { key: "mmlu", title: "MMLU EM", task: "mmlu" },
  { key: "bbh", title: "BBH EM", task: "bbh" },
  { key: "gsm8k", title: "GSM8K EM", task: "gsm8k" },
  { key: "tydiqa-f1", title: "TyDi QA F1", task: "tydiqa", metric: "f1" },
  { key: "tydiqa-em", title: "TyDi QA EM", task: "tydiqa", metric: "exact_match" },
  { key: "humaneval", title: "HumanEval P@1", task: "humaneval" },
  { key: "facts", title: "Facts kept", task: "facts", group: FACT_GROUPS.trained },
  { key: "facts-reworded", title: "Second wording", task: "facts", group: FACT_GROUPS.reworded },
] as const;
type Source = (typeof SOURCES)[number];

export const COLUMN_KEYS = [...SOURCES.map(({ key }) => key), "average" as const];
type ColumnKey = (typeof COLUMN_KEYS)[number];

/** Columns that an average is of: facts are no benchmark of the paper. */
const isAveraged = ({ task }: Source): boolean => task !== "facts";

const listSources = (tasks: readonly BenchmarkName[]): readonly Source[] =>
  SOURCES.filter(({ task }) => tasks.includes(task));

/** Those of these tasks; the mean of all where there are several. */
export function listColumns(tasks: readonly BenchmarkName[]) {
  const columns = listSources(tasks);
  return columns.filter(isAveraged).length > 1
    ? [...columns, { key: "average", title: "Avg." } as const]
    : columns;
}

function readScore({ benchmarks = [] }: TrialResult, source: Source): number | undefined {
  const found = benchmarks.find(({ task }) => task === source.task);
  const scored = "group" in source ? found?.groups?.[source.group] : found;
  const score = scored?.scores["metric" in source ? source.metric : (found?.metric ?? "")];
  return score === undefined ? undefined : inPercent(source.task, score);
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
  const averaged = sources.filter(isAveraged);
  const scores = averaged.map((one) => readScore(trial, one)).filter((score) => score !== undefined);
  return key !== "average" || scores.length < averaged.length || scores.length === 0
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
