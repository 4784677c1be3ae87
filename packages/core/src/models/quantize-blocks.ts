// Codes and scales of the blocks of a matrix, by least squares. Loops over typed arrays: a base has up to 10¹⁰ weights.

import { NF4_LEVELS } from "mixture-of-shards-graph";

/** Adding and taking away 1.5 · 2⁵² rounds a double to the nearest whole number, faster than Math.round. */
const ROUND = 6755399441055744;

/** Steps of a 4-bit block relative to the smallest that covers all its weights; smaller ones clip the outermost. */
const STEPS_4 = Float64Array.of(1, 0.94, 0.88);

/** A share of what can be explained that leaves only rounding: the weights lie on the grid. */
const ALL = 1 - 1e-9;

/** A block of a row, and what is found for it: weight ≈ scale · code + offset. One object serves all blocks of a matrix. */
export class Block {
  /** It holds the weights `from` … `to` − 1 of the row. */
  from = 0;
  to = 0;
  /** The least and the largest weight, not above and not below zero. */
  low = 0;
  high = 0;
  /** Σ w and Σ w² */
  sum = 0;
  squares = 0;
  scale = 0;
  offset = 0;
  /** Σ w² less the squared error: the larger, the better. */
  explained = 0;
}

function measure(data: Float32Array, block: Block): void {
  let low = 0;
  let high = 0;
  let sum = 0;
  let squares = 0;
  for (let i = block.from; i < block.to; i++) {
    const w = data[i] as number;
    if (w < low) low = w;
    else if (w > high) high = w;
    sum += w;
    squares += w * w;
  }
  block.low = low;
  block.high = high;
  block.sum = sum;
  block.squares = squares;
}

/** Takes a step and origin where the line through the weights over the numbers they give explains more of them. */
function tryLine(data: Float32Array, block: Block, { step, origin }: { step: number; origin: number }): void {
  const { from, to } = block;
  const inverse = 1 / step;
  const shift = -origin * inverse;
  let products = 0;
  let squares = 0;
  let numbers = 0;
  for (let i = from; i < to; i++) {
    const w = data[i] as number;
    let n = w * inverse + shift + ROUND - ROUND;
    if (n < 0) n = 0;
    else if (n > 15) n = 15;
    products += w * n;
    squares += n * n;
    numbers += n;
  }
  const count = to - from;
  const spread = squares - (numbers * numbers) / count;
  const slope = spread > 0 ? (products - (numbers * block.sum) / count) / spread : 0;
  const explained = slope * slope * spread;
  if (explained <= block.explained) return;
  block.explained = explained;
  block.scale = slope;
  block.offset = (block.sum - slope * numbers) / count;
}

/**
 * Finds the scale and offset of a block of codes from 0 to 15 with the least squared error among several steps. Weights
 * that lie on any grid of sixteen, as those of a 4-bit file do, are recovered exactly.
 */
export function fitLine(data: Float32Array, block: Block): void {
  measure(data, block);
  const { low, high } = block;
  block.scale = 0;
  block.offset = 0;
  block.explained = 0;
  const range = high - low;
  if (range === 0) return;
  const enough = ALL * (block.squares - block.sum ** 2 / (block.to - block.from));
  const candidate = { step: 0, origin: 0 };
  for (let k = 0; k < STEPS_4.length && block.explained < enough; k++) {
    candidate.step = (range / 15) * (STEPS_4[k] as number);
    candidate.origin = (low + high - 15 * candidate.step) / 2;
    tryLine(data, block, candidate);
  }
  if (block.scale === 0) block.offset = block.sum / (block.to - block.from); // all weights are equal
}

/** The largest magnitude of a block. */
export function absMax(data: Float32Array, { from, to }: Block): number {
  let most = 0;
  for (let i = from; i < to; i++) {
    const size = Math.abs(data[i] as number);
    if (size > most) most = size;
  }
  return most;
}

