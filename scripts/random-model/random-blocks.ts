// Random tensors as the bytes of a GGUF type: normal-like numbers of standard deviation 0.02 and mean 0. Codes are
// random bytes; the scales of a block are drawn from a table, so that 7B takes seconds rather than hours.
import { createCipheriv, createHash } from "node:crypto";
import { randomStream } from "#core";
import { encodeBfloat16, encodeFloat16, type StoredType } from "#files";
import { blockFormats } from "../../src/files/dequantize.ts";

const DEVIATION = 0.02;
const TABLE = 1 << 16;

/** Random bytes of a seed and a label: AES in counter mode, which processors have instructions for. */
export function randomBytes(seed: number, label: string): (length: number) => Buffer {
  const key = createHash("sha256").update(`${seed}:${label}`).digest();
  const cipher = createCipheriv("aes-256-ctr", key, Buffer.alloc(16));
  return (length) => cipher.update(Buffer.alloc(length));
}

/** Scales between 3/4 and 5/4 of the usual one, as float16; `signed` ones may be negative, so that the mean is 0. */
function scaleTable(usual: number, { signed = false, factor = 1 } = {}): Uint16Array {
  return encodeFloat16(
    Float32Array.from({ length: 256 }, (_, i) => {
      const size = usual * (0.75 + (i >> 1) / 254);
      return factor * (signed && i % 2 === 1 ? -size : size);
    }),
  );
}

/** Where a block has its float16 scale, what the deviation is for scale 1, and how its offset follows from its scale. */
interface BlockScales {
  readonly at: number;
  readonly deviation: number;
  /** Offsets centre the codes: offset = factor · scale, behind the scale. */
  readonly offset?: number;
}

// Deviations: √((n² − 1) / 12) for n equally likely codes; with random 6-bit scales and minima, or 8-bit scales, that of
// the sums of products.
const BLOCKS: Readonly<Partial<Record<StoredType, BlockScales>>> = {
  Q4_0: { at: 0, deviation: 4.61 },
  Q4_1: { at: 0, deviation: 4.61, offset: -7.5 },
  Q5_0: { at: 0, deviation: 9.23 },
  Q5_1: { at: 0, deviation: 9.23, offset: -15.5 },
  Q8_0: { at: 0, deviation: 73.9 },
  Q4_K: { at: 0, deviation: 258, offset: 7.5 },
  Q5_K: { at: 0, deviation: 527, offset: 15.5 },
  Q6_K: { at: 208, deviation: 1365 },
};

function writeScales(bytes: Uint8Array, size: number, { at, deviation, offset }: BlockScales): void {
  const usual = DEVIATION / deviation;
  const scales = scaleTable(usual, { signed: offset === undefined });
  const offsets = offset === undefined ? undefined : scaleTable(usual, { factor: offset });
  for (let position = at; position < bytes.length; position += size) {
    const drawn = bytes[position] ?? 0;
    const scale = scales[drawn] ?? 0;
    bytes[position] = scale & 255;
    bytes[position + 1] = scale >> 8;
    if (offsets === undefined) continue;
    const behind = offsets[drawn] ?? 0;
    bytes[position + 2] = behind & 255;
    bytes[position + 3] = behind >> 8;
  }
}

/** 65,536 normal numbers, of which two random bytes choose one. */
export function normalTable(seed: number): Float32Array {
  const random = randomStream(seed, "random-model");
  return Float32Array.from({ length: TABLE }, () => DEVIATION * random.normal());
}

function plainBytes(type: "F32" | "F16" | "BF16", chosen: Buffer, table: Float32Array): Uint8Array {
  const source = type === "F32" ? table : type === "F16" ? encodeFloat16(table) : encodeBfloat16(table);
  const result = type === "F32" ? new Float32Array(chosen.length / 2) : new Uint16Array(chosen.length / 2);
  for (let i = 0; i < result.length; i++)
    result[i] = source[(chosen[2 * i] ?? 0) | ((chosen[2 * i + 1] ?? 0) << 8)] ?? 0;
  return new Uint8Array(result.buffer);
}

/** Bytes made at a time, about. */
const PART = 1 << 24;

/** The bytes of a random tensor of `count` weights, in parts of whole blocks. */
export function* randomTensor(
  type: StoredType,
  count: number,
  { seed, label, table }: { readonly seed: number; readonly label: string; readonly table: Float32Array },
): Generator<Uint8Array> {
  const draw = randomBytes(seed, label);
  const { blockSize, bytes } = blockFormats[type];
  const scales = BLOCKS[type];
  const step = Math.floor(PART / bytes);
  for (let blocks = count / blockSize; blocks > 0; blocks -= step) {
    const now = Math.min(blocks, step);
    if (type === "F32" || type === "F16" || type === "BF16") yield plainBytes(type, draw(2 * now), table);
    else {
      const part = draw(now * bytes);
      if (scales !== undefined) writeScales(part, bytes, scales);
      yield part;
    }
  }
}
