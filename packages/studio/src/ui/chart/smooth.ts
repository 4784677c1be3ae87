/** A value at each x; null where there is none. */
export type Values = readonly (number | null)[];

/**
 * Exponential moving average over x rather than over positions: a value weighs `exp(-distance / span)`. Curves keep their
 * shape where points were left out or a run was resumed with other intervals. Weights are divided by their sum, so the
 * first values are not drawn towards zero.
 *
 * @param span distance in x after which a value weighs 1/e; 0 leaves the values as they are.
 */
export function smoothed(x: readonly number[], y: Values, span: number): (number | null)[] {
  if (!(span > 0)) return [...y];
  let sum = 0;
  let weight = 0;
  let last: number | undefined;
  return y.map((value, index) => {
    const at = x[index];
    if (value === null || at === undefined || !Number.isFinite(value)) return null;
    const decay = last === undefined ? 0 : Math.exp((last - at) / span);
    last = at;
    sum = sum * decay + value;
    weight = weight * decay + 1;
    return sum / weight;
  });
}
