/** A value at each x; null where there is none. */
export type Values = readonly (number | null)[];

/**
 * Means over a window of x around each value: it reaches as far ahead as behind, so that the curve does not lag, and is narrower
 * near both ends. What is half a width before the last value stays as it is, however many come after that. The window is one of
 * x rather than of positions: curves keep their shape where points were left out or a run was resumed with other intervals.
 *
 * @param width of the window in x; 0 leaves the values as they are.
 */
export function smoothed(x: readonly number[], y: Values, width: number): (number | null)[] {
  if (!(width > 0)) return [...y];
  // twice half of it: a mean of means has no corners
  return means(x, means(x, y, width / 4), width / 4);
}

/** The mean of the values at most `reach` before and after each. */
function means(x: readonly number[], y: Values, reach: number): (number | null)[] {
  const isValue = (index: number): boolean => Number.isFinite(y[index] ?? Number.NaN);
  const rows = y.flatMap((_, index) => (isValue(index) && x[index] !== undefined ? [index] : []));
  const at = rows.map((row) => Number(x[row]));
  const [first = 0, last = 0] = [at[0], at.at(-1)];
  const sums = [0];
  for (const row of rows) sums.push((sums.at(-1) ?? 0) + Number(y[row]));
  const found: (number | null)[] = y.map(() => null);
  let [from, end] = [0, 0];
  for (const [index, row] of rows.entries()) {
    const here = at[index] ?? 0;
    const around = Math.min(reach, here - first, last - here);
    while ((at[from] ?? here) < here - around) from++;
    while ((at[end] ?? Number.POSITIVE_INFINITY) <= here + around) end++;
    found[row] = ((sums[end] ?? 0) - (sums[from] ?? 0)) / (end - from);
  }
  return found;
}
