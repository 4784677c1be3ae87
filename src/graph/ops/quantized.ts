// N rows · in, out widths of the matrix · K blocks per row
import { MosError } from "#core";
import { constant, emit, MICROSOFT, showShape, type Value, withGradient } from "../value.ts";

/**
 * A matrix [out, in] of small whole numbers with one scale per block of a row: weight = scale · (number − zero point).
 * The layout is that of ONNX Runtime's MatMulNBits; the last block of a row is filled up where `in` does not end it.
 */
export interface QuantizedMatrix {
  readonly bits: 4 | 8;
  /** Weights of a row that share a scale: a power of two, 16 or more. */
  readonly blockSize: number;
  readonly out: number;
  readonly in: number;
  /** [out, K, blockSize · bits / 8]; of two 4-bit numbers in a byte the first has the low half. */
  readonly packed: Uint8Array;
  /** [out, K] */
  readonly scales: Float32Array;
  /** [out, ⌈K · bits / 8⌉], packed as the numbers are; left out, they are all 2^(bits − 1). */
  readonly zeroPoints?: Uint8Array;
}

export interface QuantizedLinearOptions {
  /** Whether the rows of x become int8 by blocks too, which is several times faster and a little less exact. */
  readonly activations?: "float32" | "int8";
}

/**
 * x [..., in] · Wᵀ for a quantised W, giving [..., out]. The matrix is part of the program, because the runtime packs
 * only constants for its kernels. It has no gradient: `grad` through it throws `bad_config`.
 *
 * @throws MosError "bad_config" where x or the matrix's parts do not fit its size.
 */
export function quantizedLinear(
  x: Value,
  weight: QuantizedMatrix,
  { activations = "int8" }: QuantizedLinearOptions = {},
): Value {
  const { bits, blockSize, out, in: width, packed, scales, zeroPoints } = weight;
  if (x.shape.at(-1) !== width)
    throw new MosError(
      "bad_config",
      `cannot multiply ${showShape(x.shape)} by [${out}, ${width}] transposed`,
    );
  const blocks = Math.ceil(width / blockSize);
  const parts = [constant(packed, [out, blocks, (blockSize * bits) / 8]), constant(scales, [out, blocks])];
  if (zeroPoints !== undefined) parts.push(constant(zeroPoints, [out, Math.ceil((blocks * bits) / 8)]));
  const y = emit("MatMulNBits", [x, ...parts], {
    ...MICROSOFT,
    shape: [...x.shape.slice(0, -1), out],
    attributes: {
      K: width,
      N: out,
      bits,
      block_size: blockSize,
      accuracy_level: activations === "int8" ? 4 : 1,
    },
  });
  return withGradient(y, [x], () => {
    throw new MosError("bad_config", "a quantised matrix has no gradient; train on the float32 weights");
  });
}
