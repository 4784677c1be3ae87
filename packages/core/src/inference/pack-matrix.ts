// A weight as it is stored → the arrays of a matrix that the runtime packs. Loops over typed arrays: a model has 10⁹ weights.

import { type BlockMatrix, NF4_LEVELS, type Nf4Matrix, type TensorData } from "mixture-of-shards-graph";
import {
  type BlockFormat,
  type Nf4Format,
  type WeightFormat,
  weightBytes,
} from "mixture-of-shards-graph/common";
import { concatBytes, countElements, MosError } from "#common";
import { type ComputeDtype, dequantizeWeight, floatWeight, transposeCodes, type Weight } from "#models";

/** The arrays of a packed matrix, in the place of the constants that it is made of. */
interface Arrays {
  readonly codes: Uint8Array;
  readonly scales: Float32Array;
}
interface BlockArrays extends Omit<BlockMatrix, "codes" | "scales" | "zeroPoints" | "offsets">, Arrays {
  readonly zeroPoints?: Uint8Array | undefined;
  readonly offsets?: Float32Array | undefined;
}
interface Nf4Arrays extends Omit<Nf4Matrix, "codes" | "scales">, Arrays {}
export type MatrixArrays = BlockArrays | Nf4Arrays;

/** Blocks of a matrix without its codes. */
interface Blocks {
  readonly format: BlockFormat;
  readonly out: number;
  readonly width: number;
  /** Blocks of a row. */
  readonly blocks: number;
  /** [out, blocks] */
  readonly scales: Float32Array;
  /** [out, blocks] */
  readonly offsets: Float32Array | undefined;
}

/** Tests whether weights can be rows of one matrix. */
export const canJoin = (weights: readonly Weight[]): boolean =>
  new Set(weights.map(({ format, shape }) => `${JSON.stringify(format)} ${shape[1]}`)).size === 1;

/**
 * Packs weights of one format and width under each other. `computeDtype` is the precision of the product: float32 keeps the
 * values of the weights; int8 rounds offsets to a few bits, and plain weights, NF4 and small blocks to 8 bits.
 *
 * @throws MosError "unsupported" for plain weights that are to be multiplied in float32: those need no packing.
 */
export function packMatrix(weights: readonly Weight[], computeDtype: ComputeDtype): MatrixArrays {
  const [first] = weights;
  if (first === undefined) throw new MosError("bad_config", "there is no weight to pack");
  const { format } = first;
  if (computeDtype === "int8") {
    if (format.kind === "blocks" && format.bits === 4) return packForInt8(joined(weights, format), weights);
    const eight = weights.map(toInt8);
    return packForInt8(joined(eight, (eight[0] as (typeof eight)[0]).format), eight);
  }
  if (format.kind === "nf4") return packNf4(weights, format);
  if (format.kind === "blocks") return packForFloat32(joined(weights, format), weights);
  throw new MosError("unsupported", `a weight stored as ${format.kind} cannot be packed`);
}

/** Plain weights of one format and width under each other: of int8 rows the transposed codes alone, of others their values. */
export function joinPlain(weights: readonly Weight[]): Weight {
  const [out, width] = [countRows(weights), weights[0]?.shape[1] ?? 0];
  if (weights.some(({ format }) => format.kind !== "int8rows"))
    return floatWeight([out, width], joinedFloats(weights.map((one) => dequantizeWeight(one))));
  const transposed = new Int8Array(width * out);
  let at = 0;
  for (const { shape, parts } of weights) {
    const [rows = 0] = shape;
    if (parts.transposed === undefined)
      transposeCodes(parts.codes as Int8Array, shape, { target: transposed, columns: out, at });
    else
      for (let column = 0; column < width; column++)
        transposed.set(
          (parts.transposed as Int8Array).subarray(column * rows, (column + 1) * rows),
          column * out + at,
        );
    at += rows;
  }
  const scales = joinedFloats(weights.map(({ parts }) => floats(parts.scales)));
  return {
    shape: [out, width],
    format: { kind: "int8rows", transposed: true },
    parts: { transposed, scales },
  };
}