/** Destination of a block's codes: signed bytes, or halves of bytes. */
interface CodeTarget<Codes extends Int8Array | Uint8Array> {
  readonly codes: Codes;
  /** Index of the block's first code. */
  at: number;
  /** 4 for the high halves. */
  shift: number;
}

/** Writes the nearest codes from −127 to 127 to weights over the scale. */
export function signedCodes(data: Float32Array, block: Block, { codes, at }: CodeTarget<Int8Array>): void {
  const { from, to, scale } = block;
  const inverse = scale === 0 ? 0 : 1 / scale;
  for (let i = from, k = at; i < to; i++, k++) {
    const code = (data[i] as number) * inverse + ROUND - ROUND;
    codes[k] = Math.min(127, Math.max(-127, code));
  }
}

/** Adds the nearest codes from 0 to 15 to weights less the offset over the scale. */
export function halfByteCodes(
  data: Float32Array,
  block: Block,
  { codes, at, shift }: CodeTarget<Uint8Array>,
): void {
  const { from, to, scale, offset } = block;
  const inverse = scale === 0 ? 0 : 1 / scale;
  for (let i = from, k = at; i < to; i++, k++) {
    const code = ((data[i] as number) - offset) * inverse + ROUND - ROUND;
    codes[k] = (codes[k] as number) | (Math.min(15, Math.max(0, code)) << shift);
  }
}

// NF4: 16 levels of a normal distribution, times the largest magnitude of a block (QLoRA, appendix E). Levels and
// rounding are those of bitsandbytes.

/** Cells of [−1, 1]: narrower than half the distance between two levels, so a cell has one border at most. */
const CELLS = 128;

/** The border between two levels, as float32, and the level below it; without a border, one that is never passed. */
const BORDER_OF = new Float32Array(CELLS + 1).fill(Number.POSITIVE_INFINITY);
const LEVEL_OF = new Uint8Array(CELLS + 1);

const cellIndex = (x: number): number => ((x + 1) * (CELLS / 2)) | 0;

for (let cell = 0, level = 0; cell <= CELLS; cell++) {
  LEVEL_OF[cell] = level;
  const border = Math.fround(((NF4_LEVELS[level] ?? 1) + (NF4_LEVELS[level + 1] ?? 3)) / 2);
  if (cellIndex(border) !== cell) continue;
  BORDER_OF[cell] = border;
  level++;
}

interface Nf4Target {
  readonly row: number;
  readonly blockSize: number;
  /** Two codes in a byte, the first in the high half. */
  readonly bytes: Uint8Array;
  readonly absmax: Float32Array;
}

/** The code of x / absmax: the nearest level, the lower one of two that are equally near. */
const nearestCode = (x: number): number => {
  const cell = cellIndex(x);
  return (LEVEL_OF[cell] as number) + (x > (BORDER_OF[cell] as number) ? 1 : 0);
};

/** Quantises a row of a matrix. A block of zeros has the scale 0 and the code of 0. */
export function nf4Codes(numbers: Float32Array, { row, blockSize, bytes, absmax }: Nf4Target): void {
  const width = numbers.length;
  let at = (row * width) / 2;
  let block = (row * width) / blockSize;
  const range = new Block();
  for (let from = 0; from < width; from += blockSize, block++) {
    const to = from + blockSize;
    range.from = from;
    range.to = to;
    const most = absMax(numbers, range);
    absmax[block] = most;
    const inverse = most === 0 ? 0 : Math.fround(1 / most);
    for (let i = from; i < to; i += 2, at++) {
      const first = clamped(Math.fround((numbers[i] as number) * inverse));
      const second = clamped(Math.fround((numbers[i + 1] as number) * inverse));
      bytes[at] = (nearestCode(first) << 4) | nearestCode(second);
    }
  }
}

/** Rounding of the inverse can bring the largest number a little beyond ±1. */
const clamped = (x: number): number => Math.min(1, Math.max(-1, x));
