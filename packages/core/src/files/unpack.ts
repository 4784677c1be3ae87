// The block formats of GGUF as codes, scales and offsets, without loss: what dequantize.ts makes of the same bytes is
// scale · (code − zero point) + offset, to the bit.
//
// source: raw bytes of the whole blocks of a row · to: index of the next code · block: index of the next scale

import type { BlockFormat, PlainFormat } from "mixture-of-shards-graph/common";
import { halfAt, highBits, int8, packedMinimum, packedScale, type StoredType } from "./dequantize.ts";

/** Destination of a row's codes. */
export interface RowTarget {
  readonly codes: Uint8Array | Int8Array;
  /** Index of the row's first code. */
  readonly start: number;
  /** Codes of 4 bits: 4 puts them into the high halves of the bytes, beside what the low halves hold. */
  readonly shift: 0 | 4;
  readonly scales: Uint16Array | Float32Array;
  readonly offsets: Uint16Array | Float32Array | undefined;
  /** Index of the row's first scale and offset. */
  readonly block: number;
}

/** Writes the blocks of a row where they belong; codes of 4 bits are added to bytes that were zero at first. */
type UnpackRow = (source: Uint8Array, target: RowTarget) => void;

/** In-memory format of a type, and its unpacking into blocks. */
export type StoredFormat =
  | { readonly format: PlainFormat; readonly unpack?: undefined }
  | { readonly format: BlockFormat; readonly unpack: UnpackRow };

const bitsAt = (source: Uint8Array, at: number): number =>
  (source[at] as number) | ((source[at + 1] as number) << 8);

/** Of Q4_0 and Q4_1: sixteen bytes, of which byte j holds code j in its low half and code j + 16 in its high half. */
const unpackQ4 =
  (head: 2 | 4): UnpackRow =>
  (source, { codes, start, shift, scales, offsets, block }) => {
    for (let at = 0, to = start, i = block; at < source.length; at += head + 16, to += 32, i++) {
      scales[i] = bitsAt(source, at);
      if (offsets !== undefined) offsets[i] = bitsAt(source, at + 2);
      for (let j = 0; j < 16; j++) {
        const byte = source[at + head + j] as number;
        codes[to + j] = (codes[to + j] as number) | ((byte & 15) << shift);
        codes[to + j + 16] = (codes[to + j + 16] as number) | ((byte >> 4) << shift);
      }
    }
  };

/** Of Q5_0, whose codes are around 0, and Q5_1. */
const unpackQ5 =
  ({ head, zero }: { readonly head: 2 | 4; readonly zero: 16 | 0 }): UnpackRow =>
  (source, { codes, start, scales, offsets, block }) => {
    for (let at = 0, to = start, i = block; at < source.length; at += head + 20, to += 32, i++) {
      scales[i] = bitsAt(source, at);
      if (offsets !== undefined) offsets[i] = bitsAt(source, at + 2);
      const high = highBits(source, at + head);
      for (let j = 0; j < 16; j++) {
        const byte = source[at + head + 4 + j] as number;
        codes[to + j] = ((byte & 15) | (((high >>> j) & 1) << 4)) - zero;
        codes[to + j + 16] = ((byte >> 4) | (((high >>> (j + 16)) & 1) << 4)) - zero;
      }
    }
  };

function unpackQ8_0(source: Uint8Array, { codes, start, scales, block }: RowTarget): void {
  for (let at = 0, to = start, i = block; at < source.length; at += 34, to += 32, i++) {
    scales[i] = bitsAt(source, at);
    for (let j = 0; j < 32; j++) codes[to + j] = source[at + 2 + j] as number; // wraps around to signed
  }
}

/** The scales and minima of the 8 groups of a block of Q4_K or Q5_K: products of few bits, exact in float32. */
function unpackGroups(
  source: Uint8Array,
  at: number,
  { scales, offsets, block }: Pick<RowTarget, "scales" | "offsets" | "block">,
): void {
  const minima = offsets as Float32Array;
  const d = halfAt(source, at);
  const m = halfAt(source, at + 2);
  for (let group = 0; group < 8; group++) {
    scales[block + group] = d * packedScale(source, at + 4, group);
    minima[block + group] = -(m * packedMinimum(source, at + 4, group));
  }
}

