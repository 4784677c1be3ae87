// The rows of a weight as a file stores them → a weight in memory, in the same form or another, row by row.

import { countElements } from "#core";
import {
  blockFormats,
  type RowTarget,
  type StoredFormat,
  type StoredType,
  storedFormat,
  type WeightFormat,
  weightParts,
} from "#files";
import type { DType, TensorData } from "#graph";
import { isQuantized, type QuantizedFormat, quantizeRows, transposeCodes } from "./quantize-forms.ts";
import type { Weight } from "./weight.ts";

/** Fills a weight. Rows come in any order, each once. */
export interface RowWriter {
  readonly weight: Weight;
  /** Takes row `row` as its bytes in the file. */
  write(row: number, bytes: Uint8Array): void;
  /** Completes what needs all rows. */
  finish(): void;
}

export interface RowWriterOptions {
  readonly type: StoredType;
  readonly shape: readonly number[];
  /** Numbers of a row as the file has them. */
  readonly width: number;
  /** Added to every number of a vector; 0. */
  readonly plus?: number;
  /** The form of the type, float32, or a quantised one. */
  readonly format: WeightFormat;
  /** Sees the numbers of every row before they are quantised. */
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

/** Rows that become float32. */
function expandRows({ parts }: Weight, { type, width, plus = 0 }: RowWriterOptions): RowWriter["write"] {
  const data = parts.data as Float32Array;
  const { decode } = blockFormats[type];
  return (row, bytes) => {
    const numbers = data.subarray(row * width, (row + 1) * width);
    decode(bytes, numbers);
    if (plus !== 0) for (let i = 0; i < numbers.length; i++) numbers[i] = (numbers[i] ?? 0) + plus;
  };
}

/** Rows that are quantised. */
function quantizedRows(
  { shape, parts }: Weight,
  { type, width, format, onNumbers }: RowWriterOptions & { readonly format: QuantizedFormat },
): RowWriter["write"] {
  const numbers = new Float32Array(width);
  const { decode } = blockFormats[type];
  const quantize = quantizeRows(format, shape, parts);
  return (row, bytes) => {
    decode(bytes, numbers);
    onNumbers(row, numbers);
    quantize(row, numbers);
  };
}

const isSameFormat = (a: WeightFormat, b: WeightFormat): boolean => JSON.stringify(a) === JSON.stringify(b);

/** Tests whether `rowWriter` keeps the numbers exactly when it converts a type to a format. */
export const isLossless = (type: StoredType, format: WeightFormat): boolean =>
  format.kind === "float32" || isSameFormat(format, storedFormat(type).format);

/** A writer of the rows of one weight. */
export function rowWriter(options: RowWriterOptions): RowWriter {
  const { type, shape, format, plus = 0 } = options;
  const weight = emptyWeight(format, shape);
  const stored = storedFormat(type);
  const finish = (): void => {
    const { codes, transposed } = weight.parts;
    if (transposed) transposeCodes(codes as Int8Array, shape, transposed as Int8Array);
  };
  if (plus === 0 && isSameFormat(format, stored.format))
    return { weight, finish, write: copyRows(weight, stored) };
  if (isQuantized(format)) return { weight, finish, write: quantizedRows(weight, { ...options, format }) };
  return { weight, finish, write: expandRows(weight, options) };
}
