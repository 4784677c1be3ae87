// Codes as weights store them → codes as MatMulNBits reads them, row by row; of two 4-bit numbers the first has the low half.
import type { Weight } from "#models";
import type { Blocks } from "./packed-arrays.ts";

/** 4-bit codes of the weights at the beginning of each row of `rowBytes`. They are stored by halves of a matrix. */
export function fillNibbles(weights: readonly Weight[], target: Uint8Array, rowBytes: number): void {
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
export function fillSigned(weights: readonly Weight[], target: Uint8Array): void {
  let at = 0;
  for (const { parts } of weights) {
    const codes = parts.codes as Int8Array;
    for (let i = 0; i < codes.length; i++) target[at++] = (codes[i] as number) ^ 128;
  }
}

/** 8 bits as two numbers of 4: of code + 128, a row of high halves and then one of low halves. */
export function fillHalves(weights: readonly Weight[], target: Uint8Array): void {
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
export function scalesOfHalves({ out, blocks, scales }: Blocks): Float32Array {
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
export function zeroPointsOfHalves({ out, blocks }: Blocks): Uint8Array {
  const row = Uint8Array.from({ length: 2 * blocks }, (_, i) => (i < blocks ? 8 : 0));
  const packed = packNibbles(row, { rows: 1, width: 2 * blocks });
  const result = new Uint8Array(out * packed.length);
  for (let r = 0; r < out; r++) result.set(packed, r * packed.length);
  return result;
}

/** Numbers from 0 to 15, two in a byte; each row begins with a byte. */
export function packNibbles(
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
