// Weight-only quantisation of a base: settings, and a matrix to what MatMulNBits reads.
import { MosError } from "#core";
import type { QuantizedMatrix } from "#graph";
import { MatrixWriter, readRow } from "./quantize-rows.ts";

export interface QuantizeSettings {
  readonly bits: 4 | 8;
  /** Weights of a row that share a scale: a power of two, 16 or more. */
  readonly blockSize: number;
  /** At 4 bits: blocks have offsets, which is much closer; where the blocks divide the rows. */
  readonly offsets?: boolean;
}

/** How a base is quantised: its linear layers, and the head with the rows of a tied embedding. */
export interface Quantization {
  readonly layers: QuantizeSettings;
  readonly head: QuantizeSettings;
  /** What the rows that meet the weights become inside the product. */
  readonly activations: "float32" | "int8";
}

export type QuantizationName = "int8" | "int4";

/** The two ways to quantise a base. `npm run verify:quantization` measures what they cost in quality. */
export const QUANTIZATION: Readonly<Record<QuantizationName, Quantization>> = {
  int8: { layers: { bits: 8, blockSize: 64 }, head: { bits: 8, blockSize: 64 }, activations: "int8" },
  int4: {
    layers: { bits: 4, blockSize: 32, offsets: true },
    head: { bits: 8, blockSize: 64 },
    activations: "int8",
  },
};

export interface MatrixSize {
  readonly out: number;
  readonly in: number;
}

function checkSettings(data: Float32Array, options: MatrixSize & QuantizeSettings): void {
  const { out, in: width, blockSize } = options;
  if (data.length !== out * width)
    throw new MosError(
      "bad_config",
      `a matrix [${out}, ${width}] has ${out * width} numbers, not ${data.length}`,
    );
  if (blockSize < 16 || !Number.isInteger(Math.log2(blockSize)))
    throw new MosError("bad_config", `the block size is ${blockSize}; it must be 16, 32, 64 and so on`);
}

/**
 * Quantises a matrix [out, in] by blocks of a row: 4 bits with a zero point for each block, 8 bits around zero.
 * Scales have the least squared error among some candidates. Weights must be finite, as those of a loaded model are.
 *
 * @throws MosError "bad_config" where the data are not the matrix's, or the block size cannot be.
 * @example
 * const matrix = quantizeMatrix(weight.data, { out: 576, in: 1536, ...QUANTIZATION.int4.layers });
 */
export function quantizeMatrix(data: Float32Array, options: MatrixSize & QuantizeSettings): QuantizedMatrix {
  checkSettings(data, options);
  const writer = new MatrixWriter(options);
  for (let row = 0; row < options.out; row++) writer.write(data, row);
  return writer.matrix;
}

/** The weights that the numbers of some rows of a matrix stand for, [rows, in]; all rows where none are named. */
export function dequantizeRows(matrix: QuantizedMatrix, rows?: Int32Array): Float32Array {
  const { in: width, out } = matrix;
  const count = rows?.length ?? out;
  const data = new Float32Array(count * width);
  for (let i = 0; i < count; i++) readRow(matrix, rows?.[i] ?? i, data.subarray(i * width, (i + 1) * width));
  return data;
}
