import type { Values } from "./smooth.ts";

/**
 * Positions of rows that draw the same picture at a width of `buckets` points: of each bucket of x, the rows with the least and
 * the greatest value of every column, and the first and the last row of all. Ascending; at most 2 · columns · buckets + 2.
 */
export function thinned(x: readonly number[], columns: readonly Values[], buckets: number): number[] {
  const first = x[0] ?? 0;
  const width = ((x.at(-1) ?? 0) - first) / buckets;
  const bucketOf = (index: number): number =>
    width > 0 ? Math.min(buckets - 1, Math.floor(((x[index] ?? 0) - first) / width)) : 0;
  const kept = new Set<number>(x.length === 0 ? [] : [0, x.length - 1]);
  for (const column of columns) for (const index of extremes(column, bucketOf)) kept.add(index);
  return [...kept].sort((one, other) => one - other);
}

function* extremes(column: Values, bucketOf: (index: number) => number): Generator<number, void> {
  const least = new Map<number, number>();
  const greatest = new Map<number, number>();
  for (const [index, value] of column.entries()) {
    if (value === null || !Number.isFinite(value)) continue;
    const bucket = bucketOf(index);
    if (value < (column[least.get(bucket) ?? -1] ?? Number.POSITIVE_INFINITY)) least.set(bucket, index);
    if (value > (column[greatest.get(bucket) ?? -1] ?? Number.NEGATIVE_INFINITY)) greatest.set(bucket, index);
  }
  yield* least.values();
  yield* greatest.values();
}
