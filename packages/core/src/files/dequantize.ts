// The block formats of GGUF (ggml). A block holds a fixed number of weights and their scales; every formula below is
// evaluated in float64 and rounded once to float32, which equals float32 arithmetic here because all products are exact.
//
// source: raw bytes of whole blocks · target: one float32 per weight · d, m: float16 scale and minimum of a block

import { float16Value } from "mixture-of-shards-graph/common";
import { decodeBfloat16, decodeFloat16 } from "./floats.ts";

/** Decodes whole blocks from `source` into `target`, which holds exactly as many weights. */
type Decode = (source: Uint8Array, target: Float32Array) => void;

export interface GgufBlockFormat {
  /** Weights in a block. */
  readonly blockSize: number;
  /** Bytes of a block. */
  readonly bytes: number;
  readonly decode: Decode;
}

export const halfAt = (source: Uint8Array, at: number): number =>
  float16Value((source[at] ?? 0) | ((source[at + 1] ?? 0) << 8));

export const int8 = (byte: number): number => (byte << 24) >> 24;

const asUint16 = (source: Uint8Array): Uint16Array =>
  source.byteOffset % 2 === 0
    ? new Uint16Array(source.buffer, source.byteOffset, source.byteLength >> 1)
    : new Uint16Array(source.slice().buffer);

/** Of Q4_0 and Q4_1: sixteen bytes, of which byte j holds weight j in its low half and weight j + 16 in its high half. */
const decodeQ4 =
  ({ head, zero }: { readonly head: 2 | 4; readonly zero: 8 | 0 }): Decode =>
  (source, target) => {
    for (let at = 0, out = 0; at < source.length; at += head + 16, out += 32) {
      const d = halfAt(source, at);
      const m = head === 4 ? halfAt(source, at + 2) : -0; // which changes no sum
      for (let j = 0; j < 16; j++) {
        const byte = source[at + head + j] ?? 0;
        target[out + j] = d * ((byte & 15) - zero) + m;
        target[out + j + 16] = d * ((byte >> 4) - zero) + m;
      }
    }
  };

/** The fifth bits of 32 weights, weight 0 lowest. */
export const highBits = (source: Uint8Array, at: number): number =>
  (source[at] ?? 0) |
  ((source[at + 1] ?? 0) << 8) |
  ((source[at + 2] ?? 0) << 16) |
  ((source[at + 3] ?? 0) << 24);

/** Of Q5_0 and Q5_1. */
const decodeQ5 =
  ({ head, zero }: { readonly head: 2 | 4; readonly zero: 16 | 0 }): Decode =>
  (source, target) => {
    for (let at = 0, out = 0; at < source.length; at += head + 20, out += 32) {
      const d = halfAt(source, at);
      const m = head === 4 ? halfAt(source, at + 2) : -0;
      const high = highBits(source, at + head);
      for (let j = 0; j < 16; j++) {
        const byte = source[at + head + 4 + j] ?? 0;
        target[out + j] = d * (((byte & 15) | (((high >>> j) & 1) << 4)) - zero) + m;
        target[out + j + 16] = d * (((byte >> 4) | (((high >>> (j + 16)) & 1) << 4)) - zero) + m;
      }
    }
  };

function decodeQ8_0(source: Uint8Array, target: Float32Array): void {
  for (let at = 0, out = 0; at < source.length; at += 34, out += 32) {
    const d = halfAt(source, at);
    for (let j = 0; j < 32; j++) target[out + j] = d * int8(source[at + 2 + j] ?? 0);
  }
}

/** The low six bits of group j's scale, in the twelve bytes that pack eight 6-bit scales and eight 6-bit minima. */
export const packedScale = (source: Uint8Array, at: number, j: number): number =>
  j < 4
    ? (source[at + j] ?? 0) & 63
    : ((source[at + j + 4] ?? 0) & 15) | (((source[at + j - 4] ?? 0) >> 6) << 4);

export const packedMinimum = (source: Uint8Array, at: number, j: number): number =>
  j < 4
    ? (source[at + j + 4] ?? 0) & 63
    : ((source[at + j + 4] ?? 0) >> 4) | (((source[at + j] ?? 0) >> 6) << 4);

