import { MosError } from "../error.ts";
import { countElements } from "../tensor-type.ts";
import { constant, emit, gather, int64s, scalar, showShape, type Value, withGradient } from "../value.ts";
import { dequantiseRows } from "./dequantise.ts";
import { sum } from "./reduce.ts";
import { concat, reshape, zeros } from "./shape.ts";

/**
 * The inverse of a gather from a table of `rows` rows: for every row the positions in `indices` that read it, padded with
 * `indices.length`, which stands for a row of zeros: `positions` [rows, width] for the most frequent row's `width`. A Gather
 * and a ReduceSum over these run in parallel and always in the same order, whereas ScatterND with addition races on ONNX
 * Runtime's CPU provider.
 */
export function inverseIndex(
  indices: Int32Array,
  rows: number,
): { readonly positions: Int32Array; readonly width: number } {
  const counts = new Int32Array(rows);
  for (const row of indices) counts[row] = (counts[row] ?? 0) + 1;
  const width = counts.reduce((a, b) => Math.max(a, b), 1);
  const positions = new Int32Array(rows * width).fill(indices.length);
  counts.fill(0);
  indices.forEach((row, position) => {
    const used = counts[row] ?? 0;
    positions[row * width + used] = position;
    counts[row] = used + 1;
  });
  return { positions, width };
}

/**
 * Rows of a table [rows, width] by indices that are part of the program: [indices, width].
 *
 * @throws MosError `bad_config` for a table of unknown size, or an index outside it.
 */
export function gatherRows(table: Value, indices: Int32Array): Value {
  const [rows, width] = table.shape;
  if (typeof rows !== "number" || typeof width !== "number")
    throw new MosError("bad_config", `gatherRows needs a table of known size, not ${showShape(table.shape)}`);
  const bad = indices.find((row) => row < 0 || row >= rows);
  if (bad !== undefined) throw new MosError("bad_config", `row ${bad} of a table of ${rows} rows`);
  const y = gather(table, constant(indices));
  return withGradient(y, [table], (dy) => {
    const inverse = inverseIndex(indices, rows);
    const padded = concat([dy, zeros([1, width])], 0);
    const used = gather(padded, constant(inverse.positions));
    return [reshape(sum(reshape(used, [rows, inverse.width, width]), [1]), [rows, width])];
  });
}

/**
 * Rows of a table [rows, width] by indices that each run is fed, of any shape: [...indices, width]. Of a stored weight,
 * only these rows are dequantised, and there is no gradient.
 *
 * @throws MosError `bad_config` where `table` is not a matrix.
 */
export function embed(table: Value, indices: Value): Value {
  const [rows, width] = table.shape;
  if (rows === undefined || width === undefined)
    throw new MosError("bad_config", `embed needs a table, not ${showShape(table.shape)}`);
  if (table.stored !== undefined) return dequantiseRows(table.stored, indices);
  const y = gather(table, indices);
  return withGradient(y, [table], (dy) => [scatterRows(dy, indices, table)]);
}

/**
 * Adds the rows of dy [..., width] to the rows `indices` [...] of a table of zeros with the shape of `like`. The runtime
 * does so sequentially, so the result is the same each time.
 *
 * @throws MosError `bad_config` where the width of the rows is not known.
 */
export function scatterRows(dy: Value, indices: Value, like: Value): Value {
  const width = dy.shape.at(-1);
  if (typeof width !== "number") throw new MosError("bad_config", "scatterRows needs rows of known width");
  const flat = emit("Reshape", [dy, int64s(-1, width)], { shape: ["n", width] });
  const column = emit("Reshape", [indices, int64s(-1, 1)], { shape: ["n", 1], dtype: indices.dtype });
  const spread = emit("Expand", [column, emit("Shape", [flat], { shape: [2], dtype: "int64" })], {
    shape: ["n", width],
    dtype: indices.dtype,
  });
  const empty = emit("Expand", [scalar(0), int64s(...like.shape.map((dim) => countElements([dim])))], {
    shape: like.shape,
  });
  return emit("ScatterElements", [empty, spread, flat], {
    shape: like.shape,
    attributes: { axis: 0, reduction: "add" },
  });
}
