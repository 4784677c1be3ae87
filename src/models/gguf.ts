// A GGUF file as a model with Hugging Face's names and layout. llama.cpp has names of its own, and its own order of the
// rows of q and k; adapters for it are written by the same rules.
import { MosError } from "#core";
import type { GgufFile, GgufMetadata, GgufTensor, GgufValue, NumberRange } from "#formats";
import { type ConfigNames, checkConfig, type ModelConfig } from "./config.ts";
import type { RopeConfig } from "./geometry.ts";

/** GGUF's names within a block, by Hugging Face's. */
const BLOCK_NAMES: Readonly<Record<string, string>> = {
  input_layernorm: "attn_norm",
  "self_attn.q_proj": "attn_q",
  "self_attn.k_proj": "attn_k",
  "self_attn.v_proj": "attn_v",
  "self_attn.o_proj": "attn_output",
  post_attention_layernorm: "ffn_norm",
  "mlp.gate_proj": "ffn_gate",
  "mlp.up_proj": "ffn_up",
  "mlp.down_proj": "ffn_down",
};

const OUTER_NAMES: Readonly<Record<string, string>> = {
  "model.embed_tokens.weight": "token_embd.weight",
  "model.norm.weight": "output_norm.weight",
  "lm_head.weight": "output.weight",
};

/** "model.layers.3.self_attn.q_proj.weight" → "blk.3.attn_q.weight"; a name without a counterpart stays. */
export function ggufName(name: string): string {
  const [, layer = "", inner = "", kind = ""] =
    /^model\.layers\.(\d+)\.(.+)\.(weight|bias)$/.exec(name) ?? [];
  const block = BLOCK_NAMES[inner];
  return block === undefined ? (OUTER_NAMES[name] ?? name) : `blk.${layer}.${block}.${kind}`;
}

/** Heads whose rows are reordered, for the weights that llama.cpp reorders: those of q and k. */
function rotatedHeads({ heads, keyValueHeads }: ModelConfig, name: string): number | undefined {
  if (name.includes(".q_proj.")) return heads;
  return name.includes(".k_proj.") ? keyValueHeads : undefined;
}

/** Whether llama.cpp keeps the rows of a weight in another order, so that no part can be read alone. */
export const isReordered = (name: string): boolean => /\.[qk]_proj\./.test(name);

/**
 * llama.cpp stores the two halves of a head's rotary pairs side by side (0, D/2, 1, D/2 + 1, …), where Hugging Face
 * keeps the halves apart. Gives where row `row` of a head of width D stands in the file.
 */
const storedRow = (row: number, headDim: number): number =>
  (row % (headDim / 2)) * 2 + (row < headDim / 2 ? 0 : 1);

/** Moves whole rows: row i of the source becomes row `target(i)`. */
function moveRows(data: Float32Array, rows: number, target: (row: number) => number): Float32Array {
  const width = data.length / rows;
  const result = new Float32Array(data.length);
  for (let row = 0; row < rows; row++)
    result.set(data.subarray(row * width, (row + 1) * width), target(row) * width);
  return result;
}

/**
 * Rows of a weight, or of an adapter's B, from Hugging Face's order into a GGUF file's. `data` is [out, …] or a bias
 * [out]; what llama.cpp does not reorder comes back as it is.
 *
 * @param name The weight's Hugging Face name, such as "model.layers.0.self_attn.q_proj.weight".
 */
export function toGgufRows(config: ModelConfig, name: string, data: Float32Array): Float32Array {
  const heads = rotatedHeads(config, name);
  if (heads === undefined) return data;
  const { headDim } = config;
  return moveRows(data, heads * headDim, (row) => row - (row % headDim) + storedRow(row % headDim, headDim));
}

/** Hugging Face's row for a row of a GGUF file: the inverse of what `toGgufRows` does. */
export function rowFromGguf({ headDim }: ModelConfig, name: string): (row: number) => number {
  if (!isReordered(name)) return (row) => row;
  const half = headDim / 2;
  const sourceRow = (stored: number): number => (stored % 2) * half + Math.floor(stored / 2);
  return (row) => row - (row % headDim) + sourceRow(row % headDim);
}

/** Undoes `toGgufRows`. */
export function fromGgufRows(config: ModelConfig, name: string, data: Float32Array): Float32Array {
  const heads = rotatedHeads(config, name);
  if (heads === undefined) return data;
  return moveRows(data, heads * config.headDim, rowFromGguf(config, name));
}

interface Header {
  readonly path: string;
  readonly metadata: GgufMetadata;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
}

