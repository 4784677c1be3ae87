// A GGUF file as a model with Hugging Face's names and layout. llama.cpp has names of its own; adapters for it are written by
// the same rules. gguf-order.ts has its order of rows and columns.
import { MosError, omitUndefined } from "#common";
import type { GgufFile, GgufValue } from "#files";
import { checkConfig, checkSize, ggufNames, type ModelConfig } from "./config.ts";
import { type GgufFamily, unsupported } from "./families/family.ts";
import { ggufBiases, headerNumber, layerNumbers, shortDecimal } from "./families/gguf-fields.ts";
import { FAMILIES, FAMILY_NAMES, type Family, type FamilyName, type GgufHeader } from "./families/index.ts";
import { withoutIdleWindow } from "./families/layer-windows.ts";
import { keyLayer, maxPositions, type RopeConfig, yarnFactor } from "./geometry.ts";
import { modulePlace, type StoredPlace, storedShapes } from "./weights.ts";

/** GGUF's names within a block, by Hugging Face's. */
const BLOCK_NAMES: Readonly<Record<string, string>> = {
  input_layernorm: "attn_norm",
  "self_attn.q_proj": "attn_q",
  "self_attn.k_proj": "attn_k",
  "self_attn.v_proj": "attn_v",
  "self_attn.qkv_proj": "attn_qkv",
  "self_attn.o_proj": "attn_output",
  "self_attn.q_norm": "attn_q_norm",
  "self_attn.k_norm": "attn_k_norm",
  post_attention_layernorm: "ffn_norm",
  "mlp.gate_proj": "ffn_gate",
  "mlp.up_proj": "ffn_up",
  "mlp.gate_up_proj": "ffn_up",
  "mlp.down_proj": "ffn_down",
  "conv.in_proj": "shortconv.in_proj",
  "conv.conv": "shortconv.conv",
  "conv.out_proj": "shortconv.out_proj",
};

/** Names that differ where norms follow attention and the MLP: there, Hugging Face's norm after attention is another one. */
const POST_NORM_NAMES: Readonly<Record<string, string>> = {
  post_attention_layernorm: "post_attention_norm",
  pre_feedforward_layernorm: "ffn_norm",
  post_feedforward_layernorm: "post_ffw_norm",
};

const OUTER_NAMES: Readonly<Record<string, string>> = {
  "model.embed_tokens.weight": "token_embd.weight",
  "model.norm.weight": "output_norm.weight",
  "lm_head.weight": "output.weight",
};

/** A weight's name within a block, and its ending. */
const IN_BLOCK = /^model\.layers\.(\d+)\.(.+?)(\.weight|\.bias)?$/;

/** Where a GGUF file keeps a weight, by its name in transformers: some families' files keep several as one, as transformers does. */
export const ggufPlace = (config: ModelConfig, name: string): StoredPlace =>
  ggufFamily(config).isFused === true ? modulePlace(config, name) : { name, row: 0 };

/** llama.cpp's format of a family. Throws `unsupported` where it is not known. */
function ggufFamily({ architecture }: Pick<ModelConfig, "architecture">): GgufFamily {
  const { gguf }: Family = FAMILIES[architecture];
  if (gguf === undefined)
    throw new MosError(
      "unsupported",
      `models of the type "${architecture}" are not supported in GGUF; use Hugging Face folders, and PEFT's format for adapters`,
    );
  return gguf;
}

/**
 * "model.layers.3.self_attn.q_proj.weight" → "blk.3.attn_q.weight", or the fused matrix that holds it; a name without a
 * counterpart stays.
 */
export function ggufName(config: ModelConfig, name: string): string {
  const { name: stored } = ggufPlace(config, name);
  const { names } = ggufFamily(config);
  const [, layer = "", inner = "", ending = ""] = IN_BLOCK.exec(stored) ?? [];
  const post = (config.norms ?? "pre") === "pre" ? undefined : POST_NORM_NAMES[inner];
  const block = names?.[inner] ?? post ?? BLOCK_NAMES[inner];
  return block === undefined
    ? (names?.[stored] ?? OUTER_NAMES[stored] ?? stored)
    : `blk.${layer}.${block}${ending}`;
}

