// The table of an experiment as cells of text: for the report with every column, for a terminal without those of times.
import type { BenchmarkName } from "#evaluation";
import { columnDecimals, listColumns } from "./columns.ts";
import type { Row } from "./fit-row.ts";
import type { Grid } from "./grid.ts";
import type { Summary } from "./statistics.ts";
import type { RowSummary } from "./summary.ts";

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

interface TableColumn {
  readonly title: string;
  readonly text: (row: RowSummary) => string;
  /** Of how long it took and what it needed: of little use before all is finished. */
  readonly isCost?: boolean;
}

const seedsText = ({ row: { adapter }, trials, expected }: RowSummary): string => {
  if (adapter === undefined) return "does not fit";
  return adapter === null ? MISSING : `${trials.length} of ${expected}`;
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

function tableColumns(
  hasAnswers: boolean,
  rows: readonly RowSummary[],
  tasks: readonly BenchmarkName[],
): readonly TableColumn[] {
  const trials = rows.flatMap((row) => row.trials);
  return [
    { title: "Method", text: ({ row }) => row.label },
    { title: "Rank", text: ({ row }) => row.rank },
    {
      title: "# Param.",
      text: ({ row: { trainable } }) => (trainable === 0 ? MISSING : trainable.toLocaleString("en-US")),
    },
    { title: "Validation loss", text: ({ validationLoss }) => spread(validationLoss, { digits: 4 }) },
    ...(hasAnswers
      ? [
          {
            title: "Exact match (%)",
            text: ({ exactMatch }: RowSummary) => spread(exactMatch, { digits: 1, factor: 100 }),
          },
        ]
      : []),
    ...listColumns(tasks).map(({ key, title }) => ({
      title: `${title} (%)`,
      text: (row: RowSummary) => spread(row.scores?.[key], { digits: columnDecimals(trials, key, tasks) }),
    })),
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
  const hasAnswers = rows.some(({ exactMatch }) => exactMatch !== undefined);
  const columns = tableColumns(hasAnswers, rows, settings.benchmarks?.tasks ?? []).filter(
    ({ isCost = false }) => withCosts || !isCost,
  );
  return [columns.map(({ title }) => title), ...rows.map((row) => columns.map(({ text }) => text(row)))];
}
