// Products of activations with quantised weights. Those with int8 are whole numbers: u8 · s8 is the pair that processors
// multiply fastest, so the codes of activations have a zero point of 128. N rows · in, out widths of the matrix

import { constant, emit, int64s, MICROSOFT, type StoredWeight, scalar, type Value } from "../value.ts";
import type { Nf4Format } from "../weight-form.ts";
import { reshapeAs } from "./decoding.ts";
import { requirePart } from "./dequantise.ts";
import { mul } from "./elementwise.ts";
import { hadamard } from "./hadamard.ts";
import { after, concat, reshape, transpose } from "./shape.ts";

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
  const flat = (): Value => (x.shape.length === 2 ? x : reshape(x, ["rows", x.shape.at(-1) ?? 1]));
  const rows = quantizedInputs.get(x.source) ?? quantiseRows(hadamard(flat()));
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

/** x [..., in] · Wᵀ for a weight of format int8rows, [..., out]; of its codes it needs only the transposed ones, if there are any. */
export function int8Forward(x: Value, weight: StoredWeight): Value {
  const { transposed } = weight.parts;
  const b = transposed ?? transpose(after(requirePart(weight, "codes"), [x]), [1, 0]);
  const y = product(inputRows(x), b, requirePart(weight, "scales"));
  const outer = x.shape.slice(0, -1);
  if (outer.length === 1) return y;
  const rows = emit("Shape", [x], {
    shape: [outer.length],
    dtype: "int64",
    attributes: { end: outer.length },
  });
  return reshapeAs(y, concat([rows, int64s(weight.shape[0] ?? 1)], 0), [...outer, weight.shape[0] ?? 1]);
}

/** dy [N, out] · W, [N, in]: the rows of dy are quantised, too, after scaling by their columns' scales. */
export function int8Backward(dy: Value, weight: StoredWeight): Value {
  const rows = quantiseRows(mul(dy, requirePart(weight, "scales")));
  return hadamard(product(rows, requirePart(weight, "codes"), undefined), { inverse: true });
}

/** A matrix [out, in] of NF4 codes as MatMulBnb4 reads it. */
export interface Nf4Matrix {
  readonly kind: "nf4";
  readonly blockSize: number;
  readonly out: number;
  readonly in: number;
  /** [out · in / 2] uint8; of two codes the first has the high half. */
  readonly codes: Value;
  /** The largest magnitude of each block, [out · in / blockSize]. */
  readonly scales: Value;
}

/**
 * x [..., in] · Wᵀ by the runtime's own operator, which looks levels up faster than a Gather. With transB = 0 it gives wrong
 * numbers, so the backward pass dequantises.
 */
export const nf4Product = (x: Value, { blockSize, out, in: width, codes, scales }: Nf4Matrix): Value =>
  emit("MatMulBnb4", [x, codes, scales], {
    ...MICROSOFT,
    shape: [...x.shape.slice(0, -1), out],
    dtype: "float32",
    attributes: { K: width, N: out, block_size: blockSize, quant_type: 1, transB: 1 },
  });

/** The same for a stored weight. */
export function nf4Forward(x: Value, weight: StoredWeight, { blockSize }: Nf4Format): Value {
  const [out = 0, width = 0] = weight.shape;
  const codes = reshape(requirePart(weight, "codes"), [(out * width) / 2]);
  const scales = reshape(requirePart(weight, "scales"), [(out * width) / blockSize]);
  return nf4Product(x, { kind: "nf4", blockSize, out, in: width, codes, scales });
}