/** In int8 the kernels keep scales and sums of blocks beside the codes, and the scales are there once more. */
const inInt8 = (bits: number, block: number): number => bits / 8 + 12 / block;

/** Bytes of one number of a 4-bit matrix; offsets are float32 in float32, columns in int8. */
function fourBitBytes({ blockSize, offsets, zeroPoint }: BlockFormat, computeDtype: ComputeDtype): number {
  if (computeDtype === "int8") return inInt8(4, blockSize) * (offsets ? 1 + 1 / blockSize : 1);
  return 0.5 + (offsets || zeroPoint === 0 ? 8 : 4) / blockSize;
}

/** Bytes of a packed matrix as the runtime holds it in a program. */
export function packedBytes(
  format: WeightFormat,
  shape: readonly number[],
  computeDtype: ComputeDtype,
): number {
  const count = countElements(shape);
  if (format.kind === "blocks" && format.bits === 4) return count * fourBitBytes(format, computeDtype);
  if (computeDtype === "int8")
    return (
      count * inInt8(8, format.kind === "blocks" && format.blockSize === 32 && !format.offsets ? 32 : 64)
    );
  if (format.kind === "blocks") return count * (1 + (format.offsets ? 12 : 8) / format.blockSize);
  return weightBytes(format, shape);
}

/** Rows of weights under each other. */
export const countRows = (weights: readonly Weight[]): number =>
  weights.reduce((sum, { shape: [out = 0] }) => sum + out, 0);

function joined(weights: readonly Weight[], format: BlockFormat): Blocks {
  const width = weights[0]?.shape[1] ?? 0;
  return {
    format,
    width,
    out: countRows(weights),
    blocks: width / format.blockSize,
    scales: joinedFloats(weights.map(({ parts }) => floats(parts.scales))),
    offsets: format.offsets ? joinedFloats(weights.map(({ parts }) => floats(parts.offsets))) : undefined,
  };
}

function floats(data: TensorData | undefined): Float32Array {
  if (data instanceof Float32Array) return data;
  if (!(data instanceof Uint16Array))
    throw new MosError("bad_config", "a weight lacks its scales or offsets");
  return dequantizeWeight({ shape: [data.length], format: { kind: "float16" }, parts: { data } });
}

