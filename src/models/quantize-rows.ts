// A quantised matrix by rows: the blocks of its weights, followed by the blocks of their offsets.
import type { QuantizedMatrix } from "#graph";
import {
  Block,
  fitBlock4,
  fitBlock4WithOffset,
  fitBlock8,
  packBlock4,
  packBlock8,
} from "./quantize-blocks.ts";

interface Layout {
  readonly bits: 4 | 8;
  readonly blockSize: number;
  readonly out: number;
  readonly in: number;
}

/** Blocks of a row, and the bytes of their numbers and zero points. */
function rowSizes({ bits, blockSize, in: width, offsets }: Layout & { readonly offsets: number }) {
  const blocks = Math.ceil((width + offsets) / blockSize);
  const blockBytes = (blockSize * bits) / 8;
  return { blocks, blockBytes, zeroBytes: Math.ceil((blocks * bits) / 8) };
}

const numberAt = (bytes: Uint8Array, start: number, index: number): number =>
  ((bytes[start + (index >> 1)] as number) >> ((index & 1) * 4)) & 15;

/** What a column of a row stands for: a weight without its offset, or an offset. */
function storedValue(matrix: QuantizedMatrix, row: number, column: number): number {
  const { bits, blockSize, packed, scales, zeroPoints } = matrix;
  const { blocks, blockBytes, zeroBytes } = rowSizes(matrix);
  const block = Math.floor(column / blockSize);
  const scale = scales[row * blocks + block] as number;
  const start = row * blocks * blockBytes;
  if (bits === 8) return scale * ((packed[start + column] as number) - 128);
  const zero = zeroPoints === undefined ? 8 : numberAt(zeroPoints, row * zeroBytes, block);
  return scale * (numberAt(packed, start, column) - zero);
}

/** The weights that the numbers of a row stand for. */
export function readRow(matrix: QuantizedMatrix, row: number, weights: Float32Array): void {
  const { blockSize, in: width, offsets } = matrix;
  for (let k = 0; k < width; k++) weights[k] = storedValue(matrix, row, k);
  for (let i = 0; i < offsets; i++) {
    const offset = storedValue(matrix, row, width + i);
    for (let k = i * blockSize; k < (i + 1) * blockSize; k++) weights[k] = (weights[k] as number) + offset;
  }
}

/** Quantises a matrix row after row. */
export class MatrixWriter {
  readonly matrix: QuantizedMatrix;
  private readonly sizes: ReturnType<typeof rowSizes>;
  /** The row's weights and offsets. */
  private readonly row: Float32Array;
  private readonly block = new Block();
  private readonly target: { readonly packed: Uint8Array; offset: number };

  constructor({ offsets = false, ...layout }: Layout & { readonly offsets?: boolean }) {
    const { bits, blockSize, out, in: width } = layout;
    // offsets are small beside weights, and would be lost in one block with some
    const count = offsets && bits === 4 && width % blockSize === 0 ? width / blockSize : 0;
    this.sizes = rowSizes({ ...layout, offsets: count });
    const { blocks, blockBytes, zeroBytes } = this.sizes;
    const packed = new Uint8Array(out * blocks * blockBytes);
    this.matrix = {
      ...{ bits, blockSize, out, in: width, offsets: count, packed },
      scales: new Float32Array(out * blocks),
      ...(bits === 4 ? { zeroPoints: new Uint8Array(out * zeroBytes) } : {}),
    };
    this.row = new Float32Array(width + count);
    this.target = { packed, offset: 0 };
  }

  /** Quantises row `index` of [out, in]. */
  write(data: Float32Array, index: number): void {
    const { in: width, offsets } = this.matrix;
    this.row.set(data.subarray(index * width, (index + 1) * width));
    for (let i = 0; i < offsets; i++) this.fitWithOffset(index, i);
    for (let i = offsets; i < this.sizes.blocks; i++) this.fit(index, i);
    // only now is it known what became of the offsets
    for (let i = 0; i < offsets; i++) this.packWithOffset(index, i);
  }

  private enter(i: number): void {
    const { blockSize } = this.matrix;
    this.block.from = i * blockSize;
    this.block.to = Math.min(this.block.from + blockSize, this.row.length);
  }

  private fitWithOffset(index: number, i: number): void {
    this.enter(i);
    fitBlock4WithOffset(this.row, this.block);
    this.row[this.matrix.in + i] = this.block.offset;
    this.store(index, i);
  }

  private fit(index: number, i: number): void {
    this.enter(i);
    const { row, block } = this;
    if (this.matrix.bits === 4) fitBlock4(row, block);
    else fitBlock8(row, block);
    this.store(index, i);
    this.pack(index, i);
  }

  /** The scale and zero point of a block; its numbers are to be the nearest at the scale as it is stored. */
  private store(index: number, i: number): void {
    const { scales, zeroPoints } = this.matrix;
    const { blocks, zeroBytes } = this.sizes;
    scales[index * blocks + i] = this.block.scale;
    if (zeroPoints === undefined) return;
    const at = index * zeroBytes + (i >> 1);
    zeroPoints[at] = (zeroPoints[at] as number) | (this.block.zeroPoint << ((i & 1) * 4));
  }

  private pack(index: number, i: number): void {
    const { blocks, blockBytes } = this.sizes;
    this.block.scale = this.matrix.scales[index * blocks + i] as number;
    this.target.offset = (index * blocks + i) * blockBytes;
    if (this.matrix.bits === 4) packBlock4(this.row, this.block, this.target);
    else packBlock8(this.row, this.block, this.target);
  }

  private packWithOffset(index: number, i: number): void {
    this.enter(i);
    const { zeroPoints, in: width } = this.matrix;
    const { row, block } = this;
    const zeros = zeroPoints?.[index * this.sizes.zeroBytes + (i >> 1)] as number;
    block.zeroPoint = (zeros >> ((i & 1) * 4)) & 15;
    const offset = storedValue(this.matrix, index, width + i);
    for (let k = block.from; k < block.to; k++) row[k] = (row[k] as number) - offset;
    this.pack(index, i);
  }
}
