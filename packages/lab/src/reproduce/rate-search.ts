// The search for a row's learning rate: a coarse grid, extended where its best rate lies at an end, then refined around
// the best. A pure function of the losses known so far, so that a search that was stopped continues to the same rates.
import { isResult, type StoredResult, type TrialSpec } from "./cell.ts";
import { type Grid, trialSpec } from "./grid.ts";
import type { Row } from "./tables.ts";

/** A learning rate with what came of it. */
export interface TriedRate {
  readonly learningRate: number;
  /** Tuning loss, a mean over the tuning seeds; infinite where one of them diverged. */
  readonly loss: number;
}

/** Neighbours of the best rate differ from it by at most this factor. */
export const FINEST_STEP = 1.5;
/** Rates are rounded, so a step may be a little longer. */
const TOLERANCE = 1.01;
/** Factor by which a search may leave the coarse grid. */
const REACH = 100;
const HIGHEST_RATE = 10;

const rounded = (rate: number): number => Number(rate.toPrecision(3));

const byRate = (tried: readonly TriedRate[]): readonly TriedRate[] =>
  [...tried].sort((a, b) => a.learningRate - b.learningRate);

/** The rate with the lowest loss, the lower one of two; undefined where all diverged. */
export function findBest(tried: readonly TriedRate[]): TriedRate | undefined {
  const [first, ...others] = byRate(tried).filter(({ loss }) => Number.isFinite(loss));
  return first && others.reduce((best, one) => (one.loss < best.loss ? one : best), first);
}

/**
 * The rates to be tried next; none when the search is over. `tried` holds at least the coarse grid.
 *
 * @example
 * nextRates([{ learningRate: 0.01, loss: 1 }, { learningRate: 0.03, loss: 2 }], [0.01, 0.03]); // [0.00333]
 */
export function nextRates(tried: readonly TriedRate[], coarse: readonly number[]): readonly number[] {
  const rates = byRate(tried).map(({ learningRate }) => learningRate);
  // where every rate diverged, lower ones may not
  const best = findBest(tried)?.learningRate ?? rates[0];
  if (best === undefined) return [];
  const beyond = extension(best, rates, coarse);
  const next = beyond === undefined ? refinement(best, rates) : [beyond];
  return next.filter((rate) => !rates.includes(rate));
}

/** The next rate beyond an end where the best one lies, a step of the coarse grid away, within reach. */
function extension(best: number, rates: readonly number[], coarse: readonly number[]): number | undefined {
  const grid = [...coarse].sort((a, b) => a - b);
  const [low, second, high, last] = [grid[0], grid[1], grid.at(-2), grid.at(-1)];
  if (low === undefined || second === undefined || high === undefined || last === undefined) return undefined;
  if (best === rates[0]) {
    const rate = rounded((best * low) / second);
    return rate * REACH * TOLERANCE < low ? undefined : rate;
  }
  if (best !== rates.at(-1)) return undefined;
  const rate = Math.min(HIGHEST_RATE, rounded((best * last) / high));
  return rate > last * REACH * TOLERANCE || rate === best ? undefined : rate;
}

/** On each side, the rate nearest to the best one of those that cut the gap into equal steps that are fine enough. */
function refinement(best: number, rates: readonly number[]): readonly number[] {
  const at = rates.indexOf(best);
  const neighbours = [rates[at - 1], rates[at + 1]].filter((rate) => rate !== undefined);
  return neighbours.flatMap((neighbour) => {
    const gap = Math.abs(Math.log(neighbour / best));
    const steps = Math.ceil(gap / Math.log(FINEST_STEP * TOLERANCE));
    return steps < 2 ? [] : [rounded(best * (neighbour / best) ** (1 / steps))];
  });
}

/** A neighbour of the best rate, and by how much the tuning loss is higher there. */
export interface RateStep {
  readonly learningRate: number;
  readonly change: number;
}

/**
 * One step of the finished grid to either side of the best rate, undefined at an end of the rates tried, and the larger finite
 * change of the loss. Undefined where there is no best rate.
 */
export function findRateSteps(tried: readonly TriedRate[]) {
  const best = findBest(tried);
  if (best === undefined) return undefined;
  const sorted = byRate(tried);
  const at = sorted.findIndex(({ learningRate }) => learningRate === best.learningRate);
  const stepTo = (one: TriedRate | undefined): RateStep | undefined =>
    one && { learningRate: one.learningRate, change: one.loss - best.loss };
  const [below, above] = [stepTo(sorted[at - 1]), stepTo(sorted[at + 1])];
  const finite = [below, above].flatMap((step) =>
    step && Number.isFinite(step.change) ? [step.change] : [],
  );
  return { below, above, change: finite.length === 0 ? undefined : Math.max(...finite) };
}

// --- cells

export type Results = ReadonlyMap<string, StoredResult>;

/**
 * State of a row's search: every cell requested so far, the rates that all seeds have a result for, and the rate of the row, which
 * is undefined while the search continues and where every rate diverged. There is no search with one rate for all rows, and none
 * for the base.
 */
export function searchRate(grid: Grid, { key, adapter }: Row, results: Results) {
  const { learningRates: coarse } = grid.settings;
  const trials: TrialSpec[] = [];
  const tried: TriedRate[] = [];
  if (!adapter || coarse.length === 1) return { trials, tried, learningRate: coarse[0] };
  const trialsAtRate = (learningRate: number): readonly TrialSpec[] =>
    grid.tuning.seeds.map((seed) => trialSpec(grid, { key, purpose: "tune", learningRate, seed }, adapter));
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