/** llama.cpp's name for the models of a family. */
export const ggufArchitecture = (config: ModelConfig): string => ggufFamily(config).architecture;

/** What the numbers of a weight mean in transformers; undefined where the file has them as they are. */
export const ggufValue = (config: ModelConfig, name: string): ((stored: number) => number) | undefined =>
  ggufFamily(config).values?.[IN_BLOCK.exec(name)?.[2] ?? ""];

/** The header by the keys of its architecture, and the family that it is of. */
function openHeader(
  { path, metadata, tensors }: GgufFile,
  factors: GgufHeader["factors"],
): { readonly header: GgufHeader; readonly name: FamilyName } {
  const architecture = metadata["general.architecture"];
  if (typeof architecture !== "string")
    throw new MosError("bad_model", `${path}: the header lacks general.architecture`);
  if (metadata["general.type"] === "adapter")
    throw new MosError(
      "bad_model",
      `${path}: this is an adapter for llama.cpp; give the model that it adapts`,
    );
  const at = (key: string): number | undefined => {
    const value = headerNumber({ path, metadata }, `${architecture}.${key}`);
    return value === undefined ? undefined : shortDecimal(value);
  };
  const need = (key: string): number => {
    const value = at(key);
    if (value === undefined)
      throw new MosError("bad_model", `${path}: the header lacks ${architecture}.${key}`);
    return value;
  };
  const list = (key: string): readonly GgufValue[] | undefined => {
    const value = metadata[`${architecture}.${key}`];
    return Array.isArray(value) ? value : undefined;
  };
  const requireGguf = (candidate: FamilyName): GgufFamily | undefined => FAMILIES[candidate].gguf;
  const candidates = FAMILY_NAMES.filter(
    (candidate) => requireGguf(candidate)?.architecture === architecture,
  );
  const [common] = candidates;
  if (common === undefined)
    throw unsupported(
      path,
      `models of the type "${architecture}" are not supported; supported are ${ggufArchitectures()}`,
    );
  const layers = need("block_count") - (at("nextn_predict_layers") ?? 0);
  const invalid = (what: string): MosError => new MosError("bad_model", `${path}: ${what}`);
  // families make and read lists of the layers
  checkSize("layers", layers, { fieldName: ggufNames(architecture), invalid });
  const header = { path, metadata, tensors, layers, at, need, list, factors };
  const name = candidates.find((candidate) => requireGguf(candidate)?.isOurs?.(header)) ?? common;
  return { header, name };
}

const ggufArchitectures = (): string =>
  [...new Set(Object.values<Family>(FAMILIES).flatMap(({ gguf }) => gguf?.architecture ?? []))].join(", ");

function refuseUnsupported(header: GgufHeader): void {
  const { path } = header;
  if ((headerNumber(header, "split.count") ?? 1) > 1)
    throw unsupported(
      path,
      "this is one part of a split GGUF; join the parts first (llama-gguf-split --merge)",
    );
  if ((header.at("expert_count") ?? 0) > 0)
    throw unsupported(path, "mixture-of-experts models are not supported");
}

const ROPE_FACTORS = ["rope_freqs.weight", "rope_factors_short.weight", "rope_factors_long.weight"] as const;

/** Divisors of the rotary frequencies, which files store as tensors. */
async function readFactors(file: GgufFile): Promise<GgufHeader["factors"]> {
  const factors = new Map<string, readonly number[]>();
  for (const name of ROPE_FACTORS) {
    const shape = file.tensors.get(name)?.shape;
    if (shape === undefined) continue;
    if (shape.length !== 1 || (shape[0] ?? 0) > 4096)
      throw new MosError(
        "bad_model",
        `${file.path}: ${name} has the shape [${shape.join(", ")}]; expected one value per pair`,
      );
    factors.set(name, [...(await file.readFloat32(name))]);
  }
  return factors;
}

const SCALINGS: ReadonlySet<unknown> = new Set(["none", "linear", "yarn", "longrope"]);

