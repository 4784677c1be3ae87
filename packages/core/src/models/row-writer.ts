// The rows of a weight as a file stores them → a weight in memory, in the same format or another. Loops over typed arrays: a
// base has up to 10¹⁰ weights.

import { type DType, hadamardRows, type TensorData } from "mixture-of-shards-graph";
import {
  type BlockFormat,
  type Int8RowsFormat,
  isInFile,
  MAX_ROW_CODE,
  type Nf4Format,
  type WeightFormat,
  weightParts,
} from "mixture-of-shards-graph/common";
import { countElements } from "#common";
import {
  blockFormats,
  decodeFloat16,
  encodeFloat16,
  type RowTarget,
  type StoredFormat,
  type StoredType,
  storedFormat,
} from "#files";
import { absMax, Block, fitLine, halfByteCodes, nf4Codes, signedCodes } from "./quantize-blocks.ts";
import type { Weight } from "./weight.ts";

/** Fills a weight. Rows come in any order, each once. */
interface RowWriter {
  readonly weight: Weight;
  /** Takes row `row` as its bytes in the file. */
  write(row: number, bytes: Uint8Array): void;
  /** Completes what needs all rows. */
  finish(): void;
}

/** Rows as a file has them. */
interface RowForm {
  readonly type: StoredType;
  /** Numbers of a row. */
  readonly width: number;
  /** What a number of a vector means; undefined where it is the weight's. */
  readonly value?: ((stored: number) => number) | undefined;
  /** The place of each of equal runs of columns; undefined where their order is the same. */
  readonly columns?: readonly number[] | undefined;
}

interface RowWriterOptions extends RowForm {
  readonly shape: readonly number[];
  /** The format of the type, float32, or a quantised one. */
  readonly format: WeightFormat;
  /** Sees the values of every row before they are quantised. */
  readonly onNumbers: (row: number, numbers: Float32Array) => void;
}

const ARRAYS: Readonly<Partial<Record<DType, new (length: number) => TensorData>>> = {
  float32: Float32Array,
  float16: Uint16Array,
  uint16: Uint16Array,
  uint8: Uint8Array,
  int8: Int8Array,
};

/** The weight with all its tensors, full of zeros. */
function emptyWeight(format: WeightFormat, shape: readonly number[]): Weight {
  if (isInFile(format)) return { shape, format, parts: {} };
  const parts = weightParts(format, shape).map(({ part, shape: size, dtype }) => {
    const array = ARRAYS[dtype] ?? Uint8Array;
    return [part, new array(countElements(size))] as const;
  });
  return { shape, format, parts: Object.fromEntries(parts) };
}

const viewBytes = (data: TensorData): Uint8Array =>
  new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

/** Rows that stay what they are: bytes are copied, blocks are taken apart. */
function copyRows(weight: Weight, { unpack, format }: StoredFormat): RowWriter["write"] {
  const { shape, parts } = weight;
  const [out = 0, width = 0] = shape;
  if (unpack === undefined) {
    const target = viewBytes(parts.data as TensorData);
    return (row, bytes) => target.set(bytes, row * bytes.length);
  }
  const half = Math.ceil(out / 2);
  const blocks = width / format.blockSize;
  const { codes, scales, offsets } = parts as Pick<RowTarget, "codes" | "scales" | "offsets">;
  return (row, bytes) => {
    const isHigh = format.bits === 4 && row >= half;
    unpack(bytes, {
      codes,
      scales,
      offsets,
      block: row * blocks,
      shift: isHigh ? 4 : 0,
      start: (isHigh ? row - half : row) * width,
    });
  };
}

/** Puts runs of a row where they belong. */
function placeRuns(row: Uint8Array, places: readonly number[]): void {
  const before = row.slice();
  const run = row.length / places.length;
  for (const [i, place] of places.entries()) row.set(before.subarray(i * run, (i + 1) * run), place * run);
}

/** The same in all rows of all parts of a weight. */
function placeColumns({ format, shape, parts }: Weight, places: readonly number[]): void {
  for (const {
    part,
    shape: [rows = 1],
  } of weightParts(format, shape)) {
    const bytes = viewBytes(parts[part] as TensorData);
    const size = bytes.length / rows;
    for (let at = 0; at < bytes.length; at += size) placeRuns(bytes.subarray(at, at + size), places);
  }
}

/** The format of a type; float32 where runs of columns have to move that are no whole blocks. */
export function placeableFormat(
  format: StoredFormat["format"],
  { shape, columns }: Pick<RowWriterOptions, "shape" | "columns">,
): StoredFormat["format"] {
  const run = (shape[1] ?? 1) / (columns?.length ?? 1);
  return format.kind === "blocks" && run % format.blockSize !== 0 ? { kind: "float32" } : format;
}

