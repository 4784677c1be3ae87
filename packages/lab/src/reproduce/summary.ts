// The results of the rows in numbers: means over seeds, and paired tests of the reference rows.
import { type BenchmarkName, inPercent, percentDecimals } from "#evaluation";
import type { TrialName, TrialResult } from "./cell.ts";
import { findRateSteps, type TriedRate } from "./rate-search.ts";
import { holm, type PairedTest, pairedTest, type Summary, summarize } from "./statistics.ts";
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
export interface RowSummary extends RowOutcome {
  readonly validationLoss: Summary | undefined;
  /** Share of greedy answers that are the reference, 0 to 1. */
  readonly exactMatch: Summary | undefined;
  /** In per cent, over the seeds that have been asked. */
  readonly scores?: Readonly<Partial<Record<ColumnKey, Summary>>>;
  readonly stepSeconds: Summary | undefined;
  /** Seconds of an update as a multiple of those of this run's first LoRA row. */
  readonly relativeTime: number | undefined;
  readonly tokensPerSecond: Summary | undefined;
  readonly peakMemoryBytes: Summary | undefined;
}

export type Metric = "validationLoss" | "exactMatch" | ColumnKey;

/** A reference row against another row, over the seeds that both have. */
export interface Comparison {
  readonly metric: Metric;
  readonly ours: string;
  readonly theirs: string;
  readonly pairs: number;
  /** Mean of ours − theirs over the pairs. */
  readonly difference: number;
  /** Undefined with fewer than two pairs, or where the differences have no spread. */
  readonly test: PairedTest | undefined;
  /** Holm's, over all tests of one reference row on one metric. */
  readonly adjusted: number | undefined;
  /** Change of the tuning loss by one step of the learning rates, the larger of both rows; for losses only. */
  readonly rateStep?: number | undefined;
}

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
export function summarizeRows(
  outcomes: readonly RowOutcome[],
  tasks: readonly BenchmarkName[] = [],
): readonly RowSummary[] {
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
      exactMatch: mean(trials, exactMatch),
      ...(tasks.length === 0 ? {} : { scores: Object.fromEntries(scores) }),
      stepSeconds,
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
): readonly Comparison[] {
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

function adjusted(family: readonly Omit<Comparison, "adjusted">[]): readonly Comparison[] {
  const values = holm(family.flatMap(({ test }) => (test === undefined ? [] : [test.p])));
  let next = 0;
  return family.map((one) => ({ ...one, adjusted: one.test === undefined ? undefined : values[next++] }));
}

// --- columns

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

/** A column of scores, titled as in the paper. */
export interface Column {
  readonly key: ColumnKey;
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

const listSources = (tasks: readonly BenchmarkName[]): readonly Source[] =>
  SOURCES.filter(({ task }) => tasks.includes(task));

/** Those of these tasks; the mean of all where there are several. */
export function listColumns(tasks: readonly BenchmarkName[]): readonly Column[] {
  const columns = listSources(tasks);
  return columns.length > 1 ? [...columns, { key: "average", title: "Avg." }] : columns;
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