/** Keys that change YaRN in some versions and families of llama.cpp, with the value that changes nothing. */
const YARN_DEFAULTS = [
  ["rope.scaling.yarn_beta_fast", 32],
  ["rope.scaling.yarn_beta_slow", 1],
  ["rope.scaling.attn_factor", 1],
  ["rope.scaling.yarn_attn_factor", 1],
  ["rope.scaling.yarn_ext_factor", 1],
  ["rope.scaling.yarn_log_multiplier", 0],
] as const;

function parseYarn({ path, at, need }: GgufHeader, theta: number, family: GgufFamily): RopeConfig {
  const { yarnFactor: known } = family;
  const fixed = YARN_DEFAULTS.filter(([name]) => known === undefined || !name.endsWith("log_multiplier"));
  const [key] = fixed.find(([name, value]) => (at(name) ?? value) !== value) ?? [];
  if (key !== undefined)
    throw unsupported(
      path,
      `YaRN with ${key} ${at(key)} is not supported; remove the key, or use the model's Hugging Face folder`,
    );
  const factor = need("rope.scaling.factor");
  return {
    kind: "yarn",
    theta,
    factor,
    originalMaxPositions: at("rope.scaling.original_context_length") ?? need("context_length"),
    betaFast: 32,
    betaSlow: 1,
    truncate: true,
    attentionFactor: known ?? yarnFactor(factor),
  };
}

/** llama.cpp divides the frequencies of pairs that are not turned by 10³⁰. */
function factorsRope(
  factors: readonly number[],
  rope: { readonly theta: number; readonly factor: number },
): RopeConfig {
  const turned = factors.filter((factor) => factor < 1e30);
  if (turned.length === factors.length || turned.some((factor) => factor !== 1))
    return { kind: "factors", ...rope, factors };
  return { kind: "proportional", ...rope, part: turned.length / factors.length };
}

function parseRope(header: GgufHeader, family: GgufFamily): RopeConfig {
  const { path, metadata, at, factors: tensors } = header;
  const theta = at("rope.freq_base") ?? 10000;
  const key = `${String(metadata["general.architecture"])}.rope.scaling.type`;
  const kind = metadata[key] ?? "linear";
  if (!SCALINGS.has(kind))
    throw unsupported(
      path,
      `rope scaling of the type "${String(kind)}" is not supported; supported are none, linear, yarn and longrope`,
    );
  const stated = at("rope.scaling.factor") ?? at("rope.scale_linear") ?? 1;
  const factor = kind !== "linear" || stated === 0 ? 1 : stated;
  const factors = tensors.get("rope_freqs.weight");
  if (kind === "longrope" && !tensors.has("rope_factors_long.weight"))
    throw new MosError("bad_model", `${path}: longrope needs rope_factors_long.weight, which is missing`);
  if (factors && kind === "yarn")
    throw unsupported(path, "YaRN together with rope_freqs.weight is not supported");
  if (kind === "yarn") return parseYarn(header, theta, family);
  if (factors) return factorsRope(factors, { theta, factor });
  return factor === 1 ? { kind: "default", theta } : { kind: "linear", theta, factor };
}

/** Width of a head, and how much of it is rotated where that is not all. */
function readHeads(
  { path, at }: GgufHeader,
  { order }: GgufFamily,
  fallback: number,
): Pick<ModelConfig, "headDim" | "rotaryDim"> {
  const headDim = at("attention.key_length") ?? fallback;
  const value = at("attention.value_length") ?? headDim;
  if (value !== headDim)
    throw unsupported(path, `keys of width ${headDim} and values of width ${value} differ`);
  const rotaryDim = at("rope.dimension_count") ?? headDim;
  if (rotaryDim === headDim) return { headDim };
  // rows lie side by side in whole heads
  if (order === "pairs")
    throw unsupported(
      path,
      `only ${rotaryDim} of ${headDim} dimensions per head are rotated; whole heads must be`,
    );
  return { headDim, rotaryDim };
}

function readVocabularySize({ path, metadata, tensors }: GgufHeader): number {
  const tokens = metadata["tokenizer.ggml.tokens"];
  if (Array.isArray(tokens)) return tokens.length;
  const rows = tensors.get("token_embd.weight")?.shape[0];
  if (rows === undefined) throw new MosError("bad_model", `${path}: the weight token_embd.weight is missing`);
  return rows;
}

