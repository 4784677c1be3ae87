import { type Bar, barChart, type HeatCell, heatMap } from "./charts/index.ts";
import type { Column } from "./columns.ts";
import type { RowSummary } from "./summary.ts";
import type { Experiment } from "./tables.ts";

/** SVG texts by file name; none of what was not measured. */
type Pictures = Readonly<Record<string, string>>;

const nameOf = ({ row }: RowSummary): string =>
  row.adapter === null ? row.label : `${row.label} r=${row.rank}`;

type Measure = Pick<Bar, "mean"> & {
  readonly deviation: number | undefined;
  readonly points: readonly number[];
};

function barsOf(
  rows: readonly RowSummary[],
  { references }: Experiment,
  measure: (row: RowSummary) => Measure | undefined,
): readonly Bar[] {
  return rows.flatMap((row) => {
    const measured = measure(row);
    if (measured === undefined) return [];
    const { mean, deviation, points } = measured;
    return [
      {
        label: nameOf(row),
        mean,
        points,
        emphasised: references.includes(row.row.key),
        ...(deviation === undefined ? {} : { deviation }),
      },
    ];
  });
}

const lossOf = ({ heldOutLoss, cells }: RowSummary): Measure | undefined =>
  heldOutLoss && {
    mean: heldOutLoss.mean,
    deviation: heldOutLoss.deviation,
    points: cells.map((cell) => cell.heldOutLoss),
  };

const answersOf = ({ exactMatch, cells }: RowSummary): Measure | undefined =>
  exactMatch && {
    mean: 100 * exactMatch.mean,
    deviation: exactMatch.deviation === undefined ? undefined : 100 * exactMatch.deviation,
    points: cells.flatMap(({ answers }) =>
      answers === undefined || answers.total === 0 ? [] : [(100 * answers.correct) / answers.total],
    ),
  };

const titleOf = ({ key, title }: Column): string =>
  key === "average" ? "mean of the benchmarks' columns (%)" : `${title} (%)`;

const scoreOf =
  (column: Column | undefined) =>
  ({ scores }: RowSummary): Measure | undefined => {
    const summary = column && scores?.[column.key];
    return summary && { mean: summary.mean, deviation: summary.deviation, points: [] };
  };

/** The held-out losses of a table's adapters, their answers where there are some, and a column of benchmarks. */
export async function drawTable(
  experiment: Experiment,
  rows: readonly RowSummary[],
  column: Column | undefined,
): Promise<Pictures> {
  const { name, title } = experiment;
  // the base is so far away that the others would look alike beside it
  const losses = barsOf(
    rows.filter(({ row }) => row.adapter !== null),
    experiment,
    lossOf,
  );
  const answers = barsOf(rows, experiment, answersOf);
  const scores = barsOf(rows, experiment, scoreOf(column));
  const subtitle = "mean and standard deviation over seeds; rings are the seeds";
  const common = { title, subtitle, printMeans: true } as const;
  return {
    ...(losses.length === 0
      ? {}
      : {
          [`${name}-loss.svg`]: barChart({
            ...common,
            bars: losses,
            mark: "point",
            valueTitle: "held-out loss (nats per token)",
            decimals: 4,
          }),
        }),
    // where no model gets anything right there is nothing to see
    ...(answers.every(({ mean }) => mean === 0)
      ? {}
      : {
          [`${name}-answers.svg`]: barChart({
            ...common,
            bars: answers,
            valueTitle: "exact match (%)",
            decimals: 1,
          }),
        }),
    ...(column === undefined || scores.every(({ mean }) => mean === 0)
      ? {}
      : {
          [`${name}-benchmarks.svg`]: barChart({
            ...common,
            subtitle: "mean and standard deviation over seeds",
            bars: scores,
            valueTitle: titleOf(column),
            decimals: 2,
          }),
        }),
  };
}

/** The grid of figure 1; what was not measured, or does not fit the model, is empty. */
export async function drawFigure(rows: readonly RowSummary[], column: Column | undefined): Promise<Pictures> {
  const draw = (value: (row: RowSummary) => number | undefined, more: object): string => {
    const cells = rows.flatMap((row): HeatCell[] => {
      const { place } = row.row;
      if (place === undefined) return [];
      const measured = value(row);
      const at = { x: String(place.shards), y: String(place.privateRank) };
      return [measured === undefined ? at : { ...at, value: measured }];
    });
    return heatMap({ cells, xTitle: "shards per vector", yTitle: "private rank", ...more });
  };
  const score = (row: RowSummary): number | undefined => scoreOf(column)(row)?.mean;
  const hasAnswers = rows.some(({ exactMatch }) => (exactMatch?.mean ?? 0) > 0);
  return {
    "figure1-loss.svg": draw(({ heldOutLoss }) => heldOutLoss?.mean, {
      title: "Held-out loss (nats per token; lower is better), mean over seeds",
      decimals: 4,
    }),
    ...(hasAnswers
      ? {
          "figure1-answers.svg": draw(({ exactMatch }) => exactMatch && 100 * exactMatch.mean, {
            title: "Exact match (%), mean over seeds",
            decimals: 1,
          }),
        }
      : {}),
    ...(column === undefined || !rows.some((row) => (score(row) ?? 0) > 0)
      ? {}
      : {
          "figure1-benchmarks.svg": draw(score, {
            title: `${titleOf(column)}, mean over seeds`,
            decimals: 2,
          }),
        }),
  };
}
