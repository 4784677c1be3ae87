import { MosError } from "#core";
import { constant, emit, int64s, scalar, showShape, sizeOf, type Value, withGradient } from "../value.ts";
import { sum } from "./reduce.ts";
import { concat, reshape, zeros } from "./shape.ts";

/**
 * For every row of a table of `rows` rows the places that used it, filled up with the number of places (which stands
 * for a row of zeros): [rows, widest use]. Summing these places is a Gather and a ReduceSum, which run in parallel and
 * always in the same order; ScatterND with addition races on ONNX Runtime's CPU provider.
 */
export function inverseIndex(
  indices: Int32Array,
  rows: number,
): { readonly places: Int32Array; readonly width: number } {
  const counts = new Int32Array(rows);
  for (const row of indices) counts[row] = (counts[row] ?? 0) + 1;
  const width = counts.reduce((a, b) => Math.max(a, b), 1);
  const places = new Int32Array(rows * width).fill(indices.length);
  counts.fill(0);
  indices.forEach((row, place) => {
    const used = counts[row] ?? 0;
    places[row * width + used] = place;
    counts[row] = used + 1;
  });
  return { places, width };
}

/** Rows of a table [rows, width] by indices known now: [indices, width]. */
export function gatherRows(table: Value, indices: Int32Array): Value {
  const [rows, width] = table.shape;
  if (typeof rows !== "number" || typeof width !== "number")
    throw new MosError("bad_config", `gatherRows needs a table of known size, not ${showShape(table.shape)}`);
  const bad = indices.find((row) => row < 0 || row >= rows);
  if (bad !== undefined) throw new MosError("bad_config", `row ${bad} of a table of ${rows} rows`);
  const y = emit("Gather", [table, constant(indices)], {
    shape: [indices.length, width],
    attributes: { axis: 0 },
  });
  return withGradient(y, [table], (dy) => {
    const inverse = inverseIndex(indices, rows);
    const padded = concat([dy, zeros([1, width])], 0);
    const used = emit("Gather", [padded, constant(inverse.places)], {
      shape: [rows * inverse.width, width],
      attributes: { axis: 0 },
    });
    return [reshape(sum(reshape(used, [rows, inverse.width, width]), [1]), [rows, width])];
  });
}

/** Rows of a table [rows, width] by indices that come with the run, of any shape: [...indices, width]. */
export function embed(table: Value, indices: Value): Value {
  const [rows, width] = table.shape;
  if (rows === undefined || width === undefined)
    throw new MosError("bad_config", `embed needs a table, not ${showShape(table.shape)}`);
  const y = emit("Gather", [table, indices], { shape: [...indices.shape, width], attributes: { axis: 0 } });
  return withGradient(y, [table], (dy) => [scatterRows(dy, indices, table)]);
}

/** Sums rows of dy into the rows of a table of zeros that `indices` name. Sequential in the runtime, and so repeatable. */
export function scatterRows(dy: Value, indices: Value, like: Value): Value {
  const width = dy.shape.at(-1);
  if (typeof width !== "number") throw new MosError("bad_config", "scatterRows needs rows of known width");
  const flat = emit("Reshape", [dy, int64s(-1, width)], { shape: ["n", width] });
  const column = emit("Reshape", [indices, int64s(-1, 1)], { shape: ["n", 1], dtype: indices.dtype });
  const spread = emit("Expand", [column, emit("Shape", [flat], { shape: [2], dtype: "int64" })], {
    shape: ["n", width],
    dtype: indices.dtype,
  });
  const empty = emit("Expand", [scalar(0), int64s(...like.shape.map((dim) => sizeOf([dim])))], {
    shape: like.shape,
  });
  return emit("ScatterElements", [empty, spread, flat], {
    shape: like.shape,
    attributes: { axis: 0, reduction: "add" },
  });
}
