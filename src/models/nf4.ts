// NF4: 16 levels of a normal distribution, times the largest magnitude of a block (QLoRA, appendix E). Levels and
// rounding are those of bitsandbytes.
import { NF4_LEVELS } from "#graph";
import { absMax, Block } from "./quantize-blocks.ts";

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

export interface Nf4Target {
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
