// N rows · in, out widths of the matrix · K blocks per row
import { MosError } from "#core";
import { constant, emit, MICROSOFT, showShape, type Value, withGradient } from "../value.ts";
import { concat, reshape } from "./shape.ts";

/**
 * A matrix [out, in] in block-wise quantised form, one scale per block of a row: weight = scale · (number − zero point).
 * The layout is that of ONNX Runtime's MatMulNBits; the last block of a row is padded.
 */
export interface QuantizedMatrix {
  /** Bits of a number. */
  readonly bits: 4 | 8;
  /** Weights of a row that share a scale: a power of two, 16 or more. */
  readonly blockSize: number;
  /** Rows. */
  readonly out: number;
  /** Columns. */
  readonly in: number;
  /**
   * Columns after the weights of a row that hold offsets, one per block of weights, which is added to each of them: in
   * effect, real-valued zero points. 0 for none; where there are some, every block of weights is full.
   */
  readonly offsets: number;
  /** [out, K, blockSize · bits / 8] for K = ⌈(in + offsets) / blockSize⌉; of two 4-bit numbers the first has the low half. */
  readonly packed: Uint8Array;
  /** [out, K] */
  readonly scales: Float32Array;
  /** [out, ⌈K · bits / 8⌉], packed as the numbers are; 2^(bits − 1) for all where it is left out. */
  readonly zeroPoints?: Uint8Array;
}

/** The precision of the product. */
export interface QuantizedLinearOptions {
  /** int8 (the default) quantises the rows of x by blocks, too: several times faster and a little less exact. */
  readonly activations?: "float32" | "int8";
}

/** x followed by the means of its blocks, which one pooling operator computes from [R, S, in]. */
function withBlockMeans(x: Value, { blockSize, offsets }: QuantizedMatrix): Value {
  const rows = x.shape.slice(0, -1);
  const isGrid = rows.length === 2;
  const grid = isGrid ? x : reshape(x, [1, ...x.shape]);
  const means = emit("AveragePool", [grid], {
    shape: [...grid.shape.slice(0, -1), offsets],
    attributes: { kernel_shape: [blockSize], strides: [blockSize] },
  });
  return concat([x, isGrid ? means : reshape(means, [...rows, offsets])], rows.length);
}

/** An offset applies to each weight of its block, so the mean that it multiplies is scaled by the block's size. */
function scalesOfMeans({ scales, blockSize, in: width, offsets }: QuantizedMatrix): Float32Array {
  const [blocks, first] = [Math.ceil((width + offsets) / blockSize), width / blockSize];
  return scales.map((scale, i) => (i % blocks < first ? scale : scale * blockSize));
}

/**
 * x [..., in] · Wᵀ for a quantised W, giving [..., out]. The matrix is part of the program, because the runtime packs
 * only constants for its kernels. It has no gradient: `grad` through it throws `bad_config`.
 *
 * @throws MosError `bad_config` where x or the matrix's parts do not fit its size.
 */
export function quantizedLinear(
  x: Value,
  weight: QuantizedMatrix,
  { activations = "int8" }: QuantizedLinearOptions = {},
): Value {
  const { bits, blockSize, out, in: width, offsets, packed, zeroPoints } = weight;
  if (x.shape.at(-1) !== width)
    throw new MosError(
      "bad_config",
      `cannot multiply ${showShape(x.shape)} by [${out}, ${width}] transposed`,
    );
  const blocks = Math.ceil((width + offsets) / blockSize);
  const scales = offsets > 0 ? scalesOfMeans(weight) : weight.scales;
  const parts = [constant(packed, [out, blocks, (blockSize * bits) / 8]), constant(scales, [out, blocks])];
  if (zeroPoints !== undefined) parts.push(constant(zeroPoints, [out, Math.ceil((blocks * bits) / 8)]));
  const y = emit("MatMulNBits", [offsets > 0 ? withBlockMeans(x, weight) : x, ...parts], {
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
