// The table of an experiment as cells of text: for the report with every column, for a terminal without those of times.
import { type BenchmarkName, FACT_GROUPS } from "#evaluation";
import type { Grid } from "./grid.ts";
import { findBest, findRateSteps, type RateStep } from "./rate-search.ts";
import type { Summary } from "./statistics.ts";
import { type Comparison, columnDecimals, listColumns, type RowSummary } from "./summary.ts";
import type { Row } from "./tables.ts";

export const MISSING = "–";

export interface Format {
  readonly digits: number;
  readonly factor?: number;
}

/** `0.7432 ± 0.0021`; the spread only where there is one. */
function spread(summary: Summary | undefined, { digits, factor = 1 }: Format): string {
  if (summary === undefined) return MISSING;
  const mean = (summary.mean * factor).toFixed(digits);
  return summary.deviation === undefined ? mean : `${mean} ± ${(summary.deviation * factor).toFixed(digits)}`;
}

export const plural = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`;

export const plain = (value: number | undefined, digits: number): string => value?.toFixed(digits) ?? MISSING;

export const namedRow = ({
  label,
  rank,
  adapter,
}: Pick<Row, "label" | "rank"> & { readonly adapter?: object | null | undefined }): string =>
  adapter === null ? label : `${label} r=${rank}`;

/** The name of a row by its key. */
export function nameKey(rows: readonly RowSummary[], key: string): string {
  const found = rows.find(({ row }) => row.key === key);
  return found === undefined ? key : namedRow(found.row);
}

interface TableColumn {
  readonly title: string;
  readonly text: (row: RowSummary) => string;
  /** Time and memory: of little use before all is finished. */
  readonly isCost?: boolean;
}

const seedsText = ({ row: { adapter }, trials, expected }: RowSummary): string => {
  if (adapter === undefined) return "does not fit";
  // none is expected before the row has its learning rate
  return adapter === null || expected === 0 ? MISSING : `${trials.length} of ${expected}`;
};

const COSTS: readonly TableColumn[] = [
  {
    isCost: true,
    title: "Time per step",
    text: ({ relativeTime }) => (relativeTime === undefined ? MISSING : `${relativeTime.toFixed(2)} ×`),
  },
  { isCost: true, title: "Tokens/s", text: ({ tokensPerSecond }) => plain(tokensPerSecond?.mean, 0) },
  {
    isCost: true,
    title: "Peak memory (GB)",
    text: ({ peakMemoryBytes }) => plain(peakMemoryBytes && peakMemoryBytes.mean / 1e9, 2),
  },
];

/** Bytes of the adapter for each fact that it has kept, and how fast it has learnt them. */
const FACTS: readonly TableColumn[] = [
  {
    title: "Bytes per fact",
    text({ row: { bytes }, scores, trials }) {
      const groups = trials[0]?.benchmarks?.find(({ task }) => task === "facts")?.groups;
      const kept = ((scores?.["facts"]?.mean ?? 0) / 100) * (groups?.[FACT_GROUPS.trained]?.questions ?? 0);
      return bytes > 0 && kept > 0 ? (bytes / kept).toFixed(0) : MISSING;
    },
  },
  {
    isCost: true,
    title: "Updates/s",
    text: ({ stepSeconds }) => plain(stepSeconds && 1 / stepSeconds.mean, 2),
  },
];

const EXACT_MATCH: TableColumn = {
  title: "Exact match (%)",
  text: ({ exactMatch }) => spread(exactMatch, { digits: 1, factor: 100 }),
};

function tableColumns(rows: readonly RowSummary[], tasks: readonly BenchmarkName[]): readonly TableColumn[] {
  const trials = rows.flatMap((row) => row.trials);
  return [
    { title: "Method", text: ({ row }) => row.label },
    { title: "Rank", text: ({ row }) => row.rank },
    {
      title: "# Param.",
      text: ({ row: { trainable } }) => (trainable === 0 ? MISSING : trainable.toLocaleString("en-US")),
    },
    { title: "Validation loss", text: ({ validationLoss }) => spread(validationLoss, { digits: 4 }) },
    ...(rows.some(({ exactMatch }) => exactMatch !== undefined) ? [EXACT_MATCH] : []),
    ...listColumns(tasks).map(({ key, title }) => ({
      title: `${title} (%)`,
      text: (row: RowSummary) => spread(row.scores?.[key], { digits: columnDecimals(trials, key, tasks) }),
    })),
    ...(tasks.includes("facts") ? FACTS : []),
    ...COSTS,
    {
      title: "Learning rate",
      text: ({ learningRate }) => (learningRate === undefined ? MISSING : String(learningRate)),
    },
    { title: "Seeds", text: seedsText },
  ];
}

/** The head and a line for each row. */
export function mainTable(
  rows: readonly RowSummary[],
  { settings }: Pick<Grid, "settings">,
  { withCosts }: { readonly withCosts: boolean },
): readonly (readonly string[])[] {
  const columns = tableColumns(rows, settings.benchmarks?.tasks ?? []).filter(
    ({ isCost = false }) => withCosts || !isCost,
  );
  return [columns.map(({ title }) => title), ...rows.map((row) => columns.map(({ text }) => text(row)))];
}

// --- learning rates

const lossText = (loss: number): string => (Number.isFinite(loss) ? loss.toFixed(4) : "diverged");

const stepText = (step: RateStep | undefined): string => {
  if (step === undefined) return MISSING;
  const { learningRate, change } = step;
  return `${learningRate}: ${Number.isFinite(change) ? `+${change.toFixed(4)}` : "diverged"}`;
};

/** A line for each row that has been tuned: its best rate, its neighbours, and all rates. */
export function rateTable(rows: readonly RowSummary[]): readonly (readonly string[])[] {
  const lines = rows.flatMap(({ row, tuning }) => {
    const [best, steps] = [findBest(tuning), findRateSteps(tuning)];
    if (tuning.length === 0) return [];
    const all = [...tuning]
      .sort((a, b) => a.learningRate - b.learningRate)
      .map(({ learningRate, loss }) => `${learningRate}: ${lossText(loss)}`);
    return [
      [
        namedRow(row),
        best === undefined ? MISSING : String(best.learningRate),
        plain(best?.loss, 4),
        stepText(steps?.below),
        stepText(steps?.above),
        all.join(", "),
      ],
    ];
  });
  if (lines.length === 0) return [];
  return [["Method", "Best rate", "Tuning loss", "One step lower", "One step higher", "All rates"], ...lines];
}

/** Rows whose search ended at an end of the rates tried. */
const endWarnings = (rows: readonly RowSummary[]): readonly string[] =>
  (["lowest", "highest"] as const).flatMap((end) => {
    const found = rows.flatMap(({ row, learningRate, tuning }) => {
      const rates = tuning.map((one) => one.learningRate);
      const last = end === "lowest" ? Math.min(...rates) : Math.max(...rates);
      return rates.length > 0 && learningRate === last ? [`${namedRow(row)} (${last})`] : [];
    });
    const risk = "These may do better at a rate that was not tried, so other rows may only seem to win.";
    return found.length === 0 ? [] : [`Best at the ${end} rate tried: ${found.join(", ")}. ${risk}`];
  });

/** True if a difference between two rows is smaller than the effect of the choice of their rates. */
export const isWithinRateStep = ({ difference, rateStep }: Comparison): boolean =>
  rateStep !== undefined && Math.abs(difference) < rateStep;

function stepWarnings(rows: readonly RowSummary[], comparisons: readonly Comparison[]): readonly string[] {
  const within = comparisons.filter(isWithinRateStep);
  return [...new Set(within.map(({ ours }) => ours))].map((ours) => {
    const others = within
      .filter((one) => one.ours === ours)
      .map(
        ({ theirs, difference, rateStep }) =>
          `${nameKey(rows, theirs)} (${difference.toFixed(4)}, a step ${plain(rateStep, 4)})`,
      );
    return `The validation loss of ${nameKey(rows, ours)} differs by less than the effect of one learning rate step from that of ${others.join(", ")}. The choice of rates may explain such a difference.`;
  });
}

/** Warnings about comparisons of the rows, in sentences. */
export function listWarnings(
  { settings: { steps, tuneSteps, learningRates } }: Pick<Grid, "settings">,
  rows: readonly RowSummary[],
  comparisons: readonly Comparison[],
): readonly string[] {
  const early = `Learning rates were chosen after ${plural(tuneSteps, "update")} and used for ${steps}: shorter runs often have other best rates.`;
  return [
    ...(learningRates.length > 1 && tuneSteps < steps ? [early] : []),
    ...endWarnings(rows),
    ...stepWarnings(rows, comparisons),
  ];
}
