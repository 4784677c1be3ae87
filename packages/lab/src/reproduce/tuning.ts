// The search for each row's learning rate, as far as results are known: which cells it has asked for, and what it found.
import { type CellSpec, isResult, type StoredResult } from "./cell.ts";
import type { Row } from "./fit-row.ts";
import { type Grid, tuningCell } from "./grid.ts";
import { bestOf, nextRates, type TriedRate } from "./rate-search.ts";

export type Results = ReadonlyMap<string, StoredResult>;

export interface RateSearch {
  /** Every cell asked for so far, those without a result too. */
  readonly cells: readonly CellSpec[];
  /** The rates that all seeds have a result for. */
  readonly tried: readonly TriedRate[];
  /** The rate of the row; undefined while the search continues, and where every rate diverged. */
  readonly learningRate: number | undefined;
}

/** Where a row's search is. With one rate for all rows there is none, and so for the base. */
export function searchRate(grid: Grid, { key, adapter }: Row, results: Results): RateSearch {
  const { learningRates: coarse } = grid.settings;
  if (!adapter || coarse.length === 1) return { cells: [], tried: [], learningRate: coarse[0] };
  const cellsOf = (learningRate: number): readonly CellSpec[] =>
    grid.tuning.seeds.map((seed) => tuningCell(grid, { key, adapter }, { learningRate, seed }));
  const cells: CellSpec[] = [];
  const tried: TriedRate[] = [];
  for (let next = coarse; next.length > 0; next = nextRates(tried, coarse)) {
    const asked = next.map((learningRate) => ({ learningRate, cells: cellsOf(learningRate) }));
    cells.push(...asked.flatMap((rate) => rate.cells));
    const known = asked.flatMap((rate) => triedOf(rate, results));
    tried.push(...known);
    if (known.length < asked.length) return { cells, tried, learningRate: undefined };
  }
  return { cells, tried, learningRate: bestOf(tried)?.learningRate };
}

/** A rate with the mean loss of its seeds, once all of them have a result. */
function triedOf(
  { learningRate, cells }: { readonly learningRate: number; readonly cells: readonly CellSpec[] },
  results: Results,
): readonly TriedRate[] {
  const stored = cells.map(({ folder }) => results.get(folder));
  if (stored.includes(undefined)) return [];
  // a stored failure is a loss that diverged
  const losses = stored.map((one) => (isResult(one) ? one.validationLoss : Number.POSITIVE_INFINITY));
  return [{ learningRate, loss: losses.reduce((sum, loss) => sum + loss, 0) / losses.length }];
}
