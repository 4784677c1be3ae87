import type { Values } from "./smooth.ts";

/** A curve, or single points: x ascends, and y has a value or null at each. */
export interface Points {
  readonly x: readonly number[];
  readonly y: Values;
}

/** One column of x for all series, and a column of y for each; undefined where a series has no point of its own. */
export type Aligned = [x: number[], ...y: (number | null | undefined)[][]];

/** The row of an ascending column whose value is nearest. */
export function nearestRow(x: readonly number[], to: number): number {
  let [low, high] = [0, x.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((x[middle] ?? to) < to) low = middle + 1;
    else high = middle;
  }
  return low > 0 && to - (x[low - 1] ?? to) <= (x[low] ?? to) - to ? low - 1 : low;
}

/** The value of each series that is nearest to an x and at most so far from it. */
export function valuesNear([x, ...columns]: Aligned, to: number, most: number): readonly (number | null)[] {
  const row = nearestRow(x, to);
  const away = (at: number): number => Math.abs((x[at] ?? Number.POSITIVE_INFINITY) - to);
  return columns.map((column) => {
    let [before, after] = [row, row + 1];
    while (away(before) <= most || away(after) <= most) {
      const at = away(before) <= away(after) ? before-- : after++;
      const value = column[at];
      if (value != null) return value;
    }
    return null;
  });
}

/** Merges ascending columns of x into one without repetition. */
export function union(columns: readonly (readonly number[])[]): number[] {
  const [first, ...others] = [...new Set(columns)];
  if (others.length === 0) return [...(first ?? [])];
  return [...new Set(columns.flat())].sort((one, other) => one - other);
}

/** Brings series with points of their own to one column of x, as the plotting library reads them. */
export function align(series: readonly Points[]): Aligned {
  const x = union(series.map((one) => one.x));
  const columns = series.map(({ x: own, y }) => {
    const column = new Array<number | null | undefined>(x.length);
    let at = 0;
    for (const [index, value] of own.entries()) {
      while (at < x.length && (x[at] ?? value) < value) at++;
      const point = y[index];
      column[at] = point === undefined || point === null || !Number.isFinite(point) ? null : point;
    }
    return column;
  });
  return [x, ...columns];
}
