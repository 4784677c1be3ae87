// Everything that is written of an experiment: numbers as JSON, the table as Markdown, and pictures.
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { writeFileAtomic } from "mixture-of-shards/storage";
import { columnsOf } from "./columns.ts";
import type { Grid } from "./grid.ts";
import { mainTable } from "./main-table.ts";
import { markdownOf } from "./markdown.ts";
import { drawFigure, drawTable } from "./pictures.ts";
import { stepsOf } from "./rate-search.ts";
import { rateTable, warningsOf } from "./rates-text.ts";
import { type Comparison, comparisonsOf, type RowOutcome, type RowSummary, summariesOf } from "./summary.ts";

/** Everything that was found, for programs. */
function jsonOf(grid: Grid, rows: readonly RowSummary[], comparisons: readonly Comparison[]): string {
  const { options, settings, experiment, digests, tuning, repeatedExamples } = grid;
  const { version, command, environment, model, train, evaluation, jobs = 1, threads } = options;
  const value = {
    format: 1,
    experiment: experiment.name,
    title: experiment.title,
    program: { version, command, ...environment },
    files: { model, train, evaluation, digests },
    settings: { ...settings, jobs, threads, tuningExamples: tuning.examples, repeatedExamples },
    tuning: { seeds: tuning.seeds, ...tuning.identity },
    ...(grid.benchmarks.length === 0 ? {} : { benchmarks: grid.benchmarks }),
    rows: rows.map(({ row, ...rest }) => ({ ...row, ...rest, rateSteps: stepsOf(rest.tuning) })),
    comparisons,
    warnings: warningsOf(grid, rows, comparisons),
  };
  return `${JSON.stringify(value, null, 2)}\n`;
}

/** What was written, and what a terminal shows of it. */
export interface Report {
  readonly files: readonly string[];
  /** A head and a line for each row. */
  readonly table: readonly (readonly string[])[];
  readonly rates: readonly (readonly string[])[];
  readonly warnings: readonly string[];
}

/** Writes the report again, each file as a whole. */
export async function writeReport(grid: Grid, outcomes: readonly RowOutcome[]): Promise<Report> {
  const { experiment, options } = grid;
  const { tasks } = grid.settings.benchmarks ?? { tasks: [] };
  const rows = summariesOf(outcomes, tasks);
  const comparisons = comparisonsOf(outcomes, experiment.references, tasks);
  const column = columnsOf(tasks).at(-1);
  const pictures =
    experiment.name === "figure1"
      ? await drawFigure(rows, column)
      : await drawTable(experiment, rows, column);
  const texts: Readonly<Record<string, string>> = {
    [`${experiment.name}.json`]: jsonOf(grid, rows, comparisons),
    ...pictures,
    [`${experiment.name}.md`]: markdownOf(grid, { rows, comparisons, pictures: Object.keys(pictures) }),
  };
  const files = Object.entries(texts).map(([name, text]) => ({ path: join(options.out, name), text }));
  for (const { path, text } of files) await writeFileAtomic(path, text);
  // pictures from other settings are not part of this report
  const drawn = ["loss", "answers", "benchmarks"].map((kind) => `${experiment.name}-${kind}.svg`);
  for (const name of drawn) if (!(name in pictures)) await rm(join(options.out, name), { force: true });
  return {
    files: files.map(({ path }) => path),
    table: mainTable(rows, grid, { withCosts: false }),
    rates: rateTable(rows).map((cells) => cells.slice(0, -1)),
    warnings: warningsOf(grid, rows, comparisons),
  };
}