/** A number of the header, or undefined where the key is absent; a list of equal numbers counts as that number. */
function numberAt({ path, metadata }: Header, key: string): number | undefined {
  const value: GgufValue | undefined = metadata[key];
  if (value === undefined) return undefined;
  const single = Array.isArray(value) && value.every((item) => item === value[0]) ? value[0] : value;
  if (typeof single === "number") return single;
  if (Array.isArray(value))
    throw new MosError(
      "unsupported",
      `${path}: ${key} differs from layer to layer; only equal layers can be run`,
    );
  throw new MosError(
    "bad_model",
    `${path}: ${key} is ${typeof value === "string" ? JSON.stringify(value) : String(value)}; a number is expected`,
  );
}

function requiredAt(header: Header, key: string): number {
  const value = numberAt(header, key);
  if (value === undefined) throw new MosError("bad_model", `${header.path}: the header lacks ${key}`);
  return value;
}

/** A float32 as the short decimal number that it was made from: 9.99999974e-6 → 1e-5. */
function shortDecimal(value: number): number {
  const short = Number(value.toPrecision(7));
  return Math.fround(short) === value ? short : value;
}

function refuseUnsupported(header: Header): void {
  const { path, metadata } = header;
  const architecture = metadata["general.architecture"];
  if (typeof architecture !== "string")
    throw new MosError("bad_model", `${path}: the header lacks general.architecture`);
  if (architecture !== "llama")
    throw new MosError(
      "unsupported",
      `${path}: models of the type "${architecture}" cannot be run; only "llama" (Llama, Mistral, TinyLlama, SmolLM2) can`,
    );
  const refuse = (what: string): never => {
    throw new MosError("unsupported", `${path}: ${what}`);
  };
  if ((numberAt(header, "split.count") ?? 1) > 1)
    refuse("this is one part of a split GGUF; join the parts first (llama-gguf-split --merge)");
  if ((numberAt(header, "llama.expert_count") ?? 0) > 0) refuse("mixtures of experts cannot be run");
  const window = numberAt(header, "llama.attention.sliding_window") ?? 0;
  if (window > 0 && window < requiredAt(header, "llama.context_length"))
    refuse(`a sliding window of ${window} cannot be run`);
}

function parseRope(header: Header, factors: readonly number[] | undefined): RopeConfig {
  const theta = numberAt(header, "llama.rope.freq_base") ?? 10000;
  const kind = header.metadata["llama.rope.scaling.type"] ?? "linear";
  if (kind !== "none" && kind !== "linear")
    throw new MosError(
      "unsupported",
      `${header.path}: rope scaling of the type "${String(kind)}" cannot be run; none and linear can`,
    );
  const stated =
    numberAt(header, "llama.rope.scaling.factor") ?? numberAt(header, "llama.rope.scale_linear") ?? 1;
  const factor = kind === "none" || stated === 0 ? 1 : stated;
  if (factors) return { kind: "factors", theta, factor, factors };
  return factor === 1 ? { kind: "default", theta } : { kind: "linear", theta, factor };
}

function headDimOf(header: Header, fallback: number): number {
  const rotated = numberAt(header, "llama.rope.dimension_count");
  const key = numberAt(header, "llama.attention.key_length") ?? rotated ?? fallback;
  const value = numberAt(header, "llama.attention.value_length") ?? key;
  if ((rotated ?? key) !== key)
    throw new MosError(
      "unsupported",
      `${header.path}: only ${rotated} of ${key} numbers per head are rotated; whole heads can be run`,
    );
  if (value !== key)
    throw new MosError(
      "unsupported",
      `${header.path}: keys of width ${key} and values of width ${value} differ`,
    );
  return key;
}

function vocabularyOf({ path, metadata, tensors }: Header): number {
  const tokens = metadata["tokenizer.ggml.tokens"];
  if (Array.isArray(tokens)) return tokens.length;
  const rows = tensors.get("token_embd.weight")?.shape[0];
  if (rows === undefined) throw new MosError("bad_model", `${path}: the weight token_embd.weight is missing`);
  return rows;
}

/** All or none of the linear layers of a kind may have biases, as in Hugging Face's configs. */
function hasBias({ path, tensors }: Header, names: readonly string[]): boolean {
  const present = names.filter((name) => tensors.has(`blk.0.${name}.bias`));
  if (present.length === 0) return false;
  if (present.length === names.length) return true;
  throw new MosError(
    "unsupported",
    `${path}: only ${present.join(", ")} have biases; either all of ${names.join(", ")} or none can be run`,
  );
}

