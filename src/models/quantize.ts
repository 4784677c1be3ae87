// Weight-only quantisation of a base: settings, and a matrix to what MatMulNBits reads.
import { MosError } from "#core";
import type { QuantizedMatrix } from "#graph";
import { Block, fitBlock4, fitBlock8, packBlock4, packBlock8 } from "./quantize-blocks.ts";

export interface QuantizeSettings {
  readonly bits: 4 | 8;
  /** Weights of a row that share a scale: a power of two, 16 or more. */
  readonly blockSize: number;
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
  int8: { layers: { bits: 8, blockSize: 32 }, head: { bits: 8, blockSize: 32 }, activations: "int8" },
  int4: { layers: { bits: 4, blockSize: 32 }, head: { bits: 8, blockSize: 32 }, activations: "int8" },
};

export interface MatrixSize {
  readonly out: number;
  readonly in: number;
}

const FITS = { 4: fitBlock4, 8: fitBlock8 } as const;
const PACKERS = { 4: packBlock4, 8: packBlock8 } as const;

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
  const { out, in: width, bits, blockSize } = options;
  const blocks = Math.ceil(width / blockSize);
  const blockBytes = (blockSize * bits) / 8;
  const packed = new Uint8Array(out * blocks * blockBytes);
  const scales = new Float32Array(out * blocks);
  const zeroRow = Math.ceil(blocks / 2);
  const zeroPoints = bits === 4 ? new Uint8Array(out * zeroRow) : undefined;
  const fitBlock = FITS[bits];
  const packBlock = PACKERS[bits];
  const block = new Block();
  const target = { packed, offset: 0 };
  for (let row = 0, index = 0; row < out; row++)
    for (let column = 0; column < blocks; column++, index++) {
      block.from = row * width + column * blockSize;
      block.to = Math.min(block.from + blockSize, (row + 1) * width);
      fitBlock(data, block);
      scales[index] = block.scale;
      // the numbers are those nearest to the weights at the scale as it is stored
      block.scale = scales[index] as number;
      target.offset = index * blockBytes;
      packBlock(data, block, target);
      if (zeroPoints !== undefined) {
        const at = row * zeroRow + (column >> 1);
        zeroPoints[at] = (zeroPoints[at] as number) | (block.zeroPoint << ((column & 1) * 4));
      }
    }
  return {
    bits,
    blockSize,
    out,
    in: width,
    packed,
    scales,
    ...(zeroPoints === undefined ? {} : { zeroPoints }),
  };
}

/** The weights that the numbers of a matrix stand for, [out, in]. */
export function dequantizeMatrix(matrix: QuantizedMatrix): Float32Array {
  const { bits, blockSize, out, in: width, packed, scales, zeroPoints } = matrix;
  const blocks = Math.ceil(width / blockSize);
  const rowBytes = (blocks * blockSize * bits) / 8;
  const zeroRow = Math.ceil((blocks * bits) / 8);
  const numberAt = (bytes: Uint8Array, start: number, index: number): number =>
    bits === 8
      ? (bytes[start + index] as number)
      : ((bytes[start + (index >> 1)] as number) >> ((index & 1) * 4)) & 15;
  const data = new Float32Array(out * width);
  for (let row = 0; row < out; row++)
    for (let i = 0; i < width; i++) {
      const block = Math.floor(i / blockSize);
      const zero = zeroPoints === undefined ? 1 << (bits - 1) : numberAt(zeroPoints, row * zeroRow, block);
      const scale = scales[row * blocks + block] as number;
      data[row * width + i] = scale * (numberAt(packed, row * rowBytes, i) - zero);
    }
  return data;
}
