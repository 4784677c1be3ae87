// A random model as a GGUF file that llama.cpp opens, or as a Hugging Face folder; tensor by tensor.
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import {
  decodeBfloat16,
  decodeFloat16,
  encodeBfloat16,
  type GgufType,
  openGgufWriter,
  openSafetensorsWriter,
  type PlannedGgufTensor,
  type WritableGgufValue,
} from "#formats";
import { ggufName, huggingFaceConfig, type ModelConfig, weightShapes } from "#models";
import { writeFileAtomic } from "#storage";
import { blockFormats } from "../../src/formats/dequantize.ts";
import { ropeFrequencies } from "../../src/models/geometry.ts";
import { type PaddedTokenizer, SPECIAL } from "./padded-tokenizer.ts";
import { normalTable, randomTensor } from "./random-blocks.ts";

export interface RandomModel {
  /** What a GGUF file calls it. */
  readonly name: string;
  readonly config: ModelConfig;
  readonly tokenizer: PaddedTokenizer;
  readonly seed: number;
  /** Of the layers' matrices, and of an embedding that is not the head. */
  readonly type: GgufType;
  /** Of the matrix that gives the logits. */
  readonly headType: GgufType;
  readonly onProgress: (done: number, total: number) => void;
}

export type PlainType = "F32" | "F16" | "BF16";

interface Tensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly type: GgufType;
}

const countOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
const bytesOf = ({ type, shape }: Tensor): number =>
  (countOf(shape) / blockFormats[type].blockSize) * blockFormats[type].bytes;

function tensorsOf({ config, type, headType }: RandomModel): readonly Tensor[] {
  const head = config.tiedHead ? "model.embed_tokens.weight" : "lm_head.weight";
  return [...weightShapes(config)].map(([name, shape]) => ({
    name,
    shape,
    type: shape.length === 1 ? "F32" : name === head ? headType : type,
  }));
}

/**
 * The bytes of a weight: norm gains are near 1, all else is near 0. Gains are bfloat16 numbers, so that a seed's model has
 * the same ones in every type, as a real model has them.
 */
function* bytesOfWeight(
  { name, shape, type }: Tensor,
  seed: number,
  table: Float32Array,
): Generator<Uint8Array> {
  const parts = randomTensor(type, countOf(shape), { seed, label: name, table });
  if (!name.endsWith("norm.weight")) return yield* parts;
  for (const part of parts) {
    const gains = decodeBfloat16(encodeBfloat16(new Float32Array(part.buffer).map((value) => 1 + value)));
    yield new Uint8Array(gains.buffer);
  }
}

/** What GGUF's rope_freqs.weight says of Llama 3's frequencies: what each is divided by. */
function ropeFactors({ rope, headDim }: ModelConfig): Float32Array | undefined {
  if (rope.kind !== "llama3") return undefined;
  const plain = ropeFrequencies({ rotaryDim: headDim, rope: { kind: "default", theta: rope.theta } });
  const scaled = ropeFrequencies({ rotaryDim: headDim, rope });
  return Float32Array.from(plain, (frequency, i) => frequency / (scaled[i] ?? 1));
}

/** llama.cpp's numbers for what most tensors of a file are. */
const FILE_TYPES: Readonly<Record<GgufType, number>> = {
  ...{ F32: 0, F16: 1, Q4_0: 2, Q4_1: 3, Q8_0: 7, Q5_0: 8, Q5_1: 9 },
  ...{ Q4_K: 15, Q5_K: 17, Q6_K: 18, BF16: 32 },
};

/** llama.cpp's kinds of tokens. */
const KIND = { normal: 1, control: 3, unused: 5 } as const;

function metadataOf({ name, config, tokenizer, type }: RandomModel) {
  const string = (value: string): WritableGgufValue => ({ type: "string", value });
  const uint32 = (value: number): WritableGgufValue => ({ type: "uint32", value });
  const float32 = (value: number): WritableGgufValue => ({ type: "float32", value });
  const kinds = tokenizer.tokens.map((_, id) =>
    id <= SPECIAL.end ? KIND.control : id < tokenizer.used ? KIND.normal : KIND.unused,
  );
  return {
    "general.architecture": string("llama"),
    "general.name": string(name),
    "general.file_type": uint32(FILE_TYPES[type]),
    "general.quantization_version": uint32(2),
    "llama.block_count": uint32(config.layers),
    "llama.context_length": uint32(config.maxPositions),
    "llama.embedding_length": uint32(config.hiddenSize),
    "llama.feed_forward_length": uint32(config.intermediateSize),
    "llama.attention.head_count": uint32(config.heads),
    "llama.attention.head_count_kv": uint32(config.keyValueHeads),
    "llama.attention.key_length": uint32(config.headDim),
    "llama.attention.value_length": uint32(config.headDim),
    "llama.attention.layer_norm_rms_epsilon": float32(config.normEpsilon),
    "llama.rope.dimension_count": uint32(config.headDim),
    "llama.rope.freq_base": float32(config.rope.theta),
    "llama.vocab_size": uint32(config.vocabularySize),
    "tokenizer.ggml.model": string("gpt2"),
    "tokenizer.ggml.pre": string("gpt-2"),
    "tokenizer.ggml.tokens": { type: "strings", value: tokenizer.tokens },
    "tokenizer.ggml.token_type": { type: "int32s", value: kinds },
    "tokenizer.ggml.merges": { type: "strings", value: tokenizer.merges.map((pair) => pair.join(" ")) },
    "tokenizer.ggml.bos_token_id": uint32(SPECIAL.start),
    "tokenizer.ggml.eos_token_id": uint32(SPECIAL.end),
    "tokenizer.ggml.padding_token_id": uint32(SPECIAL.start),
    "tokenizer.ggml.add_bos_token": { type: "bool", value: false },
    "tokenizer.chat_template": string(tokenizer.chatTemplate),
  } satisfies Readonly<Record<string, WritableGgufValue>>;
}

/** Writes the GGUF file. Rows of q and k are random, so their order in the file does not matter. */
export async function writeRandomGguf(path: string, model: RandomModel): Promise<void> {
  const { config, seed, onProgress } = model;
  const tensors = tensorsOf(model);
  const factors = ropeFactors(config);
  const planned: PlannedGgufTensor[] = tensors.map((tensor) => ({
    ...tensor,
    name: ggufName(config, tensor.name),
  }));
  if (factors !== undefined)
    planned.unshift({ name: "rope_freqs.weight", type: "F32", shape: [factors.length] });
  await using file = await openGgufWriter(path, metadataOf(model), planned);
  if (factors !== undefined) await file.write("rope_freqs.weight", new Uint8Array(factors.buffer));
  const table = normalTable(seed);
  const total = tensors.reduce((sum, tensor) => sum + bytesOf(tensor), 0);
  let done = 0;
  for (const tensor of tensors)
    for (const part of bytesOfWeight(tensor, seed, table)) {
      await file.write(ggufName(config, tensor.name), part);
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
    writeFileAtomic(join(folder, name), `${JSON.stringify(content, null, 1)}\n`);
  const tensors = [...weightShapes(config)].map(([name, shape]) => ({ name, shape, type, dtype: type }));
  await using file = await openSafetensorsWriter(join(folder, "model.safetensors"), tensors);
  const table = normalTable(seed);
  const total = tensors.reduce((sum, tensor) => sum + bytesOf(tensor), 0);
  let done = 0;
  for (const tensor of tensors) {
    const stored = { ...tensor, type: tensor.shape.length === 1 ? ("F32" as const) : type };
    for (const part of bytesOfWeight(stored, seed, table)) {
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
