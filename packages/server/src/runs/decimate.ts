// Fewer rows for a chart, none of which is made up: of each stretch those with the least and the greatest value of each column.

/** Rows of numbers by column, the first of which rises. */
export interface Columns {
  readonly length: number;
  readonly columns: readonly Float64Array[];
}

/** The rows with the extremes of one column in a stretch. */
function extremes(column: Float64Array, begin: number, end: number): readonly number[] {
  let [least, greatest] = [-1, -1];
  for (let row = begin; row < end; row++) {
    const value = column[row] ?? Number.NaN;
    if (Number.isNaN(value)) continue;
    if (least < 0 || value < (column[least] ?? 0)) least = row;
    if (greatest < 0 || value > (column[greatest] ?? 0)) greatest = row;
  }
  return least < 0 ? [] : [least, greatest];
}

/**
 * At most `points` rows by their numbers, in order: the first and the last one, and those with the extremes of each column but
 * the first within stretches of equal length. All rows where they are few enough.
 */
export function decimate({ columns, length }: Columns, points: number): readonly number[] {
  if (length <= points) return Array.from({ length }, (_, row) => row);
  const values = columns.slice(1);
  const stretches = Math.max(1, Math.floor((points - 2) / (2 * values.length)));
  const kept = new Set<number>([0]);
  for (let stretch = 0; stretch < stretches; stretch++) {
    const begin = Math.floor((stretch * length) / stretches);
    const end = Math.floor(((stretch + 1) * length) / stretches);
    const rows = new Set(values.flatMap((column) => extremes(column, begin, end)));
    for (const row of [...rows].sort((a, b) => a - b)) kept.add(row);
  }
  kept.add(length - 1);
  return [...kept];
}