/** 256 weights in 8 groups of 32; groups 2k and 2k + 1 share 32 bytes, low and high halves. */
function decodeQ4_K(source: Uint8Array, target: Float32Array): void {
  for (let at = 0, out = 0; at < source.length; at += 144, out += 256) {
    const d = halfAt(source, at);
    const m = halfAt(source, at + 2);
    for (let group = 0; group < 8; group++) {
      const scale = d * packedScale(source, at + 4, group);
      const minimum = m * packedMinimum(source, at + 4, group);
      const codes = at + 16 + (group >> 1) * 32;
      const shift = (group & 1) * 4;
      for (let j = 0; j < 32; j++)
        target[out + group * 32 + j] = scale * (((source[codes + j] ?? 0) >> shift) & 15) - minimum;
    }
  }
}

/** As Q4_K, with the fifth bit of group g in bit g of 32 further bytes. */
function decodeQ5_K(source: Uint8Array, target: Float32Array): void {
  for (let at = 0, out = 0; at < source.length; at += 176, out += 256) {
    const d = halfAt(source, at);
    const m = halfAt(source, at + 2);
    for (let group = 0; group < 8; group++) {
      const scale = d * packedScale(source, at + 4, group);
      const minimum = m * packedMinimum(source, at + 4, group);
      const codes = at + 48 + (group >> 1) * 32;
      const shift = (group & 1) * 4;
      for (let j = 0; j < 32; j++) {
        const high = (((source[at + 16 + j] ?? 0) >> group) & 1) << 4;
        target[out + group * 32 + j] = scale * ((((source[codes + j] ?? 0) >> shift) & 15) | high) - minimum;
      }
    }
  }
}

/** 256 weights: 128 bytes of low nibbles, 64 of high bit pairs, 16 signed scales (one per 16 weights), d. */
function decodeQ6_K(source: Uint8Array, target: Float32Array): void {
  for (let at = 0, out = 0; at < source.length; at += 210, out += 256) {
    const d = halfAt(source, at + 208);
    for (let group = 0; group < 8; group++) {
      const half = group >> 2; // two halves of 128 weights, each of four groups of 32
      const low = at + half * 64 + (group & 1) * 32;
      const lowShift = group & 2 ? 4 : 0;
      const high = at + 128 + half * 32;
      const highShift = (group & 3) * 2;
      for (let j = 0; j < 32; j++) {
        const scale = d * int8(source[at + 192 + group * 2 + (j >> 4)] ?? 0);
        const code =
          (((source[low + j] ?? 0) >> lowShift) & 15) | ((((source[high + j] ?? 0) >> highShift) & 3) << 4);
        target[out + group * 32 + j] = scale * (code - 32);
      }
    }
  }
}

/** The tensor types that can be read, by GGUF's names. A new type is one more row. */
export const blockFormats = {
  F32: {
    blockSize: 1,
    bytes: 4,
    decode: (source, target) =>
      new Uint8Array(target.buffer, target.byteOffset, target.byteLength).set(source),
  },
  F16: {
    blockSize: 1,
    bytes: 2,
    decode: (source, target) => void decodeFloat16(asUint16(source), target),
  },
  BF16: {
    blockSize: 1,
    bytes: 2,
    decode: (source, target) => void decodeBfloat16(asUint16(source), target),
  },
  Q4_0: { blockSize: 32, bytes: 18, decode: decodeQ4({ head: 2, zero: 8 }) },
  Q4_1: { blockSize: 32, bytes: 20, decode: decodeQ4({ head: 4, zero: 0 }) },
  Q5_0: { blockSize: 32, bytes: 22, decode: decodeQ5({ head: 2, zero: 16 }) },
  Q5_1: { blockSize: 32, bytes: 24, decode: decodeQ5({ head: 4, zero: 0 }) },
  Q8_0: { blockSize: 32, bytes: 34, decode: decodeQ8_0 },
  Q4_K: { blockSize: 256, bytes: 144, decode: decodeQ4_K },
  Q5_K: { blockSize: 256, bytes: 176, decode: decodeQ5_K },
  Q6_K: { blockSize: 256, bytes: 210, decode: decodeQ6_K },
} as const satisfies Readonly<Record<string, GgufBlockFormat>>;

export type StoredType = keyof typeof blockFormats;

export const isStoredType = (type: string): type is StoredType => Object.hasOwn(blockFormats, type);

/** Bytes of a number of values of a type, which are whole blocks. */
export function fileBytes(type: StoredType, numbers: number): number {
  const { blockSize, bytes } = blockFormats[type];
  return (numbers / blockSize) * bytes;
}
