// The search for each row's learning rate, as far as results are known: which cells it has asked for, and what it found.
import { isResult, type StoredResult, type TrialSpec } from "./cell.ts";
import type { Row } from "./fit-row.ts";
import { type Grid, tuningTrial } from "./grid.ts";
import { findBest, nextRates, type TriedRate } from "./rate-search.ts";

export type Results = ReadonlyMap<string, StoredResult>;

export interface RateSearch {
  /** Every cell asked for so far, those without a result too. */
  readonly trials: readonly TrialSpec[];
  /** The rates that all seeds have a result for. */
  readonly tried: readonly TriedRate[];
  /** The rate of the row; undefined while the search continues, and where every rate diverged. */
  readonly learningRate: number | undefined;
}

/** State of a row's search. There is none with one rate for all rows, and none for the base. */
export function searchRate(grid: Grid, { key, adapter }: Row, results: Results): RateSearch {
  const { learningRates: coarse } = grid.settings;
  if (!adapter || coarse.length === 1) return { trials: [], tried: [], learningRate: coarse[0] };
  const trialsAtRate = (learningRate: number): readonly TrialSpec[] =>
    grid.tuning.seeds.map((seed) => tuningTrial(grid, { key, adapter }, { learningRate, seed }));
  const trials: TrialSpec[] = [];
  const tried: TriedRate[] = [];
  for (let next = coarse; next.length > 0; next = nextRates(tried, coarse)) {
    const requested = next.map((learningRate) => ({ learningRate, trials: trialsAtRate(learningRate) }));
    trials.push(...requested.flatMap((rate) => rate.trials));
    const known = requested.flatMap((rate) => toTriedRate(rate, results));
    tried.push(...known);
    if (known.length < requested.length) return { trials, tried, learningRate: undefined };
  }
  return { trials, tried, learningRate: findBest(tried)?.learningRate };
}

/** A rate with the mean loss of its seeds, once all of them have a result. */
function toTriedRate(
  { learningRate, trials }: { readonly learningRate: number; readonly trials: readonly TrialSpec[] },
  results: Results,
): readonly TriedRate[] {
  const stored = trials.map(({ folder }) => results.get(folder));
  if (stored.includes(undefined)) return [];
  // a stored failure is a loss that diverged
  const losses = stored.map((one) => (isResult(one) ? one.validationLoss : Number.POSITIVE_INFINITY));
  return [{ learningRate, loss: losses.reduce((sum, loss) => sum + loss, 0) / losses.length }];
}
