// n seeds · d differences of pairs that share a seed, ours − theirs
import jStat from "jstat";

/** Mean and spread of a metric over seeds. */
export type Summary = NonNullable<ReturnType<typeof summarize>>;

const average = (values: readonly number[]): number => values.reduce((sum, x) => sum + x, 0) / values.length;

/** The sample standard deviation (n − 1) is undefined for a single value, and all where there are no values. */
export function summarize(values: readonly number[]) {
  const count = values.length;
  if (count === 0) return undefined;
  const mean = average(values);
  const squares = values.reduce((sum, x) => sum + (x - mean) ** 2, 0);
  return { count, mean, deviation: count < 2 ? undefined : Math.sqrt(squares / (count - 1)) };
}

/** The middle value; the mean of the two middle ones of an even number. NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length / 2;
  const [low, high] = [sorted[Math.ceil(half) - 1], sorted[Math.floor(half)]];
  return low === undefined || high === undefined ? Number.NaN : (low + high) / 2;
}

/**
 * Compares two methods over the seeds that both were run with. Undefined for fewer than two pairs, and for differences
 * that are all the same, which have no spread to measure against.
 *
 * @example
 * pairedTest([[0.71, 0.74], [0.7, 0.75], [0.72, 0.74]])?.p;
 */
export function pairedTest(pairs: readonly (readonly [ours: number, theirs: number])[]) {
  const summary = summarize(pairs.map(([ours, theirs]) => ours - theirs));
  if (summary?.deviation === undefined) return undefined;
  const { mean, deviation, count } = summary;
  // rounding errors of equal differences do not count as spread
  if (deviation <= 1e-12 * Math.max(...pairs.flat().map(Math.abs))) return undefined;
  // Cohen's d_z
  const effect = mean / deviation;
  const t = effect * Math.sqrt(count);
  // two-sided; the library's distribution is a little above a half at 0
  const p = Math.min(1, 2 * jStat.studentt.cdf(-Math.abs(t), count - 1));
  return { pairs: count, difference: mean, t, p, effect };
}

/**
 * Holm's step-down adjustment of a family of p values: the chance of one false alarm among all of them stays below the
 * level that the adjusted values are compared with. In the order given.
 */
export function holm(values: readonly number[]): readonly number[] {
  const order = values.map((p, index) => ({ p, index })).sort((a, b) => a.p - b.p);
  const adjusted = values.map(() => 1);
  let highest = 0;
  for (const [rank, { p, index }] of order.entries()) {
    highest = Math.max(highest, Math.min(1, p * (values.length - rank)));
    adjusted[index] = highest;
  }
  return adjusted;
}
