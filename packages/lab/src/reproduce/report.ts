// Everything that is written of an experiment: numbers as JSON, the table as Markdown, and pictures.
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { writeFileAtomic } from "mixture-of-shards/cli";
import type { Grid } from "./grid.ts";
import { mainTable } from "./main-table.ts";
import { formatReport } from "./markdown.ts";
import { drawPictures, PICTURES } from "./pictures.ts";
import { findRateSteps } from "./rate-search.ts";
import { listWarnings, rateTable } from "./rates-text.ts";
import { readReport, storedReport } from "./stored-report.ts";
import { type Comparison, compareRows, type RowOutcome, type RowSummary, summarizeRows } from "./summary.ts";
import type { ExperimentName } from "./tables.ts";

/** Everything that was found, for programs. */
function formatJson(grid: Grid, rows: readonly RowSummary[], comparisons: readonly Comparison[]): string {
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
    rows: rows.map(({ row, trials, ...rest }) => ({
      ...row,
      cells: trials,
      ...rest,
      rateSteps: findRateSteps(rest.tuning),
    })),
    comparisons,
    warnings: listWarnings(grid, rows, comparisons),
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
  const rows = summarizeRows(outcomes, tasks);
  const comparisons = compareRows(outcomes, experiment.references, tasks);
  const json = formatJson(grid, rows, comparisons);
  // from what is stored, as they are drawn again later
  const pictures = drawPictures(storedReport.parse(JSON.parse(json)));
  const texts: Readonly<Record<string, string>> = {
    [`${experiment.name}.json`]: json,
    ...pictures,
    [`${experiment.name}.md`]: formatReport(grid, { rows, comparisons, pictures: Object.keys(pictures) }),
  };
  const files = await writeTexts(options.out, experiment.name, texts);
  return {
    files,
    table: mainTable(rows, grid, { withCosts: false }),
    rates: rateTable(rows).map((cells) => cells.slice(0, -1)),
    warnings: listWarnings(grid, rows, comparisons),
  };
}

/**
 * Draws the pictures of a finished or unfinished experiment again, from the JSON in its folder.
 *
 * @returns the files written.
 * @throws MosError `not_found`: the folder has no such experiment; `bad_data`: its JSON is not a report's.
 */
export async function redraw(experiment: ExperimentName, folder: string): Promise<readonly string[]> {
  return writeTexts(folder, experiment, drawPictures(await readReport(folder, experiment)));
}

/** Writes files whole, and removes pictures from other settings: these are not part of the report. */
async function writeTexts(
  folder: string,
  experiment: ExperimentName,
  texts: Readonly<Record<string, string>>,
): Promise<readonly string[]> {
  const files = Object.entries(texts).map(([name, text]) => ({ path: join(folder, name), text }));
  for (const { path, text } of files) await writeFileAtomic(path, text);
  const names = PICTURES.map((kind) => `${experiment}-${kind}.svg`);
  for (const name of names) if (!(name in texts)) await rm(join(folder, name), { force: true });
  return files.map(({ path }) => path);
}