function joinedFloats(parts: readonly Float32Array[]): Float32Array {
  const [only] = parts;
  if (parts.length === 1 && only !== undefined) return only;
  const all = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function packNf4(weights: readonly Weight[], { blockSize }: Nf4Format): Nf4Arrays {
  const [out, width] = [countRows(weights), weights[0]?.shape[1] ?? 0];
  const codes = concatBytes(weights.map(({ parts }) => parts.codes as Uint8Array));
  const scales = joinedFloats(weights.map(({ parts }) => floats(parts.scales)));
  return { kind: "nf4", blockSize, out, in: width, codes, scales };
}

const common = ({ format: { blockSize }, out, width }: Blocks) =>
  ({ kind: "blocks", blockSize, out, in: width }) as const;

/** Numbers of 4 bits with their offsets as further columns, or of 8 bits. */
function packForInt8(blocks: Blocks, weights: readonly Weight[]): BlockArrays {
  const { format, out, width, scales, offsets } = blocks;
  if (format.bits === 8) {
    const codes = new Uint8Array(out * width);
    fillSigned(weights, codes);
    return { ...common(blocks), bits: 8, columns: "x", codes, scales };
  }
  if (offsets !== undefined)
    return { ...common(blocks), bits: 4, ...offsetColumns(blocks, offsets, weights) };
  const codes = new Uint8Array((out * width) / 2);
  fillNibbles(weights, codes, width / 2);
  const zeroPoints =
    format.zeroPoint === 8
      ? undefined
      : new Uint8Array(out * Math.ceil(blocks.blocks / 2)).fill(format.zeroPoint * 17);
  return { ...common(blocks), bits: 4, columns: "x", codes, scales, zeroPoints };
}

/** Offsets are multiplied in float32; 8 bits are split into two codes of 4, which have a fast product in float32. */
function packForFloat32(blocks: Blocks, weights: readonly Weight[]): BlockArrays {
  const { format, out, width, scales, offsets } = blocks;
  if (format.bits === 8) {
    const codes = new Uint8Array(out * width);
    fillHalves(weights, codes);
    return {
      ...common(blocks),
      bits: 4,
      columns: "x twice",
      codes,
      scales: decodeScales(blocks),
      zeroPoints: decodeZeroPoints(blocks),
      offsets: offsets && blockSums(blocks, offsets, 0),
    };
  }
  const codes = new Uint8Array((out * width) / 2);
  fillNibbles(weights, codes, width / 2);
  // the runtime's own zero point is 8; another one is an offset
  const shift = 8 - format.zeroPoint;
  const rest =
    shift === 0 && offsets === undefined
      ? undefined
      : blockSums(blocks, offsets ?? new Float32Array(scales.length), shift);
  return { ...common(blocks), bits: 4, columns: "x", codes, scales, offsets: rest };
}

/** Factors for the means of x's blocks: (offset + shift · scale) · block size. */
const blockSums = (
  { format: { blockSize }, scales }: Blocks,
  offsets: Float32Array,
  shift: number,
): Float32Array => offsets.map((offset, i) => (offset + shift * (scales[i] as number)) * blockSize);

// Codes as weights store them → codes as MatMulNBits reads them, row by row; of two 4-bit codes the first has the low half.

/** 4-bit codes of the weights at the beginning of each row of `rowBytes`. They are stored by halves of a matrix. */
function fillNibbles(weights: readonly Weight[], target: Uint8Array, rowBytes: number): void {
  let row = 0;
  for (const { shape, parts } of weights) {
    const [out = 0, width = 0] = shape;
    const codes = parts.codes as Uint8Array;
    const half = Math.ceil(out / 2);
    for (let r = 0; r < out; r++, row++) {
      let at = row * rowBytes;
      const shift = r < half ? 0 : 4;
      const begin = (r < half ? r : r - half) * width;
      for (let i = begin; i < begin + width; i += 2)
        target[at++] =
          (((codes[i] as number) >> shift) & 15) | ((((codes[i + 1] as number) >> shift) & 15) << 4);
    }
  }
}

/** 8-bit codes plus 128: of a signed number that is its sign bit, flipped. */
function fillSigned(weights: readonly Weight[], target: Uint8Array): void {
  let at = 0;
  for (const { parts } of weights) {
    const codes = parts.codes as Int8Array;
    for (let i = 0; i < codes.length; i++) target[at++] = (codes[i] as number) ^ 128;
  }
}

/** 8 bits as two codes of 4: of code + 128, a row of high halves and then one of low halves. */
function fillHalves(weights: readonly Weight[], target: Uint8Array): void {
  let at = 0;
  for (const { shape, parts } of weights) {
    const [out = 0, width = 0] = shape;
    const codes = parts.codes as Int8Array;
    for (let r = 0; r < out; r++) {
      const end = (r + 1) * width;
      for (let i = r * width; i < end; i += 2)
        target[at++] = (((codes[i] as number) + 128) >> 4) | (((codes[i + 1] as number) + 128) & 240);
      for (let i = r * width; i < end; i += 2)
        target[at++] = ((codes[i] as number) & 15) | (((codes[i + 1] as number) & 15) << 4);
    }
  }
}

/** 16 s for the high halves of a row, then s for the low ones. */
function decodeScales({ out, blocks, scales }: Blocks): Float32Array {
  const result = new Float32Array(2 * scales.length);
  for (let row = 0; row < out; row++)
    for (let i = 0; i < blocks; i++) {
      const scale = scales[row * blocks + i] as number;
      result[2 * row * blocks + i] = 16 * scale;
      result[(2 * row + 1) * blocks + i] = scale;
    }
  return result;
}

/** code + 128 = 16 high + low, so that high halves are around 8 and low ones around 0. */
function decodeZeroPoints({ out, blocks }: Blocks): Uint8Array {
  const row = Uint8Array.from({ length: 2 * blocks }, (_, i) => (i < blocks ? 8 : 0));
  const packed = packNibbles(row, { rows: 1, width: 2 * blocks });
  const result = new Uint8Array(out * packed.length);
  for (let r = 0; r < out; r++) result.set(packed, r * packed.length);
  return result;
}

/** Numbers from 0 to 15, two in a byte; each row begins with a byte. */
function packNibbles(
  numbers: Uint8Array,
  { rows, width }: { readonly rows: number; readonly width: number },
): Uint8Array {
  const bytes = Math.ceil(width / 2);
  const result = new Uint8Array(rows * bytes);
  for (let row = 0; row < rows; row++)
    for (let i = 0; i < width; i++) {
      const at = row * bytes + (i >> 1);
      result[at] = (result[at] as number) | ((numbers[row * width + i] as number) << (4 * (i & 1)));
    }
  return result;
}

// Weights of other formats as 8-bit codes in blocks of 64, which products in int8 read fastest.

type BlockWeight = Weight & { readonly format: BlockFormat };

/** Elements of the rows that are dequantised at a time: a whole weight may not fit beside its codes. */
const PART = 1 << 22;

const isBlocks = (weight: Weight): weight is BlockWeight => weight.format.kind === "blocks";

/**
 * A weight in 8 bits, a scale for each block. 8-bit codes without offsets in blocks of 32 or more stay as they are; of
 * all others the largest magnitude of a block becomes 127.
 */
function toInt8(weight: Weight): BlockWeight {
  const { format, shape } = weight;
  if (isBlocks(weight) && weight.format.bits === 8 && !weight.format.offsets && weight.format.blockSize >= 32)
    return weight;
  if (format.kind === "nf4") return levelsAsInt8(weight, format);
  const [out = 0, width = 0] = shape;
  const blockSize = blockFor(width);
  const codes = new Int8Array(out * width);
  const scales = new Float32Array((out * width) / blockSize);
  const step = Math.max(1, Math.floor(PART / width));
  for (let begin = 0; begin < out; begin += step) {
    const end = Math.min(out, begin + step);
    const rows = dequantizeWeight(weight, { begin, end });
    const [first, last] = [begin * width, end * width];
    quantizeBlocks(rows, blockSize, {
      codes: codes.subarray(first, last),
      scales: scales.subarray(first / blockSize, last / blockSize),
    });
  }
  return { shape, format: int8Format(blockSize), parts: { codes, scales } };
}

const int8Format = (blockSize: number): BlockFormat => ({
  kind: "blocks",
  bits: 8,
  blockSize,
  zeroPoint: 0,
  scales: "float32",
  offsets: false,
});

/** The sixteen levels rounded to 127ths: no weight has to be looked at. */
function levelsAsInt8({ shape, parts }: Weight, { blockSize }: Nf4Format): BlockWeight {
  const levels = Int8Array.from(NF4_LEVELS, (level) => Math.round(level * 127));
  const packed = parts.codes as Uint8Array;
  const codes = new Int8Array(2 * packed.length);
  for (let i = 0; i < packed.length; i++) {
    const byte = packed[i] as number;
    codes[2 * i] = levels[byte >> 4] as number;
    codes[2 * i + 1] = levels[byte & 15] as number;
  }
  const scales = (parts.scales as Float32Array).map((largest) => largest / 127);
  return { shape, format: int8Format(blockSize), parts: { codes, scales } };
}

function blockFor(width: number): number {
  const size = [64, 32, 16].find((candidate) => width % candidate === 0);
  if (size !== undefined) return size;
  throw new MosError(
    "unsupported",
    `rows of ${width} values cannot be split into blocks of 16, so they cannot be multiplied in int8; compute in float32`,
  );
}

function quantizeBlocks(
  rows: Float32Array,
  blockSize: number,
  { codes, scales }: { readonly codes: Int8Array; readonly scales: Float32Array },
): void {
  for (let block = 0, from = 0; from < rows.length; block++, from += blockSize) {
    let most = 0;
    for (let i = from; i < from + blockSize; i++) most = Math.max(most, Math.abs(rows[i] as number));
    scales[block] = most / 127;
    const inverse = most === 0 ? 0 : 127 / most;
    for (let i = from; i < from + blockSize; i++) codes[i] = Math.round((rows[i] as number) * inverse);
  }
}

// Offsets of 4-bit blocks for products in int8: a whole zero point takes most of one, and what is left is a 4-bit number
// in a column of its own, which meets the mean of the block's inputs. So the product stays one operator.

type Columns = Pick<BlockArrays, "columns" | "codes" | "scales" | "zeroPoints">;

/** The codes of the weights with the columns of their offsets. */
function offsetColumns(
  { format: { blockSize, zeroPoint }, out, width, blocks: first, scales }: Blocks,
  offsets: Float32Array,
  weights: readonly Weight[],
): Columns {
  const blocks = first + Math.ceil(first / blockSize);
  const row = new OffsetRow(blockSize, first);
  const all = new Float32Array(out * blocks);
  const zeros = new Uint8Array(out * blocks);
  const rowBytes = (blocks * blockSize) / 2;
  const codes = new Uint8Array(out * rowBytes);
  fillNibbles(weights, codes, rowBytes);
  for (let r = 0; r < out; r++) {
    const [from, to] = [r * first, (r + 1) * first];
    row.split(scales.subarray(from, to), offsets.subarray(from, to), zeroPoint);
    row.fit();
    all.set(row.scales, r * blocks);
    zeros.set(row.zeros, r * blocks);
    codes.set(packNibbles(row.numbers, { rows: 1, width: first }), r * rowBytes + width / 2);
  }
  return {
    columns: "x and means",
    codes,
    scales: all,
    zeroPoints: packNibbles(zeros, { rows: out, width: blocks }),
  };
}

/** One row: scales and zero points of all its blocks, and the codes of its offsets. */
class OffsetRow {
  readonly scales: Float32Array;
  readonly zeros: Uint8Array;
  readonly numbers: Uint8Array;
  readonly #blockSize: number;
  readonly #rest: Float32Array;

  constructor(blockSize: number, first: number) {
    const blocks = first + Math.ceil(first / blockSize);
    this.#blockSize = blockSize;
    this.scales = new Float32Array(blocks);
    this.zeros = new Uint8Array(blocks);
    this.numbers = new Uint8Array(first);
    this.#rest = new Float32Array(first);
  }

  /** scale · (code − z) + offset = scale · (code − zero) + rest, for the zero from 0 to 15 that leaves least. */
  split(scales: Float32Array, offsets: Float32Array, zeroPoint: number): void {
    this.scales.set(scales);
    for (let i = 0; i < scales.length; i++) {
      const [scale, offset] = [scales[i] as number, offsets[i] as number];
      const zero = scale === 0 ? 8 : Math.max(0, Math.min(15, Math.round(zeroPoint - offset / scale)));
      this.zeros[i] = zero;
      this.#rest[i] = offset + scale * (zero - zeroPoint);
    }
  }

  /** The rests as 4-bit codes, each block of them between its least and its largest. */
  fit(): void {
    const first = this.numbers.length;
    for (let from = 0, block = first; from < first; from += this.#blockSize, block++) {
      const to = Math.min(first, from + this.#blockSize);
      const { step, zero } = fitGrid(this.#rest.subarray(from, to));
      this.zeros[block] = zero;
      // an offset counts for each weight of its block
      this.scales[block] = step * this.#blockSize;
      const inverse = step === 0 ? 0 : 1 / step;
      for (let i = from; i < to; i++) {
        const number = Math.round((this.#rest[i] as number) * inverse) + zero;
        this.numbers[i] = Math.max(0, Math.min(15, number));
      }
    }
  }
}

/** Sixteen steps from the least to the largest of some numbers, with 0 among them. */
function fitGrid(numbers: Float32Array): { readonly step: number; readonly zero: number } {
  let [low, high] = [0, 0];
  for (const x of numbers) {
    if (x < low) low = x;
    else if (x > high) high = x;
  }
  const step = (high - low) / 15;
  return { step, zero: step === 0 ? 8 : Math.round(-low / step) };
}
