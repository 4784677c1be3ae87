// Products of activations with signed bytes, as whole numbers. u8 · s8 is the pair that processors multiply fastest: codes
// of activations have a zero point of 128. N rows · in, out widths of the matrix

import { constant, emit, int64s, MICROSOFT, type StoredWeight, scalar, type Value } from "../value.ts";
import { requirePart } from "./dequantise.ts";
import { mul } from "./elementwise.ts";
import { hadamard } from "./hadamard.ts";
import { after, reshape, transpose } from "./shape.ts";

const ZERO_POINT = constant(Uint8Array.of(128), []);

/** Rows as scale · (code − 128). */
interface ByteRows {
  /** uint8 [N, in], from 1 to 255 */
  readonly codes: Value;
  /** [N, 1] */
  readonly scales: Value;
}

/** Quantises each row by its largest magnitude. */
function quantiseRows(x: Value): ByteRows {
  const rows = x.shape[0] ?? 1;
  const column = { shape: [rows, 1] };
  const extreme = (op: string): Value => emit(op, [x, int64s(1)], { ...column, attributes: { keepdims: 1 } });
  const most = emit(
    "Max",
    [extreme("ReduceMax"), emit("Neg", [extreme("ReduceMin")], column), scalar(1e-30)],
    column,
  );
  const scales = emit("Mul", [most, scalar(1 / 127)], column);
  const flat = reshape(scales, [rows]);
  // one zero point for each row, as many as there are
  const zeroPoints = emit("Expand", [ZERO_POINT, emit("Shape", [flat], { shape: [1], dtype: "int64" })], {
    shape: [rows],
    dtype: "uint8",
  });
  const codes = emit("QuantizeLinear", [x, flat, zeroPoints], {
    shape: x.shape,
    dtype: "uint8",
    attributes: { axis: 0 },
  });
  return { codes, scales };
}

/** By the source of x: layers that read the same x share its codes. */
const quantizedInputs = new WeakMap<Value["source"], ByteRows>();

/** The rows of x Q, quantised. */
function inputRows(x: Value): ByteRows {
  const rows = quantizedInputs.get(x.source) ?? quantiseRows(hadamard(x));
  quantizedInputs.set(x.source, rows);
  return rows;
}

/** x · B for B int8 [in, out], times a factor for each column. */
function product({ codes, scales }: ByteRows, b: Value, factors: Value | undefined): Value {
  const shape = [codes.shape[0] ?? 1, b.shape[1] ?? 1];
  const y = emit("MatMulIntegerToFloat", [codes, b, scalar(1), factors ?? scalar(1), ZERO_POINT], {
    ...MICROSOFT,
    shape,
    dtype: "float32",
  });
  return mul(y, scales);
}

/** x [N, in] · Wᵀ for a weight of form int8rows, [N, out]. */
export function int8Forward(x: Value, weight: StoredWeight): Value {
  const { transposed } = weight.parts;
  const b = transposed ?? transpose(after(requirePart(weight, "codes"), [x]), [1, 0]);
  return product(inputRows(x), b, requirePart(weight, "scales"));
}

/** dy [N, out] · W, [N, in]: the rows of dy are quantised, too, behind the scales that belong to their columns. */
export function int8Backward(dy: Value, weight: StoredWeight): Value {
  const rows = quantiseRows(mul(dy, requirePart(weight, "scales")));
  return hadamard(product(rows, requirePart(weight, "codes"), undefined), { inverse: true });
}