function unpackQ4_K(source: Uint8Array, { codes, start, shift, ...target }: RowTarget): void {
  for (let at = 0, to = start, i = target.block; at < source.length; at += 144, i += 8) {
    unpackGroups(source, at, { ...target, block: i });
    for (let pair = 0; pair < 4; pair++, to += 64)
      for (let j = 0; j < 32; j++) {
        const byte = source[at + 16 + pair * 32 + j] as number;
        codes[to + j] = (codes[to + j] as number) | ((byte & 15) << shift);
        codes[to + j + 32] = (codes[to + j + 32] as number) | ((byte >> 4) << shift);
      }
  }
}

function unpackQ5_K(source: Uint8Array, { codes, start, ...target }: RowTarget): void {
  for (let at = 0, to = start, i = target.block; at < source.length; at += 176, i += 8) {
    unpackGroups(source, at, { ...target, block: i });
    for (let pair = 0; pair < 4; pair++, to += 64)
      for (let j = 0; j < 32; j++) {
        const byte = source[at + 48 + pair * 32 + j] as number;
        const high = (source[at + 16 + j] as number) >> (2 * pair);
        codes[to + j] = (byte & 15) | ((high & 1) << 4);
        codes[to + j + 32] = (byte >> 4) | ((high & 2) << 3);
      }
  }
}

function unpackQ6_K(source: Uint8Array, { codes, start, scales, block }: RowTarget): void {
  for (let at = 0, to = start, i = block; at < source.length; at += 210, to += 256, i += 16) {
    const d = halfAt(source, at + 208);
    for (let k = 0; k < 16; k++) scales[i + k] = d * int8(source[at + 192 + k] as number);
    // two halves of 128 codes: 64 bytes of low nibbles, 32 bytes of high pairs of bits
    for (let half = 0; half < 2; half++)
      for (let j = 0; j < 32; j++) {
        const first = source[at + half * 64 + j] as number;
        const second = source[at + half * 64 + 32 + j] as number;
        const high = source[at + 128 + half * 32 + j] as number;
        const k = to + half * 128 + j;
        codes[k] = ((first & 15) | ((high & 3) << 4)) - 32;
        codes[k + 32] = ((second & 15) | (((high >> 2) & 3) << 4)) - 32;
        codes[k + 64] = ((first >> 4) | (((high >> 4) & 3) << 4)) - 32;
        codes[k + 96] = ((second >> 4) | ((high >> 6) << 4)) - 32;
      }
  }
}

const blocks = (bits: 4 | 8, format: Partial<BlockFormat> = {}): BlockFormat => ({
  kind: "blocks",
  bits,
  blockSize: 32,
  zeroPoint: 0,
  scales: "float16",
  offsets: false,
  ...format,
});

const storedFormats: Readonly<Record<StoredType, StoredFormat>> = {
  F32: { format: { kind: "float32" } },
  F16: { format: { kind: "float16" } },
  BF16: { format: { kind: "bfloat16" } },
  Q4_0: { format: blocks(4, { zeroPoint: 8 }), unpack: unpackQ4(2) },
  Q4_1: { format: blocks(4, { offsets: true }), unpack: unpackQ4(4) },
  Q5_0: { format: blocks(8), unpack: unpackQ5({ head: 2, zero: 16 }) },
  Q5_1: { format: blocks(8, { offsets: true }), unpack: unpackQ5({ head: 4, zero: 0 }) },
  Q8_0: { format: blocks(8), unpack: unpackQ8_0 },
  Q4_K: { format: blocks(4, { scales: "float32", offsets: true }), unpack: unpackQ4_K },
  Q5_K: { format: blocks(8, { scales: "float32", offsets: true }), unpack: unpackQ5_K },
  Q6_K: { format: blocks(8, { scales: "float32", blockSize: 16 }), unpack: unpackQ6_K },
};

/** In-memory format of a readable tensor type. */
export const storedFormat = (type: StoredType): StoredFormat => storedFormats[type];
