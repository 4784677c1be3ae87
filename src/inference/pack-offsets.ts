// Offsets of 4-bit blocks for products in int8: a whole zero point takes most of one, and what is left is a 4-bit number
// in a column of its own, which meets the mean of the block's inputs. So the product stays one operator.
import type { Weight } from "#models";
import { fillNibbles, packNibbles } from "./pack-codes.ts";
import type { BlockArrays, Blocks } from "./packed-arrays.ts";

type Columns = Pick<BlockArrays, "columns" | "codes" | "scales" | "zeroPoints">;

/** The codes of the weights with the columns of their offsets. */
export function offsetColumns(
  { form: { blockSize, zeroPoint }, out, width, blocks: first, scales }: Blocks,
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

/** One row: scales and zero points of all its blocks, and the numbers of its offsets. */
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

  /** The rests as 4-bit numbers, each block of them between its least and its largest. */
  fit(): void {
    const first = this.numbers.length;
    for (let from = 0, block = first; from < first; from += this.#blockSize, block++) {
      const to = Math.min(first, from + this.#blockSize);
      const { step, zero } = gridOf(this.#rest.subarray(from, to));
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

/** Sixteen numbers from the least of some to the largest, with 0 among them. */
function gridOf(numbers: Float32Array): { readonly step: number; readonly zero: number } {
  let [low, high] = [0, 0];
  for (const x of numbers) {
    if (x < low) low = x;
    else if (x > high) high = x;
  }
  const step = (high - low) / 15;
  return { step, zero: step === 0 ? 8 : Math.round(-low / step) };
}