/** Decodes whole rows into the weight's numbers. */
export function rowDecoder({
  type,
  width,
  value,
  columns,
}: RowForm): (bytes: Uint8Array, target: Float32Array) => void {
  const { decode } = blockFormats[type];
  return (bytes, target) => {
    decode(bytes, target);
    if (value !== undefined) for (let i = 0; i < target.length; i++) target[i] = value(target[i] as number);
    if (columns !== undefined)
      for (let at = 0; at < target.length; at += width)
        placeRuns(viewBytes(target.subarray(at, at + width)), columns);
  };
}

/** Rows that become float32. */
function expandRows({ parts }: Weight, options: RowWriterOptions): RowWriter["write"] {
  const data = parts.data as Float32Array;
  const { width } = options;
  const decode = rowDecoder(options);
  return (row, bytes) => decode(bytes, data.subarray(row * width, (row + 1) * width));
}

/** Rows that are seen, and stay where they are. */
function seenRows({ onNumbers, ...form }: RowForm & Pick<RowWriterOptions, "onNumbers">): RowWriter["write"] {
  const numbers = new Float32Array(form.width);
  const decode = rowDecoder(form);
  return (row, bytes) => {
    decode(bytes, numbers);
    onNumbers(row, numbers);
  };
}

/** Rows that are quantised. */
function quantizedRows(
  { shape, parts }: Weight,
  { format, onNumbers, ...form }: RowWriterOptions & { readonly format: QuantizedFormat },
): RowWriter["write"] {
  const quantize = quantizeRows(format, shape, parts);
  return seenRows({
    ...form,
    onNumbers(row, numbers) {
      onNumbers(row, numbers);
      quantize(row, numbers);
    },
  });
}

const isSameFormat = (a: WeightFormat, b: WeightFormat): boolean => JSON.stringify(a) === JSON.stringify(b);

/** Tests whether `rowWriter` converts a type to a format without loss. */
export const isLossless = (type: StoredType, format: WeightFormat): boolean =>
  !isInFile(format) && (format.kind === "float32" || isSameFormat(format, storedFormat(type).format));

/** A writer of the rows of one weight. */
export function rowWriter(options: RowWriterOptions): RowWriter {
  const { type, shape, format, value, columns } = options;
  const weight = emptyWeight(format, shape);
  const stored = storedFormat(type);
  const finish = (): void => {
    const { codes, transposed } = weight.parts;
    if (transposed) transposeCodes(codes as Int8Array, shape, { target: transposed as Int8Array });
  };
  if (value === undefined && isSameFormat(format, stored.format)) {
    const place = (): void => columns && placeColumns(weight, columns);
    return { weight, finish: place, write: copyRows(weight, stored) };
  }
  if (isInFile(format)) return { weight, finish, write: seenRows(options) };
  if (isQuantized(format)) return { weight, finish, write: quantizedRows(weight, { ...options, format }) };
  return { weight, finish, write: expandRows(weight, options) };
}

type QuantizedFormat = BlockFormat | Nf4Format | Int8RowsFormat;

const isQuantized = (format: WeightFormat): format is QuantizedFormat =>
  format.kind === "blocks" || format.kind === "nf4" || format.kind === "int8rows";

type Parts = Readonly<Partial<Record<string, TensorData>>>;

/** Quantises row `row` of a matrix into the matrix's parts. Its values may be overwritten. */
type QuantizeRow = (row: number, numbers: Float32Array) => void;

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

/** Codes from 0 to 15 with the scale and offset of least squared error for each block, in halves. */
function fourBitRows(
  {
    codes,
    scales,
    offsets,
  }: { readonly codes: Uint8Array; readonly scales: Uint16Array; readonly offsets: Uint16Array },
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
function quantizeRows(format: QuantizedFormat, shape: readonly number[], parts: Parts): QuantizeRow {
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

/** Writes codes [out, in] as the columns from `at` on of a matrix [in, columns], tile by tile, so that both stay in the cache. */
export function transposeCodes(
  codes: Int8Array,
  [out = 0, width = 0]: readonly number[],
  { target, columns = out, at = 0 }: { target: Int8Array; columns?: number; at?: number },
): void {
  for (let row = 0; row < out; row += TILE)
    for (let column = 0; column < width; column += TILE) {
      const [lastRow, lastColumn] = [Math.min(out, row + TILE), Math.min(width, column + TILE)];
      for (let k = column; k < lastColumn; k++)
        for (let r = row; r < lastRow; r++) target[k * columns + at + r] = codes[r * width + k] as number;
    }
}
