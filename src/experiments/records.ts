// What is known of an experiment's cells, from earlier runs and from this one, and what follows from it.
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
import { type Grid, measuringCells, tuningCells } from "./grid.ts";
import type { RowOutcome } from "./report.ts";

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
  await read(tuningCells(grid, row));
  await read(measuringCells(grid, row, rateOf(grid, row, results)));
}

/** The only rate, or the one with the lowest loss on the part held out for tuning, once all are known. */
export function rateOf(grid: Grid, row: Row, results: ReadonlyMap<string, StoredResult>): number | undefined {
  const cells = tuningCells(grid, row);
  if (cells.length === 0) return grid.settings.learningRates[0];
  const known = cells.map(({ folder }) => results.get(folder));
  if (known.includes(undefined)) return undefined;
  const usable = known.filter(isResult);
  const [first] = usable;
  return first === undefined
    ? undefined
    : usable.reduce((best, one) => (one.heldOutLoss < best.heldOutLoss ? one : best), first).learningRate;
}

/** What the tables are made of: every row that was chosen or has results. */
export function outcomesOf(grid: Grid, { results, failures }: Records): readonly RowOutcome[] {
  return grid.experiment.rows
    .map((row): RowOutcome => {
      const learningRate = rateOf(grid, row, results);
      const tuning = tuningCells(grid, row);
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
        tuning: tuning.map(({ folder, learningRate: rate }) => {
          const result = results.get(folder);
          return { learningRate: rate, heldOutLoss: isResult(result) ? result.heldOutLoss : undefined };
        }),
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
      const cells = measuringCells(grid, row, rateOf(grid, row, results));
      const wanted = row.adapter === null ? 1 : grid.seeds.length;
      const has = (spec: CellSpec): boolean => {
        const stored = results.get(spec.folder);
        return isResult(stored) && isFinished(spec, stored);
      };
      return wanted - cells.filter(has).length;
    })
    .reduce((sum, count) => sum + count, 0);
}
