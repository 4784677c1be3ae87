// N rows · in, out widths of the matrix · K blocks per row
import { MosError } from "#core";
import { constant, emit, int64s, MICROSOFT, showShape, type Value, withGradient } from "../value.ts";
import { concat, reshape } from "./shape.ts";

/**
 * A matrix [out, in] of small whole numbers with one scale per block of a row: weight = scale · (number − zero point).
 * The layout is that of ONNX Runtime's MatMulNBits; the last block of a row is filled up where its columns end early.
 */
export interface QuantizedMatrix {
  readonly bits: 4 | 8;
  /** Weights of a row that share a scale: a power of two, 16 or more. */
  readonly blockSize: number;
  readonly out: number;
  readonly in: number;
  /**
   * How many of a row's columns, behind its weights, are offsets: one for each block of weights, to be added to all of
   * them, so that zero points are as good as real-valued; or none. Blocks of weights are then whole.
   */
  readonly offsets: number;
  /** [out, K, blockSize · bits / 8] for K = ⌈(in + offsets) / blockSize⌉; of two 4-bit numbers the first has the low half. */
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

/** x with its sums over blocks behind it: an offset counts once for each weight of its block. */
function withBlockSums(x: Value, { blockSize, offsets }: QuantizedMatrix): Value {
  if (offsets === 0) return x;
  const axis = x.shape.length - 1;
  const blocks = reshape(x, [...x.shape.slice(0, -1), offsets, blockSize]);
  const sums = emit("ReduceSum", [blocks, int64s(axis + 1)], {
    shape: [...x.shape.slice(0, -1), offsets],
    attributes: { keepdims: 0 },
  });
  return concat([x, sums], axis);
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
  const { bits, blockSize, out, in: width, offsets, packed, scales, zeroPoints } = weight;
  if (x.shape.at(-1) !== width)
    throw new MosError(
      "bad_config",
      `cannot multiply ${showShape(x.shape)} by [${out}, ${width}] transposed`,
    );
  const blocks = Math.ceil((width + offsets) / blockSize);
  const parts = [constant(packed, [out, blocks, (blockSize * bits) / 8]), constant(scales, [out, blocks])];
  if (zeroPoints !== undefined) parts.push(constant(zeroPoints, [out, Math.ceil((blocks * bits) / 8)]));
  const y = emit("MatMulNBits", [withBlockSums(x, weight), ...parts], {
    ...MICROSOFT,
    shape: [...x.shape.slice(0, -1), out],
    attributes: {
      K: width + offsets,
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
