// GGUF files of tiny models whose matrices are random blocks of a type, and the same files expanded to float32.
import { randomStream } from "../src/common/index.ts";
import { blockFormats, type StoredType } from "../src/files/index.ts";
import { type GgufInput, tinyGguf } from "./tiny-gguf.ts";
import { tinyModel } from "./tiny-model.ts";

/** GGUF's numbers of the types that can be read. */
export const GGUF_TYPES: Readonly<Record<StoredType, number>> = {
  F32: 0,
  F16: 1,
  Q4_0: 2,
  Q4_1: 3,
  Q5_0: 6,
  Q5_1: 7,
  Q8_0: 8,
  Q4_K: 12,
  Q5_K: 13,
  Q6_K: 14,
  BF16: 30,
};

/** The bytes of a block that hold the sign and the high bits of the exponent of its scale, and of its offset. */
const EXPONENTS: Readonly<Record<StoredType, readonly number[]>> = {
  F32: [3],
  F16: [1],
  BF16: [1],
  Q4_0: [1],
  Q4_1: [1, 3],
  Q5_0: [1],
  Q5_1: [1, 3],
  Q8_0: [1],
  Q4_K: [1, 3],
  Q5_K: [1, 3],
  Q6_K: [209],
};

/** Random bytes of blocks whose numbers are finite and not all huge. */
export function randomBlocks(
  type: StoredType,
  { count, seed }: { readonly count: number; readonly seed: number },
): Uint8Array {
  const random = randomStream(seed, type);
  const { bytes } = blockFormats[type];
  const words = Uint32Array.from(
    { length: Math.ceil((count * bytes) / 4) },
    () => random.uniform() * 2 ** 32,
  );
  const blocks = new Uint8Array(words.buffer, 0, count * bytes);
  for (let block = 0; block < count; block++)
    for (const at of EXPONENTS[type]) blocks[block * bytes + at] = (blocks[block * bytes + at] ?? 0) & 0xbf;
  return blocks;
}

/** Rows of 256 numbers, which every type has blocks for; an odd vocabulary, and heads whose rows llama.cpp reorders. */
export const BLOCK_MODEL = {
  hidden_size: 256,
  intermediate_size: 256,
  vocab_size: 49,
  num_hidden_layers: 1,
  num_attention_heads: 4,
  num_key_value_heads: 1,
  head_dim: 64,
} as const;

/** A file whose matrices are random blocks, and the file that holds the same numbers as float32. */
export function blocksGguf(
  type: StoredType,
  overrides: Readonly<Record<string, unknown>> = {},
): { readonly kept: GgufInput; readonly expanded: GgufInput } {
  const plain = tinyGguf(tinyModel({ overrides: { ...BLOCK_MODEL, ...overrides } }));
  const { blockSize, decode } = blockFormats[type];
  const pairs = plain.tensors.map((tensor, seed) => {
    if (tensor.shape.length === 1) return { kept: tensor, expanded: tensor };
    const count = tensor.shape.reduce((a, b) => a * b, 1);
    const bytes = randomBlocks(type, { count: count / blockSize, seed });
    const numbers = new Float32Array(count);
    decode(bytes, numbers);
    return {
      kept: { ...tensor, type: GGUF_TYPES[type], bytes },
      expanded: { ...tensor, bytes: new Uint8Array(numbers.buffer) },
    };
  });
  return {
    kept: { ...plain, tensors: pairs.map(({ kept }) => kept) },
    expanded: { ...plain, tensors: pairs.map(({ expanded }) => expanded) },
  };
}
