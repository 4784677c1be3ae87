// Weights of other forms as 8-bit codes in blocks of 64: what the products in int8 read fastest.
import { MosError } from "#core";
import type { BlockForm, Nf4Form } from "#files";
import { NF4_LEVELS } from "#graph";
import { dequantizeWeight, type Weight } from "#models";

export type BlockWeight = Weight & { readonly form: BlockForm };

/** Rows that are dequantised at a time have so many numbers: those of a weight may not fit beside it. */
const PART = 1 << 22;

const isBlocks = (weight: Weight): weight is BlockWeight => weight.form.kind === "blocks";

/**
 * A weight in 8 bits, a scale for each block. 8-bit codes without offsets in blocks of 32 or more stay as they are; of
 * all others the largest magnitude of a block becomes 127.
 */
export function toInt8(weight: Weight): BlockWeight {
  const { form, shape } = weight;
  if (isBlocks(weight) && weight.form.bits === 8 && !weight.form.offsets && weight.form.blockSize >= 32)
    return weight;
  if (form.kind === "nf4") return levelsAsInt8(weight, form);
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
  return { shape, form: int8Form(blockSize), parts: { codes, scales } };
}

const int8Form = (blockSize: number): BlockForm => ({
  kind: "blocks",
  bits: 8,
  blockSize,
  zeroPoint: 0,
  scales: "float32",
  offsets: false,
});

/** The sixteen levels rounded to 127ths: no weight has to be looked at. */
function levelsAsInt8({ shape, parts }: Weight, { blockSize }: Nf4Form): BlockWeight {
  const levels = Int8Array.from(NF4_LEVELS, (level) => Math.round(level * 127));
  const packed = parts.codes as Uint8Array;
  const codes = new Int8Array(2 * packed.length);
  for (let i = 0; i < packed.length; i++) {
    const byte = packed[i] as number;
    codes[2 * i] = levels[byte >> 4] as number;
    codes[2 * i + 1] = levels[byte & 15] as number;
  }
  const scales = (parts.scales as Float32Array).map((largest) => largest / 127);
  return { shape, form: int8Form(blockSize), parts: { codes, scales } };
}

function blockFor(width: number): number {
  const size = [64, 32, 16].find((candidate) => width % candidate === 0);
  if (size !== undefined) return size;
  throw new MosError(
    "unsupported",
    `rows of ${width} numbers have no blocks of 16, so they cannot be multiplied in int8; compute in float32`,
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
