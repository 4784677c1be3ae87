// The results of the rows in numbers: means over seeds, and paired tests of the reference rows.
import type { BenchmarkName } from "#evaluation";
import type { CellName, CellResult } from "./cell.ts";
import { type ColumnKey, columnsOf, columnValue } from "./columns.ts";
import type { Row } from "./fit-row.ts";
import { stepsOf, type TriedRate } from "./rate-search.ts";
import { holm, type PairedTest, pairedTest, type Summary, summarize } from "./statistics.ts";

/** What came of a row. */
export interface RowOutcome {
  readonly row: Row;
  /** The one that the cells were run with; unknown until tuning is done. */
  readonly learningRate: number | undefined;
  /** Cells that there should be. */
  readonly expected: number;
  readonly cells: readonly CellResult[];
  readonly failures: readonly { readonly cell: CellName; readonly message: string }[];
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
  /** What one step of the learning rates changes in the tuning loss, the larger of both rows; of losses only. */
  readonly rateStep?: number;
}

const exactMatchOf = ({ answers }: CellResult): number | undefined =>
  answers === undefined || answers.total === 0 ? undefined : answers.correct / answers.total;

function metricOf(cell: CellResult, metric: Metric, tasks: readonly BenchmarkName[]): number | undefined {
  if (metric === "validationLoss") return cell.validationLoss;
  return metric === "exactMatch" ? exactMatchOf(cell) : columnValue(cell, metric, tasks);
}

const isNumber = (value: number | undefined): value is number => value !== undefined;

function scoresOf(
  cells: readonly CellResult[],
  tasks: readonly BenchmarkName[],
): Readonly<Partial<Record<ColumnKey, Summary>>> {
  return Object.fromEntries(
    columnsOf(tasks).flatMap(({ key }) => {
      const summary = summarize(cells.map((cell) => columnValue(cell, key, tasks)).filter(isNumber));
      return summary === undefined ? [] : [[key, summary]];
    }),
  );
}

/** Results that came from another machine have no times and no memory: zeros. */
const timed = (cells: readonly CellResult[]): readonly CellResult[] =>
  cells.filter(({ seconds, peakMemoryBytes }) => seconds.total > 0 && peakMemoryBytes > 0);

/** Means and spreads of every row, with the scores of these benchmarks. */
export function summariesOf(
  outcomes: readonly RowOutcome[],
  tasks: readonly BenchmarkName[] = [],
): readonly RowSummary[] {
  const stepOf = ({ row, cells }: RowOutcome): Summary | undefined =>
    row.adapter ? summarize(timed(cells).map(({ seconds }) => seconds.step)) : undefined;
  const lora = outcomes.find(({ row }) => row.key.startsWith("lora-"));
  const unit = lora === undefined ? undefined : stepOf(lora)?.mean;
  return outcomes.map((outcome) => {
    const { cells, row } = outcome;
    const stepSeconds = stepOf(outcome);
    return {
      ...outcome,
      validationLoss: summarize(cells.map(({ validationLoss }) => validationLoss)),
      exactMatch: summarize(cells.map(exactMatchOf).filter(isNumber)),
      ...(tasks.length === 0 ? {} : { scores: scoresOf(cells, tasks) }),
      stepSeconds,
      relativeTime: stepSeconds === undefined || unit === undefined ? undefined : stepSeconds.mean / unit,
      tokensPerSecond: row.adapter
        ? summarize(timed(cells).map(({ tokens, seconds }) => tokens / seconds.training))
        : undefined,
      peakMemoryBytes: summarize(timed(cells).map(({ peakMemoryBytes }) => peakMemoryBytes)),
    };
  });
}

/** Whether a row is tested against a reference row: every method, and the reference's own ablations. */
const isCompared = ({ row }: RowOutcome, ours: string, references: readonly string[]): boolean =>
  row.adapter !== null &&
  !references.includes(row.key) &&
  (row.ablates === undefined || row.ablates === ours);

function pairsOf(
  ours: RowOutcome,
  theirs: RowOutcome,
  measureOf: (cell: CellResult) => number | undefined,
): (readonly [number, number])[] {
  return ours.cells.flatMap((cell) => {
    const partner = theirs.cells.find(({ seed }) => seed === cell.seed);
    const [mine, other] = [measureOf(cell), partner && measureOf(partner)];
    return mine === undefined || other === undefined ? [] : [[mine, other] as const];
  });
}

/** Every paired test, with p adjusted within the family of its reference row and metric. */
export function comparisonsOf(
  outcomes: readonly RowOutcome[],
  references: readonly string[],
  tasks: readonly BenchmarkName[] = [],
): readonly Comparison[] {
  const columns = columnsOf(tasks).map(({ key }) => key);
  const metrics: readonly Metric[] = ["validationLoss", "exactMatch", ...columns];
  return metrics.flatMap((metric) =>
    references.flatMap((key) => {
      const ours = outcomes.find(({ row }) => row.key === key);
      if (ours === undefined) return [];
      const others = outcomes.filter((other) => isCompared(other, key, references));
      return adjusted(
        others.flatMap((theirs) => {
          const pairs = pairsOf(ours, theirs, (cell) => metricOf(cell, metric, tasks));
          const differences = summarize(pairs.map(([mine, other]) => mine - other));
          if (differences === undefined) return [];
          const { count, mean } = differences;
          const names = { metric, ours: key, theirs: theirs.row.key };
          const test = pairedTest(pairs);
          const steps = metric === "validationLoss" ? rateStepOf(ours, theirs) : {};
          return [{ ...names, pairs: count, difference: mean, test, ...steps }];
        }),
      );
    }),
  );
}

function rateStepOf(...rows: readonly RowOutcome[]): Pick<Comparison, "rateStep"> {
  const changes = rows.map(({ tuning }) => stepsOf(tuning)?.change).filter(isNumber);
  return changes.length === 0 ? {} : { rateStep: Math.max(...changes) };
}

function adjusted(family: readonly Omit<Comparison, "adjusted">[]): readonly Comparison[] {
  const values = holm(family.flatMap(({ test }) => (test === undefined ? [] : [test.p])));
  let next = 0;
  return family.map((one) => ({ ...one, adjusted: one.test === undefined ? undefined : values[next++] }));
}
