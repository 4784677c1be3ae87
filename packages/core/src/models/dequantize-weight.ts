// Values of a stored weight, computed on the host.

import { hadamardRows, NF4_LEVELS, type TensorData } from "mixture-of-shards-graph";
import {
  type BlockFormat,
  float16Value,
  type Int8RowsFormat,
  type Nf4Format,
} from "mixture-of-shards-graph/common";
import { countElements } from "#common";
import { decodeBfloat16, decodeFloat16 } from "#files";
import { floatData, type Weight } from "./weight.ts";

const LEVELS = Float32Array.from(NF4_LEVELS);

/** Whole rows of a matrix: `begin` … `end` − 1. */
interface RowRange {
  readonly begin: number;
  readonly end: number;
}

/**
 * The values of a weight as float32, all of them or those of some rows, [rows, in]: a copy. Each step is
 * rounded to float32, as the same steps in a graph are; for GGUF's types the product is exact, so only the sum rounds.
 */
export function dequantizeWeight(weight: Weight, rows?: RowRange): Float32Array {
  const { shape, format, parts } = weight;
  const count = countElements(shape);
  const out = shape[0] ?? 1;
  const width = shape.length > 1 ? count / out : 1;
  const { begin, end } = rows ?? { begin: 0, end: out };
  switch (format.kind) {
    case "float32":
      return floatData(weight).slice(begin * width, end * width);
    case "float16":
    case "bfloat16": {
      const bits = (parts.data as Uint16Array).subarray(begin * width, end * width);
      const target = new Float32Array(bits.length);
      return format.kind === "float16" ? decodeFloat16(bits, target) : decodeBfloat16(bits, target);
    }
    case "blocks":
      return readBlocks({ weight, format, out, width, begin, end });
    case "nf4":
      return readNf4({ weight, format, out, width, begin, end });
    case "int8rows":
      return readInt8Rows({ weight, format, out, width, begin, end });
  }
}

const BFLOAT_BITS = new Uint32Array(1);
const BFLOAT = new Float32Array(BFLOAT_BITS.buffer);

/** One value of a plain weight or of one in blocks, by its index, as `dequantizeWeight` gives it. */
export function numberAt({ shape, format, parts }: Weight, index: number): number {
  if (format.kind !== "blocks") {
    const bits = parts.data?.[index] as number;
    if (format.kind === "float32") return bits;
    if (format.kind === "float16") return float16Value(bits);
    BFLOAT_BITS[0] = bits << 16;
    return BFLOAT[0] as number;
  }
  const [out = 0, width = 0] = shape;
  const row = Math.floor(index / width);
  const isHigh = format.bits === 4 && row >= Math.ceil(out / 2);
  const at = isHigh ? index - Math.ceil(out / 2) * width : index;
  const stored = parts.codes?.[at] as number;
  const code = format.bits === 8 ? stored : isHigh ? stored >> 4 : stored & 15;
  const block = Math.floor(index / format.blockSize);
  const at32 = (data: TensorData): number =>
    data instanceof Float32Array ? (data[block] as number) : float16Value(data[block] as number);
  const scaled = Math.fround(at32(parts.scales as TensorData) * (code - format.zeroPoint));
  return parts.offsets ? Math.fround(scaled + at32(parts.offsets)) : scaled;
}

interface Reading<Form> extends RowRange {
  readonly weight: Weight;
  readonly format: Form;
  readonly out: number;
  readonly width: number;
}

/** Scales or offsets of some blocks as float32. */
function floats(data: TensorData, begin: number, end: number): Float32Array {
  if (data instanceof Float32Array) return data.subarray(begin, end);
  return decodeFloat16((data as Uint16Array).subarray(begin, end), new Float32Array(end - begin));
}

/** Row `row` of the codes less the zero point. */
function readCodes(
  { parts }: Weight,
  row: number,
  { bits, zeroPoint, out, target }: BlockFormat & { readonly out: number; readonly target: Float32Array },
): void {
  const codes = parts.codes as Uint8Array | Int8Array;
  const width = target.length;
  const half = Math.ceil(out / 2);
  const isHigh = bits === 4 && row >= half;
  const start = (isHigh ? row - half : row) * width;
  const shift = isHigh ? 4 : 0;
  const mask = bits === 4 ? 15 : -1;
  for (let k = 0; k < width; k++) target[k] = (((codes[start + k] as number) >> shift) & mask) - zeroPoint;
}

function readBlocks({ weight, format, out, width, begin, end }: Reading<BlockFormat>): Float32Array {
  const { scales: scaleData, offsets: offsetData } = weight.parts;
  const blocks = width / format.blockSize;
  const scales = floats(scaleData as TensorData, begin * blocks, end * blocks);
  const offsets = offsetData && floats(offsetData, begin * blocks, end * blocks);
  const result = new Float32Array((end - begin) * width);
  for (let row = begin; row < end; row++) {
    const at = (row - begin) * width;
    readCodes(weight, row, { ...format, out, target: result.subarray(at, at + width) });
  }
  for (let block = 0, i = 0; i < result.length; block++) {
    const scale = scales[block] as number;
    const stop = i + format.blockSize;
    for (let k = i; k < stop; k++) result[k] = (result[k] as number) * scale;
    if (offsets)
      for (let k = i; k < stop; k++) result[k] = (result[k] as number) + (offsets[block] as number);
    i = stop;
  }
  return result;
}

function readNf4({ weight: { parts }, format, width, begin, end }: Reading<Nf4Format>): Float32Array {
  const codes = parts.codes as Uint8Array;
  const scales = parts.scales as Float32Array;
  const result = new Float32Array((end - begin) * width);
  for (let i = 0, at = (begin * width) / 2; i < result.length; i += 2, at++) {
    const byte = codes[at] as number;
    const scale = scales[Math.floor((begin * width + i) / format.blockSize)] as number;
    result[i] = (LEVELS[byte >> 4] as number) * scale;
    result[i + 1] = (LEVELS[byte & 15] as number) * scale;
  }
  return result;
}

function readInt8Rows({ weight: { parts }, width, begin, end }: Reading<Int8RowsFormat>): Float32Array {
  const codes = parts.codes as Int8Array;
  const scales = parts.scales as Float32Array;
  const result = new Float32Array((end - begin) * width);
  for (let row = begin, at = 0; row < end; row++) {
    const scale = scales[row] as number;
    for (let k = 0; k < width; k++, at++) result[at] = scale * (codes[row * width + k] as number);
  }
  hadamardRows(result, width, { inverse: true });
  return result;
}
