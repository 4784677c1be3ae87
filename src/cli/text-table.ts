/** Rows of cells with the first column at the left and the others at the right. The first row decides the columns. */
export function textTable(
  rows: readonly (readonly string[])[],
  { left = 1 }: { readonly left?: number } = {},
): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const cell = (text: string, column: number): string => {
    const width = (widths[column] ?? 0) + (column === 0 ? 0 : 2);
    return column < left ? text.padEnd(width) : text.padStart(width);
  };
  return rows.map((row) => row.map(cell).join("").trimEnd()).join("\n");
}
