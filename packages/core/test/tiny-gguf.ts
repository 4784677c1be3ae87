// A writer of GGUF files for tests, lies included: what the options say is written, true or not.

import { writeFile } from "node:fs/promises";
import type { TinyModel } from "./tiny-model.ts";

const TYPES = { uint32: 4, float32: 6, bool: 7, string: 8, strings: 9, numbers: 9, uint64: 10 } as const;

/** A value of the header with its type. */
export type Typed =
  | readonly ["uint32" | "float32" | "uint64", number]
  | readonly ["bool", boolean]
  | readonly ["string", string]
  | readonly ["strings", readonly string[]]
  | readonly ["numbers", readonly number[]];

export interface GgufTensorInput {
  readonly name: string;
  /** Row-major; written in reverse, as GGUF wants it. */
  readonly shape: readonly number[];
  /** GGUF's type number; 0 is F32. */
  readonly type?: number;
  readonly bytes: Uint8Array;
  /** Replaces the true offset. */
  readonly offset?: number;
}

export interface GgufInput {
  readonly metadata: Readonly<Record<string, Typed>> | readonly (readonly [string, Typed])[];
  readonly tensors: readonly GgufTensorInput[];
  readonly version?: number;
  readonly tensorCount?: number;
  readonly keyCount?: number;
}

const u32 = (value: number): Buffer => {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32LE(value);
  return buffer;
};
const u64 = (value: number | bigint): Buffer => {
  const buffer = Buffer.alloc(8);
  buffer.writeBigUInt64LE(BigInt(value));
  return buffer;
};
const text = (value: string): Buffer => Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)]);

function valueBytes(typed: Typed): Buffer {
  switch (typed[0]) {
    case "uint32":
      return u32(typed[1]);
    case "uint64":
      return u64(typed[1]);
    case "float32": {
      const buffer = Buffer.alloc(4);
      buffer.writeFloatLE(typed[1]);
      return buffer;
    }
    case "bool":
      return Buffer.of(typed[1] ? 1 : 0);
    case "string":
      return text(typed[1]);
    case "strings":
      return Buffer.concat([u32(TYPES.string), u64(typed[1].length), ...typed[1].map(text)]);
    case "numbers":
      return Buffer.concat([u32(TYPES.uint32), u64(typed[1].length), ...typed[1].map(u32)]);
  }
}

const padded = (length: number): number => Math.ceil(length / 32) * 32;

/** The bytes of a GGUF file. */
export function ggufBytes({ metadata, tensors, version = 3, tensorCount, keyCount }: GgufInput): Buffer {
  const pairs: readonly (readonly [string, Typed])[] = Array.isArray(metadata)
    ? metadata
    : Object.entries(metadata);
  const parts: Buffer[] = [
    Buffer.from("GGUF"),
    u32(version),
    u64(tensorCount ?? tensors.length),
    u64(keyCount ?? pairs.length),
  ];
  for (const [key, typed] of pairs) parts.push(text(key), u32(TYPES[typed[0]]), valueBytes(typed));
  const data: Buffer[] = [];
  let position = 0;
  for (const { name, shape, type = 0, bytes, offset } of tensors) {
    parts.push(
      text(name),
      u32(shape.length),
      ...[...shape].reverse().map(u64),
      u32(type),
      u64(offset ?? position),
    );
    const block = Buffer.alloc(padded(bytes.length));
    block.set(bytes);
    data.push(block);
    position += block.length;
  }
  const header = Buffer.concat(parts);
  return Buffer.concat([header, Buffer.alloc(padded(header.length) - header.length), ...data]);
}

const NAMES: Readonly<Record<string, string>> = {
  "model.embed_tokens.weight": "token_embd.weight",
  "model.norm.weight": "output_norm.weight",
  "lm_head.weight": "output.weight",
};
const INNER: readonly (readonly [string, string])[] = [
  ["input_layernorm", "attn_norm"],
  ["self_attn.q_proj", "attn_q"],
  ["self_attn.k_proj", "attn_k"],
  ["self_attn.v_proj", "attn_v"],
  ["self_attn.o_proj", "attn_output"],
  ["post_attention_layernorm", "ffn_norm"],
  ["mlp.gate_proj", "ffn_gate"],
  ["mlp.up_proj", "ffn_up"],
  ["mlp.down_proj", "ffn_down"],
];

/** llama.cpp's order of q and k rows: row r of a head goes to 2r, or 2(r − D/2) + 1 in the upper half. */
function interleaved(data: Float32Array, headDim: number, width: number): Float32Array {
  const result = new Float32Array(data.length);
  for (let row = 0; row * width < data.length; row++) {
    const within = row % headDim;
    const target = row - within + (within < headDim / 2 ? 2 * within : 2 * (within - headDim / 2) + 1);
    result.set(data.subarray(row * width, (row + 1) * width), target * width);
  }
  return result;
}

/** A tiny model as GGUF in float32, ready to be changed by a test. */
export function tinyGguf({
  config,
  weights,
}: TinyModel): GgufInput & { readonly metadata: Record<string, Typed> } {
  const metadata: Record<string, Typed> = {
    "general.architecture": ["string", "llama"],
    "llama.block_count": ["uint32", config.layers],
    "llama.context_length": ["uint32", config.maxPositions],
    "llama.embedding_length": ["uint32", config.hiddenSize],
    "llama.feed_forward_length": ["uint32", config.intermediateSize],
    "llama.attention.head_count": ["uint32", config.heads],
    "llama.attention.head_count_kv": ["uint32", config.keyValueHeads],
    "llama.attention.key_length": ["uint32", config.headDim],
    "llama.rope.dimension_count": ["uint32", config.headDim],
    "llama.rope.freq_base": ["float32", config.rope.theta],
    "llama.attention.layer_norm_rms_epsilon": ["float32", config.normEpsilon],
    "tokenizer.ggml.tokens": ["strings", Array.from({ length: config.vocabularySize }, (_, i) => `t${i}`)],
    "tokenizer.ggml.bos_token_id": ["uint32", 1],
    "tokenizer.ggml.eos_token_id": ["uint32", 2],
  };
  const tensors = [...weights].map(([name, { shape, data }]) => {
    const pair = INNER.find(([inner]) => name.includes(`.${inner}.`));
    const short = pair ? name.replace("model.layers.", "blk.").replace(...pair) : (NAMES[name] ?? name);
    const rotary = /[qk]_proj/.test(name) ? interleaved(data, config.headDim, shape[1] ?? 1) : data;
    return { name: short, shape, bytes: new Uint8Array(rotary.buffer, rotary.byteOffset, rotary.byteLength) };
  });
  return { metadata, tensors };
}

export const writeGguf = (path: string, input: GgufInput): Promise<void> => writeFile(path, ggufBytes(input));
