// Fewer points that draw the same picture: the least and the greatest value of each stretch of x.
import type { Aligned } from "./align.ts";
import type { Range } from "./range.ts";
import type { Values } from "./smooth.ts";

type Column = readonly (number | null | undefined)[];

/** Gives the bucket of a row: `buckets` of them, as wide as each other, from the first x to the last. */
function bucketsOf(x: readonly number[], buckets: number): (index: number) => number {
  const first = x[0] ?? 0;
  const width = ((x.at(-1) ?? 0) - first) / buckets;
  if (!(width > 0)) return () => 0;
  return (index) => Math.min(buckets - 1, Math.floor(((x[index] ?? 0) - first) / width));
}

/** Adds to `kept` the rows in which a column has the least and the greatest value of a bucket, if it has any there. */
function addExtremes(column: Column, bucketOf: (index: number) => number, kept: Set<number>): void {
  let bucket = -1;
  let [least, greatest] = [-1, -1];
  const keep = (): unknown => bucket >= 0 && kept.add(least).add(greatest);
  for (let index = 0; index < column.length; index++) {
    const value = column[index] ?? Number.NaN;
    if (!Number.isFinite(value)) continue;
    if (bucketOf(index) !== bucket) {
      keep();
      bucket = bucketOf(index);
      [least, greatest] = [index, index];
    }
    if (value < Number(column[least])) least = index;
    if (value > Number(column[greatest])) greatest = index;
  }
  keep();
}

const ascending = (rows: Set<number>): number[] => [...rows].sort((one, other) => one - other);

const bothEnds = (x: readonly number[]): Set<number> => new Set(x.length === 0 ? [] : [0, x.length - 1]);

/**
 * Rows to keep of columns that grow without end: of each bucket of x, those with the least and the greatest value of every
 * column, and the first and the last of all. Ascending; at most 2 · columns · buckets + 2.
 */
export function thinned(x: readonly number[], columns: readonly Values[], buckets: number): number[] {
  const kept = bothEnds(x);
  for (const column of columns) addExtremes(column, bucketsOf(x, buckets), kept);
  return ascending(kept);
}

/** The same as `thinned` for each column alone: it has no value in rows that were kept for others. */
function coarsened([x, ...columns]: Aligned, buckets: number): Aligned {
  const every = bothEnds(x);
  const rowsOf = columns.map((column) => {
    const kept = new Set<number>();
    addExtremes(column, bucketsOf(x, buckets), kept);
    for (const row of kept) every.add(row);
    return kept;
  });
  const rows = ascending(every);
  return [
    rows.map((row) => x[row] ?? 0),
    ...columns.map((column, at) => rows.map((row) => (rowsOf[at]?.has(row) ? column[row] : undefined))),
  ];
}

/** Buckets of the coarsest level. */
const COARSEST = 256;

/** Rows for each bucket from which on a finer level is drawn as fast with all of them. */
const WORTH = 4;

/** The same data at several resolutions. */
export interface Levels {
  readonly all: Aligned;
  /** The coarsest data that has its extremes for every two pixels of a part of x, or for every so many; or all there are. */
  at(range: Range, pixels: number, every?: number): Aligned;
}

/** Makes data that is drawn and moved at the speed of the screen, however many points it has. */
export function toLevels(data: Aligned): Levels {
  const [x] = data;
  const whole = (x.at(-1) ?? 0) - (x[0] ?? 0);
  const levels: { readonly buckets: number; readonly data: Aligned }[] = [];
  let finer = data;
  const finest = COARSEST * 2 ** Math.floor(Math.log2(Math.max(1, x.length / WORTH / COARSEST)));
  if (x.length > WORTH * COARSEST)
    for (let buckets = finest; buckets >= COARSEST; buckets /= 2) {
      finer = coarsened(finer, buckets);
      levels.unshift({ buckets, data: finer });
    }
  return {
    all: data,
    at: ({ min, max }, pixels, every = 2) => {
      const wanted = (pixels * whole) / Math.max(max - min, Number.MIN_VALUE);
      return levels.find(({ buckets }) => buckets >= wanted / every)?.data ?? data;
    },
  };
}
