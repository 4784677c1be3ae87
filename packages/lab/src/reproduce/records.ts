// The results of an experiment's cells, from earlier runs and from this one, and which cells are missing.
import {
  type CellSpec,
  hasAdapter,
  isFinished,
  isResult,
  nameOf,
  readResult,
  type StoredResult,
  withScoresOf,
} from "./cell.ts";
import type { Row } from "./fit-row.ts";
import { type Grid, measuringCells } from "./grid.ts";
import type { RowOutcome } from "./summary.ts";
import { searchRate } from "./tuning.ts";

/** What is known of the cells, by their folders. */
export interface Records {
  readonly results: Map<string, StoredResult>;
  /** Why a cell has no result, or no scores, for this run only. */
  readonly failures: Map<string, string>;
  /** Of results that lack scores, those that cannot get them without the adapter. */
  readonly retrained: Set<string>;
}

/** Reads what earlier runs have left of a row. */
export async function recall(grid: Grid, row: Row, { results, retrained }: Records): Promise<void> {
  const read = async (specs: readonly CellSpec[]): Promise<void> => {
    for (const spec of specs) {
      const { folder, identity } = spec;
      const result = await readResult(folder, identity);
      if (result !== undefined) results.set(folder, result);
      if (result !== undefined && !isFinished(spec, result) && !(await hasAdapter(spec)))
        retrained.add(folder);
    }
  };
  // each result that is known may lead the search on to further rates
  for (let asked = -1; ; ) {
    const { cells, learningRate } = searchRate(grid, row, results);
    if (cells.length === asked) return read(measuringCells(grid, row, learningRate));
    asked = cells.length;
    await read(cells);
  }
}

/** What the tables are made of: every row that was chosen or has results. */
export function outcomesOf(grid: Grid, { results, failures }: Records): readonly RowOutcome[] {
  return grid.experiment.rows
    .map((row): RowOutcome => {
      const { learningRate, cells: tuning, tried } = searchRate(grid, row, results);
      const measuring = measuringCells(grid, row, learningRate);
      const measured = measuring.flatMap((spec) => {
        const stored = results.get(spec.folder);
        return isResult(stored) ? [withScoresOf(spec, stored)] : [];
      });
      return {
        row,
        learningRate: row.adapter ? learningRate : undefined,
        expected: measuring.length,
        cells: measured,
        failures: [...tuning, ...measuring].flatMap((spec) => {
          const stored = results.get(spec.folder);
          const message =
            failureOf(stored) ?? (isFinished(spec, stored) ? undefined : failures.get(spec.folder));
          return message === undefined ? [] : [{ cell: nameOf(spec), message }];
        }),
        tuning: tried,
      };
    })
    .filter(({ row, cells }) => grid.selected.includes(row) || cells.length > 0);
}

const failureOf = (stored: StoredResult | undefined): string | undefined =>
  stored !== undefined && "failure" in stored ? stored.failure.message : undefined;

export function missingOf(grid: Grid, { results }: Records): number {
  return grid.selected
    .filter(({ adapter }) => adapter !== undefined)
    .map((row) => {
      const cells = measuringCells(grid, row, searchRate(grid, row, results).learningRate);
      const wanted = row.adapter === null ? 1 : grid.seeds.length;
      const has = (spec: CellSpec): boolean => {
        const stored = results.get(spec.folder);
        return isResult(stored) && isFinished(spec, stored);
      };
      return wanted - cells.filter(has).length;
    })
    .reduce((sum, count) => sum + count, 0);
}
