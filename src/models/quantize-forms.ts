// Rows of float32 numbers → the codes and scales of a form. Loops over typed arrays: a base has up to 10¹⁰ weights.
import {
  type BlockFormat,
  decodeFloat16,
  encodeFloat16,
  type Int8RowsFormat,
  MAX_ROW_CODE,
  type Nf4Format,
  type WeightFormat,
} from "#files";
import { hadamardRows, type TensorData } from "#graph";
import { nf4Codes } from "./nf4.ts";
import { absMax, Block, fitLine, halfByteCodes, signedCodes } from "./quantize-blocks.ts";

export type QuantizedFormat = BlockFormat | Nf4Format | Int8RowsFormat;

export const isQuantized = (format: WeightFormat): format is QuantizedFormat =>
  format.kind === "blocks" || format.kind === "nf4" || format.kind === "int8rows";

type Parts = Readonly<Partial<Record<string, TensorData>>>;

/** Quantises row `row` of a matrix into the matrix's parts. Its numbers may be overwritten. */
export type QuantizeRow = (row: number, numbers: Float32Array) => void;

/** Codes with a scale for each block, whose largest weight becomes ±`largest`. */
function signedRows(
  { codes, scales }: { readonly codes: Int8Array; readonly scales: Float32Array },
  { blockSize, largest }: { readonly blockSize: number; readonly largest: number },
): QuantizeRow {
  const block = new Block();
  const target = { codes, at: 0, shift: 0 };
  return (row, numbers) => {
    target.at = row * numbers.length;
    let index = target.at / blockSize;
    for (block.from = 0; block.from < numbers.length; block.from = block.to, index++) {
      block.to = block.from + blockSize;
      scales[index] = absMax(numbers, block) / largest;
      block.scale = scales[index] as number; // as it is stored
      signedCodes(numbers, block, target);
      target.at += blockSize;
    }
  };
}

interface FourBitParts {
  readonly codes: Uint8Array;
  readonly scales: Uint16Array;
  readonly offsets: Uint16Array;
}

/** Codes from 0 to 15 with the scale and offset of least squared error for each block, in halves. */
function fourBitRows(
  { codes, scales, offsets }: FourBitParts,
  { blockSize, shape: [out = 0, width = 0] }: BlockFormat & { readonly shape: readonly number[] },
): QuantizeRow {
  const block = new Block();
  const half = Math.ceil(out / 2);
  const blocks = width / blockSize;
  const target = { codes, at: 0, shift: 0 };
  const steps = new Float32Array(blocks);
  const bases = new Float32Array(blocks);
  return (row, numbers) => {
    for (let i = 0; i < blocks; i++) {
      block.from = i * blockSize;
      block.to = block.from + blockSize;
      fitLine(numbers, block);
      steps[i] = block.scale;
      bases[i] = block.offset;
    }
    const [stepBits, baseBits] = [encodeFloat16(steps), encodeFloat16(bases)];
    scales.set(stepBits, row * blocks);
    offsets.set(baseBits, row * blocks);
    // the codes are the nearest at the scale and offset as they are stored
    decodeFloat16(stepBits, steps);
    decodeFloat16(baseBits, bases);
    target.shift = row < half ? 0 : 4;
    target.at = (row < half ? row : row - half) * width;
    for (let i = 0; i < blocks; i++) {
      block.from = i * blockSize;
      block.to = block.from + blockSize;
      block.scale = steps[i] as number;
      block.offset = bases[i] as number;
      halfByteCodes(numbers, block, target);
      target.at += blockSize;
    }
  };
}

/** Creates a quantizer of a matrix's rows into its parts, which are zero at first. */
export function quantizeRows(format: QuantizedFormat, shape: readonly number[], parts: Parts): QuantizeRow {
  const [, width = 0] = shape;
  const codes = parts["codes"];
  const scales = parts["scales"];
  const signed = { codes: codes as Int8Array, scales: scales as Float32Array };
  switch (format.kind) {
    case "int8rows": {
      const quantize = signedRows(signed, { blockSize: width, largest: MAX_ROW_CODE });
      return (row, numbers) => {
        hadamardRows(numbers, width);
        quantize(row, numbers);
      };
    }
    case "nf4": {
      const [bytes, absmax] = [codes as Uint8Array, scales as Float32Array];
      return (row, numbers) => nf4Codes(numbers, { row, blockSize: format.blockSize, bytes, absmax });
    }
    case "blocks":
      if (format.bits === 8) return signedRows(signed, { ...format, largest: 127 });
      return fourBitRows(
        {
          codes: codes as Uint8Array,
          scales: scales as Uint16Array,
          offsets: parts["offsets"] as Uint16Array,
        },
        { ...format, shape },
      );
  }
}

const TILE = 64;

/** The transpose [in, out] of codes [out, in], tile by tile, so that both stay in the cache. */
export function transposeCodes(
  codes: Int8Array,
  [out = 0, width = 0]: readonly number[],
  target: Int8Array,
): void {
  for (let row = 0; row < out; row += TILE)
    for (let column = 0; column < width; column += TILE) {
      const [lastRow, lastColumn] = [Math.min(out, row + TILE), Math.min(width, column + TILE)];
      for (let k = column; k < lastColumn; k++)
        for (let r = row; r < lastRow; r++) target[k * out + r] = codes[r * width + k] as number;
    }
}
