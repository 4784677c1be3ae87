// A random model as a GGUF file that llama.cpp opens, or as a Hugging Face folder; tensor by tensor.

import { createCipheriv, createHash } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { countElements, randomStream } from "mixture-of-shards-core/common";
import {
  blockFormats,
  decodeBfloat16,
  decodeFloat16,
  encodeBfloat16,
  encodeFloat16,
  fileBytes,
  openGgufWriter,
  openSafetensorsWriter,
  type PlannedGgufTensor,
  type StoredType,
  writeFileAtomic,
} from "mixture-of-shards-core/files";
import {
  configText,
  ggufName,
  huggingFaceConfig,
  type ModelConfig,
  rotatedWidth,
  storedShapes,
} from "mixture-of-shards-core/models";
import { ropeFrequencies } from "../../packages/core/src/models/geometry.ts";
import { ggufMetadata } from "./gguf-metadata.ts";
import type { PaddedTokenizer } from "./padded-tokenizer.ts";

export interface RandomModel {
  /** What a GGUF file calls it. */
  readonly name: string;
  readonly config: ModelConfig;
  readonly tokenizer: PaddedTokenizer;
  readonly seed: number;
  /** Of the layers' matrices, and of an embedding that is not the head. */
  readonly type: StoredType;
  /** Of the matrix that gives the logits. */
  readonly headType: StoredType;
  readonly onProgress: (done: number, total: number) => void;
}

export type PlainType = "F32" | "F16" | "BF16";

interface Tensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly type: StoredType;
}

const countBytes = ({ type, shape }: Tensor): number => fileBytes(type, countElements(shape));

/** What a type becomes for rows that its blocks of 256 do not divide, as llama.cpp's quantiser chooses. */
const SMALLER_BLOCKS: Partial<Readonly<Record<StoredType, StoredType>>> = {
  Q4_K: "Q5_0",
  Q5_K: "Q5_1",
  Q6_K: "Q8_0",
};

/** The type, or the nearest one whose blocks divide a row. */
const typeFor = (type: StoredType, shape: readonly number[]): StoredType =>
  (shape.at(-1) ?? 0) % blockFormats[type].blockSize === 0 ? type : (SMALLER_BLOCKS[type] ?? type);

function listTensors({ config, type, headType }: RandomModel): readonly Tensor[] {
  const head = config.tiedHead ? "model.embed_tokens.weight" : "lm_head.weight";
  return [...storedShapes(config)].map(([name, shape]) => ({
    name,
    shape,
    type: shape.length !== 2 ? "F32" : typeFor(name === head ? headType : type, shape),
  }));
}

interface Draw {
  readonly seed: number;
  readonly table: Float32Array;
  /** What gains are near as the file keeps them. */
  readonly gain: 0 | 1;
}

/**
 * The bytes of a weight: norm gains are near 1, all else is near 0. Gains are bfloat16 numbers, so that a seed's model has
 * the same ones in every type, as a real model has them.
 */
function* bytesOfWeight({ name, shape, type }: Tensor, { gain, ...draw }: Draw): Generator<Uint8Array> {
  const parts = randomTensor(type, countElements(shape), { ...draw, label: name });
  if (!name.endsWith("norm.weight")) return yield* parts;
  for (const part of parts) {
    const gains = decodeBfloat16(encodeBfloat16(new Float32Array(part.buffer).map((value) => gain + value)));
    yield new Uint8Array(gains.buffer);
  }
}

/** Tensors of what frequencies are divided by. GGUF has them for Llama 3, whose rule it cannot state, and for longrope. */
function ropeFactors(config: ModelConfig): ReadonlyMap<string, Float32Array> {
  const { rope } = config;
  if (rope.kind === "longrope")
    return new Map([
      ["rope_factors_long.weight", Float32Array.from(rope.longFactors)],
      ["rope_factors_short.weight", Float32Array.from(rope.shortFactors)],
    ]);
  if (rope.kind !== "llama3") return new Map();
  const rotaryDim = rotatedWidth(config);
  const plain = ropeFrequencies({ rotaryDim, rope: { kind: "default", theta: rope.theta } });
  const scaled = ropeFrequencies({ rotaryDim, rope });
  const factors = Float32Array.from(plain, (frequency, i) => frequency / (scaled[i] ?? 1));
  return new Map([["rope_freqs.weight", factors]]);
}

/** Writes the GGUF file. Rows of q and k are random, so their order in the file does not matter. */
export async function writeRandomGguf(path: string, model: RandomModel): Promise<void> {
  const { config, seed, onProgress } = model;
  const tensors = listTensors(model);
  const factors = ropeFactors(config);
  const ggufTensorName = (name: string): string => ggufName(config, name);
  const planned: readonly PlannedGgufTensor[] = [
    ...[...factors].map(([name, { length }]) => ({ name, type: "F32" as const, shape: [length] })),
    ...tensors.map((tensor) => ({ ...tensor, name: ggufTensorName(tensor.name) })),
  ];
  await using file = await openGgufWriter(path, ggufMetadata(model), planned);
  for (const [name, { buffer }] of factors) await file.write(name, new Uint8Array(buffer as ArrayBuffer));
  const draw: Draw = { seed, table: normalTable(seed), gain: 1 };
  const total = tensors.reduce((sum, tensor) => sum + countBytes(tensor), 0);
  let done = 0;
  for (const tensor of tensors)
    for (const part of bytesOfWeight(tensor, draw)) {
      await file.write(ggufTensorName(tensor.name), part);
      done += part.length;
      onProgress(done, total);
    }
  await file.commit();
}

const decode = (type: PlainType, part: Uint8Array): Float32Array => {
  if (type === "F32") return new Float32Array(part.buffer);
  const halves = new Uint16Array(part.buffer);
  return type === "F16" ? decodeFloat16(halves) : decodeBfloat16(halves);
};

/** Writes the folder: config.json, the tokenizer's two files and model.safetensors, all of one type. */
export async function writeRandomFolder(
  folder: string,
  model: RandomModel & { readonly type: PlainType },
): Promise<void> {
  const { config, seed, tokenizer, type, onProgress } = model;
  await mkdir(folder, { recursive: true });
  const json = (name: string, content: object): Promise<void> =>
    writeFileAtomic(join(folder, name), configText(content));
  const tensors = [...storedShapes(config)].map(([name, shape]) => ({ name, shape, type, dtype: type }));
  await using file = await openSafetensorsWriter(join(folder, "model.safetensors"), tensors);
  const draw: Draw = { seed, table: normalTable(seed), gain: config.gainOffset === 1 ? 0 : 1 };
  const total = tensors.reduce((sum, tensor) => sum + countBytes(tensor), 0);
  let done = 0;
  for (const tensor of tensors) {
    const stored = { ...tensor, type: tensor.shape.length === 1 ? ("F32" as const) : type };
    for (const part of bytesOfWeight(stored, draw)) {
      await file.write(tensor.name, decode(stored.type, part));
      done += stored.type === type ? part.length : part.length / 2;
      onProgress(done, total);
    }
  }
  await json("config.json", huggingFaceConfig(config, folder));
  await json("tokenizer.json", tokenizer.json);
  await json("tokenizer_config.json", tokenizer.config);
  await file.commit();
}

// --- random blocks: normal-like numbers of standard deviation 0.02 and mean 0. Codes are random bytes; the scales of a block
// are drawn from a table, so that 7B takes seconds rather than hours.

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
