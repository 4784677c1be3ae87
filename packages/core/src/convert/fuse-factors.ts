// LoRAs of several linear layers that read the same input ↔ one LoRA of the matrix in which a file keeps them: A's are
// stacked, and B is block-diagonal. R rank of the fused factors.
import type { Factors } from "./assemble-lora.ts";

/** The factors of a fused matrix: the product is that of each part in its rows, and the rank the sum of their ranks. */
export function fuseFactors(
  parts: readonly { readonly out: number; readonly factors: Factors | undefined }[],
): Factors {
  const [only] = parts;
  if (parts.length === 1 && only?.factors !== undefined) return only.factors;
  const given = parts.flatMap(({ factors }) => (factors === undefined ? [] : [factors]));
  const rank = given.reduce((sum, factors) => sum + factors.rank, 0);
  const a = new Float32Array(given.reduce((sum, factors) => sum + factors.a.length, 0));
  const b = new Float32Array(rank * parts.reduce((sum, { out }) => sum + out, 0));
  let filled = 0;
  let column = 0;
  let row = 0;
  for (const { out, factors } of parts) {
    if (factors !== undefined) {
      a.set(factors.a, filled);
      for (let i = 0; i < out; i++)
        b.set(factors.b.subarray(i * factors.rank, (i + 1) * factors.rank), (row + i) * rank + column);
      filled += factors.a.length;
      column += factors.rank;
    }
    row += out;
  }
  return { rank, a, b };
}

/** Indices of B's R columns that are not all zero in rows `begin` … `begin + out` − 1. */
function usedColumns({ rank, b }: Factors, begin: number, out: number): readonly number[] {
  const used = new Uint8Array(rank);
  for (let row = begin; row < begin + out; row++)
    for (let i = 0; i < rank; i++) if (b[row * rank + i] !== 0) used[i] = 1;
  return [...used.keys()].filter((i) => used[i] === 1);
}

/** Some columns of B in rows `begin` … `begin + out` − 1, and the rows of A that they multiply. */
function sliceFactors(
  { rank, a, b }: Factors,
  columns: readonly number[],
  { begin, out }: { readonly begin: number; readonly out: number },
): Factors {
  const width = a.length / rank;
  const part = { a: new Float32Array(columns.length * width), b: new Float32Array(out * columns.length) };
  for (const [i, column] of columns.entries()) {
    part.a.set(a.subarray(column * width, (column + 1) * width), i * width);
    for (let row = 0; row < out; row++)
      part.b[row * columns.length + i] = b[(begin + row) * rank + column] ?? 0;
  }
  return { rank: columns.length, ...part };
}

/**
 * The factors of each layer of `outs` rows in a fused matrix: all have the same A, and their rows of B. Ranks that a
 * layer makes no use of are left out, so that those of `fuseFactors` come back as they were. A layer whose rows are all
 * zero has no factors; in a LoRA that was never trained all of B is zero, and every layer keeps all ranks.
 */
export function splitFactors(fused: Factors, outs: readonly number[]): readonly (Factors | undefined)[] {
  if (outs.length === 1) return [fused];
  const isNew = fused.b.every((value) => value === 0);
  const every = Array.from({ length: fused.rank }, (_, i) => i);
  let begin = 0;
  return outs.map((out) => {
    const rows = { begin, out };
    begin += out;
    const columns = isNew ? every : usedColumns(fused, rows.begin, out);
    return columns.length === 0 ? undefined : sliceFactors(fused, columns, rows);
  });
}