function specialTokens(header: Header, vocabularySize: number) {
  const at = (name: string) => numberAt(header, `tokenizer.ggml.${name}_token_id`);
  const ends = [at("eos"), at("eot")].filter((token) => token !== undefined);
  const bosToken = at("bos");
  const padToken = at("padding");
  return {
    eosTokens: [...new Set(ends)].sort((a, b) => a - b),
    ...(bosToken === undefined ? {} : { bosToken }),
    ...(padToken === undefined || padToken >= vocabularySize ? {} : { padToken }),
  };
}

/** The keys of a GGUF's header. */
const NAMES: ConfigNames = {
  vocabularySize: "the number of tokenizer.ggml.tokens",
  hiddenSize: "llama.embedding_length",
  intermediateSize: "llama.feed_forward_length",
  layers: "llama.block_count",
  heads: "llama.attention.head_count",
  keyValueHeads: "llama.attention.head_count_kv",
  headDim: "llama.attention.key_length (or llama.embedding_length / llama.attention.head_count)",
  maxPositions: "llama.context_length",
  normEpsilon: "llama.attention.layer_norm_rms_epsilon",
  bosToken: "tokenizer.ggml.bos_token_id",
  eosTokens: "tokenizer.ggml.eos_token_id",
  padToken: "tokenizer.ggml.padding_token_id",
  theta: "llama.rope.freq_base",
  factor: "llama.rope.scaling.factor",
  factors: "rope_freqs.weight",
};

/**
 * The header of a GGUF file → ModelConfig. Reads rope_freqs.weight where there is one.
 *
 * @throws MosError "unsupported" for other architectures, "bad_model" for missing or impossible keys.
 */
export async function parseGgufConfig(file: GgufFile): Promise<ModelConfig> {
  refuseUnsupported(file);
  const hiddenSize = requiredAt(file, "llama.embedding_length");
  const heads = requiredAt(file, "llama.attention.head_count");
  const vocabularySize = vocabularyOf(file);
  const frequencies = file.tensors.get("rope_freqs.weight");
  if (frequencies && (frequencies.shape.length !== 1 || (frequencies.shape[0] ?? 0) > 4096))
    throw new MosError(
      "bad_model",
      `${file.path}: rope_freqs.weight has the shape [${frequencies.shape.join(", ")}]; one number per pair is expected`,
    );
  const factors = frequencies ? [...(await file.readFloat32("rope_freqs.weight"))] : undefined;
  const config: ModelConfig = {
    architecture: "llama",
    vocabularySize,
    hiddenSize,
    intermediateSize: requiredAt(file, "llama.feed_forward_length"),
    layers: requiredAt(file, "llama.block_count"),
    heads,
    keyValueHeads: numberAt(file, "llama.attention.head_count_kv") ?? heads,
    headDim: headDimOf(file, hiddenSize / heads),
    maxPositions: requiredAt(file, "llama.context_length"),
    normEpsilon: shortDecimal(requiredAt(file, "llama.attention.layer_norm_rms_epsilon")),
    rope: parseRope(file, factors),
    tiedHead: !file.tensors.has("output.weight"),
    attentionBias: hasBias(file, ["attn_q", "attn_k", "attn_v", "attn_output"]),
    mlpBias: hasBias(file, ["ffn_gate", "ffn_up", "ffn_down"]),
    ...specialTokens(file, vocabularySize),
  };
  return checkConfig(config, file.path, NAMES);
}

/** Shapes of the file's tensors under Hugging Face's names; names without a counterpart stay as they are. */
export function ggufShapes(
  { tensors }: GgufFile,
  expected: Iterable<string>,
): ReadonlyMap<string, readonly number[]> {
  const names = new Map([...expected].map((name) => [ggufName(name), name]));
  const shapes = new Map<string, readonly number[]>();
  for (const [name, { shape }] of tensors)
    if (name !== "rope_freqs.weight" && !name.endsWith(".attn_rot_embd.weight"))
      shapes.set(names.get(name) ?? name, shape);
  return shapes;
}

/** Reads a weight, or whole rows of it, by its Hugging Face name, in Hugging Face's order of rows. */
export async function readGgufWeight(
  file: GgufFile,
  config: ModelConfig,
  { name, range }: { readonly name: string; readonly range?: NumberRange | undefined },
): Promise<Float32Array> {
  if (!isReordered(name)) return file.readFloat32(ggufName(name), range);
  const whole = fromGgufRows(config, name, await file.readFloat32(ggufName(name)));
  return range === undefined ? whole : whole.subarray(range.begin, range.end);
}
