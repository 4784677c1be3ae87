// Products with matrices that the runtime packs for its kernels when a program is opened: those of inference.
// N rows · in, out widths of the matrix · K blocks per row
import { MosError } from "../error.ts";
import { emit, MICROSOFT, showShape, type Value, withGradient } from "../value.ts";
import { add } from "./elementwise.ts";
import { matmul } from "./linear.ts";
import { type Nf4Matrix, nf4Product } from "./quantised.ts";
import { concat, reshape } from "./shape.ts";

/**
 * A matrix [out, in] as MatMulNBits reads it, whole numbers with a scale for each block of a row:
 * weight = scale · (number − zero point) + offset. All parts are constants.
 */
export interface BlockMatrix {
  readonly kind: "blocks";
  /** Bits of a number. */
  readonly bits: 4 | 8;
  /** Columns of a row that share a scale: a power of two, 16 or more. */
  readonly blockSize: number;
  readonly out: number;
  readonly in: number;
  /**
   * Operand of a row's columns: x; x twice, for 8-bit numbers whose high halves are followed by their low halves;
   * or x and the means of its blocks, for offsets that are columns, too.
   */
  readonly columns: "x" | "x twice" | "x and means";
  /** [out, K, blockSize · bits / 8] uint8; of two 4-bit numbers the first has the low half. */
  readonly codes: Value;
  /** [out, K] */
  readonly scales: Value;
  /** [out, ⌈K · bits / 8⌉] uint8, packed as the numbers are; left out, 2^(bits − 1). */
  readonly zeroPoints?: Value | undefined;
  /** The offset of each block times its size, float32 [out, in / blockSize]; they are multiplied in float32. */
  readonly offsets?: Value | undefined;
}

/** A matrix [out, in] in a layout that the runtime packs for its kernels. All parts are constants. */
export type PackedMatrix = BlockMatrix | Nf4Matrix;

/** The precision of the product. */
interface PackedLinearOptions {
  /** int8 quantises the rows of x by blocks: several times faster, and less exact. NF4 knows only float32. */
  readonly computeDtype?: "float32" | "int8";
}

/** Means of the blocks of x, which one pooling operator computes from [R, S, in]. */
function blockMeans(x: Value, { blockSize, in: width }: BlockMatrix): Value {
  const rows = x.shape.slice(0, -1);
  const isGrid = rows.length === 2;
  const grid = isGrid ? x : reshape(x, [1, ...x.shape]);
  const means = emit("AveragePool", [grid], {
    shape: [...grid.shape.slice(0, -1), width / blockSize],
    attributes: { kernel_shape: [blockSize], strides: [blockSize] },
  });
  return isGrid ? means : reshape(means, [...rows, width / blockSize]);
}

function blockProduct(x: Value, matrix: BlockMatrix, computeDtype: "float32" | "int8"): Value {
  const { bits, blockSize, out, columns, codes, scales, zeroPoints, offsets } = matrix;
  const means = columns === "x and means" || offsets !== undefined ? blockMeans(x, matrix) : undefined;
  const last = x.shape.length - 1;
  const operand =
    columns === "x twice"
      ? concat([x, x], last)
      : columns === "x and means" && means !== undefined
        ? concat([x, means], last)
        : x;
  const parts = [codes, scales, ...(zeroPoints === undefined ? [] : [zeroPoints])];
  const y = emit("MatMulNBits", [operand, ...parts], {
    ...MICROSOFT,
    shape: [...x.shape.slice(0, -1), out],
    attributes: {
      K: operand.shape.at(-1) as number,
      N: out,
      bits,
      block_size: blockSize,
      accuracy_level: computeDtype === "int8" ? 4 : 1,
    },
  });
  if (offsets === undefined || means === undefined) return y;
  return add(y, matmul(means, offsets, { transposeB: true }));
}

/**
 * x [..., in] · Wᵀ for a packed W, giving [..., out]. It has no gradient: `grad` through it throws `bad_config`.
 *
 * @throws MosError `bad_config` where x does not fit the matrix.
 */
export function packedLinear(
  x: Value,
  matrix: PackedMatrix,
  { computeDtype = "float32" }: PackedLinearOptions = {},
): Value {
  if (x.shape.at(-1) !== matrix.in)
    throw new MosError(
      "bad_config",
      `cannot multiply ${showShape(x.shape)} by [${matrix.out}, ${matrix.in}] transposed`,
    );
  const y = matrix.kind === "nf4" ? nf4Product(x, matrix) : blockProduct(x, matrix, computeDtype);
  return withGradient(y, [x], () => {
    throw new MosError(
      "bad_config",
      "a packed matrix has no gradient; train on the weights as they are stored",
    );
  });
}