function specialTokens(header: GgufHeader, vocabularySize: number) {
  const at = (name: string) => headerNumber(header, `tokenizer.ggml.${name}_token_id`);
  const ends = [at("eos"), at("eot")].filter((token) => token !== undefined);
  const bosToken = at("bos");
  const padToken = at("padding");
  return {
    eosTokens: [...new Set(ends)].sort((a, b) => a - b),
    ...omitUndefined({ bosToken }),
    ...(padToken === undefined || padToken >= vocabularySize ? {} : { padToken }),
  };
}

/**
 * The header of a GGUF file → ModelConfig. Reads the rotary factors where there are any.
 *
 * @throws MosError "unsupported" for other architectures, "bad_model" for missing or impossible keys.
 */
export async function parseGgufConfig(file: GgufFile): Promise<ModelConfig> {
  const { header, name } = openHeader(file, await readFactors(file));
  const family: Family = FAMILIES[name];
  const gguf = ggufFamily({ architecture: name });
  refuseUnsupported(header);
  const { at, need } = header;
  const hiddenSize = need("embedding_length");
  const heads = need("attention.head_count");
  const vocabularySize = readVocabularySize(header);
  const rope = parseRope(header, gguf);
  const first = (key: string): number | undefined =>
    gguf.byLayer?.includes(key) ? layerNumbers(header, key)[0] : at(key);
  const config: ModelConfig = {
    architecture: name,
    vocabularySize,
    hiddenSize,
    intermediateSize: first("feed_forward_length") ?? need("feed_forward_length"),
    layers: header.layers,
    heads,
    keyValueHeads: first("attention.head_count_kv") ?? heads,
    ...readHeads(header, gguf, hiddenSize / heads),
    maxPositions: maxPositions(rope, need("context_length")),
    normEpsilon: need("attention.layer_norm_rms_epsilon"),
    rope,
    tiedHead: !file.tensors.has("output.weight"),
    ...ggufBiases(header),
    ...family.decoder,
    ...gguf.read(header),
    ...specialTokens(header, vocabularySize),
  };
  if (header.factors.has("rope_factors_long.weight") && config.rope.kind !== "longrope")
    throw unsupported(
      file.path,
      `longrope (rope_factors_long.weight) is not supported in models of the type "${gguf.architecture}"`,
    );
  return checkConfig(withoutIdleWindow(config), file.path, ggufNames(gguf.architecture));
}

/** Tensors that nothing reads: rotary ones, keys of layers that use others', and layers that predict further tokens. */
function isIdle(name: string, { metadata }: GgufFile, config: ModelConfig): boolean {
  if (ROPE_FACTORS.some((factors) => factors === name) || name.endsWith(".attn_rot_embd.weight")) return true;
  const [, block, part = ""] = /^blk\.(\d+)\.(\w+)\./.exec(name) ?? [];
  const layer = Number(block);
  if (layer >= config.layers) return layer < Number(metadata[`${ggufArchitecture(config)}.block_count`]);
  return /^attn_(k|v|k_norm)$/.test(part) && keyLayer(config, layer) !== layer;
}

/** Shapes of the file's tensors under Hugging Face's names; names without a counterpart stay as they are. */
export function ggufShapes(file: GgufFile, config: ModelConfig): ReadonlyMap<string, readonly number[]> {
  const expected = storedShapes(config, ggufPlace);
  const names = new Map([...expected.keys()].map((name) => [ggufName(config, name), name]));
  const shapes = new Map<string, readonly number[]>();
  for (const [stored, { shape }] of file.tensors) {
    const name = names.get(stored) ?? stored;
    if (name === stored && isIdle(stored, file, config)) continue;
    // kernels of one row for each channel have no axis for it there
    const [channels = 0, width = 0] = shape;
    shapes.set(name, expected.get(name)?.length === 3 && shape.length === 2 ? [channels, 1, width] : shape);
  }
  return shapes;
}
