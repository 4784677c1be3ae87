// config.json of a Hugging Face folder → ModelConfig, and back. What would change the numbers and is not implemented is
// refused by name; what does not matter for the forward pass is ignored.
import { z } from "zod";
import { MosError, parseWith } from "#core";
import { type ConfigNames, checkConfig, type ModelConfig } from "./config.ts";
import { type RopeConfig, ropeFrequencies } from "./geometry.ts";

const SUPPORTED =
  "supported are llama (Llama 2, 3.x, TinyLlama, SmolLM2) and mistral without a sliding window";

const identitySchema = z.looseObject({
  model_type: z.string().optional(),
  architectures: z.array(z.string()).nullish(),
});

const tokens = z.union([z.int(), z.array(z.int())]).nullish();

const ropeSchema = z.looseObject({
  rope_type: z.string().optional(),
  type: z.string().optional(),
  rope_theta: z.number().optional(),
  factor: z.number().optional(),
  low_freq_factor: z.number().optional(),
  high_freq_factor: z.number().optional(),
  original_max_position_embeddings: z.number().optional(),
  partial_rotary_factor: z.number().optional(),
});

const configSchema = z.looseObject({
  vocab_size: z.number(),
  hidden_size: z.number(),
  intermediate_size: z.number(),
  num_hidden_layers: z.number(),
  num_attention_heads: z.number(),
  num_key_value_heads: z.number().nullish(),
  head_dim: z.number().nullish(),
  max_position_embeddings: z.number().default(2048),
  rms_norm_eps: z.number().default(1e-6),
  hidden_act: z.string().default("silu"),
  rope_theta: z.number().optional(),
  rope_scaling: ropeSchema.nullish(),
  rope_parameters: ropeSchema.nullish(),
  partial_rotary_factor: z.number().nullish(),
  tie_word_embeddings: z.boolean().default(false),
  attention_bias: z.boolean().nullish(),
  mlp_bias: z.boolean().nullish(),
  sliding_window: z.number().nullish(),
  pretraining_tp: z.number().nullish(),
  quantization_config: z.unknown().optional(),
  bos_token_id: z.int().nullish(),
  eos_token_id: tokens,
  pad_token_id: z.int().nullish(),
});
type RawConfig = z.output<typeof configSchema>;

const unsupported = (where: string, what: string): MosError =>
  new MosError("unsupported", `${where}: ${what}`);

function architectureOf(json: unknown, where: string): ModelConfig["architecture"] {
  const { model_type, architectures } = parseWith(identitySchema, json, { code: "bad_model", where });
  const classes = architectures ?? [];
  const kind =
    model_type ?? /^(Llama|Mistral)ForCausalLM$/.exec(classes[0] ?? "")?.[1]?.toLowerCase() ?? classes[0];
  if (kind === undefined)
    throw new MosError("bad_model", `${where}: neither model_type nor architectures say what this model is`);
  if (kind !== "llama" && kind !== "mistral")
    throw unsupported(where, `models of the type "${kind}" cannot be run; ${SUPPORTED}`);
  const other = classes.find((name) => !/^(Llama|Mistral)ForCausalLM$/.test(name));
  if (other !== undefined)
    throw unsupported(where, `the architecture ${other} is not a language model of ours; ${SUPPORTED}`);
  return kind;
}

function refuseUnsupported(raw: RawConfig, kind: ModelConfig["architecture"], where: string): void {
  if (raw.hidden_act !== "silu")
    throw unsupported(where, `hidden_act "${raw.hidden_act}" cannot be run; only "silu" can`);
  const rotated = raw.rope_parameters?.partial_rotary_factor ?? raw.partial_rotary_factor ?? 1;
  if (rotated !== 1)
    throw unsupported(where, `partial_rotary_factor ${rotated} cannot be run; only whole heads are rotated`);
  if ((raw.pretraining_tp ?? 1) > 1)
    throw unsupported(where, `pretraining_tp ${raw.pretraining_tp} cannot be run; only 1 can`);
  if (raw.quantization_config !== undefined && raw.quantization_config !== null)
    throw unsupported(
      where,
      "quantised weights (quantization_config) cannot be read; use the original or a GGUF",
    );
  const window = raw.sliding_window ?? Number.POSITIVE_INFINITY;
  if (kind === "mistral" && window < raw.max_position_embeddings)
    throw unsupported(where, `a sliding window of ${window} cannot be run; Mistral v0.2 and later have none`);
}

function parseRope(raw: RawConfig, where: string): RopeConfig {
  const scaling = raw.rope_parameters ?? raw.rope_scaling ?? {};
  const theta = scaling.rope_theta ?? raw.rope_theta ?? 10000;
  const kind = scaling.rope_type ?? scaling.type ?? "default";
  const need = (
    field: "factor" | "low_freq_factor" | "high_freq_factor" | "original_max_position_embeddings",
  ) => {
    const value = scaling[field];
    if (value === undefined)
      throw new MosError("bad_model", `${where}: rope scaling of the type "${kind}" lacks ${field}`);
    return value;
  };
  switch (kind) {
    case "default":
      return { kind, theta };
    case "linear":
      return { kind, theta, factor: need("factor") };
    case "llama3":
      return {
        kind,
        theta,
        factor: need("factor"),
        lowFrequencyFactor: need("low_freq_factor"),
        highFrequencyFactor: need("high_freq_factor"),
        originalMaxPositions: need("original_max_position_embeddings"),
      };
    default:
      throw unsupported(
        where,
        `rope scaling of the type "${kind}" cannot be run; default, linear and llama3 can`,
      );
  }
}

type Tokens = z.output<typeof tokens>;
const asList = (value: Tokens): readonly number[] =>
  value === null || value === undefined ? [] : [value].flat();

/** Ends of sequence by config.json and generation_config.json together. Some configs say −1 for "none". */
function endTokens(raw: RawConfig, generation: Tokens): readonly number[] {
  const all = [...asList(raw.eos_token_id), ...asList(generation)];
  return [...new Set(all)].filter((token) => token >= 0).sort((a, b) => a - b);
}

/** The keys of config.json. */
function namesIn({ head_dim, rope_parameters }: RawConfig): ConfigNames {
  const rope = (rope_parameters ?? undefined) === undefined ? "rope_scaling" : "rope_parameters";
  return {
    vocabularySize: "vocab_size",
    hiddenSize: "hidden_size",
    intermediateSize: "intermediate_size",
    layers: "num_hidden_layers",
    heads: "num_attention_heads",
    keyValueHeads: "num_key_value_heads",
    headDim: (head_dim ?? undefined) === undefined ? "hidden_size / num_attention_heads" : "head_dim",
    maxPositions: "max_position_embeddings",
    normEpsilon: "rms_norm_eps",
    bosToken: "bos_token_id",
    eosTokens: "eos_token_id",
    padToken: "pad_token_id",
    theta: "rope_theta",
    factor: `${rope}.factor`,
    lowFrequencyFactor: `${rope}.low_freq_factor`,
    highFrequencyFactor: `${rope}.high_freq_factor`,
    originalMaxPositions: `${rope}.original_max_position_embeddings`,
  };
}

export interface ParseConfigOptions {
  /** The content of generation_config.json, whose eos_token_id counts too. */
  readonly generation?: unknown;
}

const generationSchema = z.looseObject({ eos_token_id: tokens });

/**
 * config.json → ModelConfig, in the style of transformers 4 (rope_theta, rope_scaling) or 5 (rope_parameters).
 * `where` names the file in messages.
 *
 * @throws MosError "bad_model" for fields that are missing or impossible, "unsupported" for other architectures.
 * @example
 * const config = parseHuggingFaceConfig(JSON.parse(text), "config.json");
 */
export function parseHuggingFaceConfig(
  json: unknown,
  where: string,
  { generation = {} }: ParseConfigOptions = {},
): ModelConfig {
  const architecture = architectureOf(json, where);
  const raw = parseWith(configSchema, json, { code: "bad_model", where });
  refuseUnsupported(raw, architecture, where);
  const place = {
    code: "bad_model",
    where: where.replace(/(?<=^|[\\/])config\.json$/, "generation_config.json"),
  } as const;
  const { eos_token_id } = parseWith(generationSchema, generation, place);
  const bosToken = asList(raw.bos_token_id).find((token) => token >= 0);
  // Some models state a padding token beyond their vocabulary. Nothing here needs one, so it is dropped.
  const padToken = asList(raw.pad_token_id).find((token) => token >= 0 && token < raw.vocab_size);
  const config: ModelConfig = {
    architecture,
    vocabularySize: raw.vocab_size,
    hiddenSize: raw.hidden_size,
    intermediateSize: raw.intermediate_size,
    layers: raw.num_hidden_layers,
    heads: raw.num_attention_heads,
    keyValueHeads: raw.num_key_value_heads ?? raw.num_attention_heads,
    headDim: raw.head_dim ?? raw.hidden_size / raw.num_attention_heads,
    maxPositions: raw.max_position_embeddings,
    normEpsilon: raw.rms_norm_eps,
    rope: parseRope(raw, where),
    tiedHead: raw.tie_word_embeddings,
    attentionBias: raw.attention_bias ?? false,
    mlpBias: raw.mlp_bias ?? false,
    eosTokens: endTokens(raw, eos_token_id),
    ...(bosToken === undefined ? {} : { bosToken }),
    ...(padToken === undefined ? {} : { padToken }),
  };
  return checkConfig(config, where, namesIn(raw));
}

/** What Meta's Llama 3.1 and later were trained with; only `factor` differs among them. */
const LLAMA3_SCALING = { lowFrequencyFactor: 1, highFrequencyFactor: 4, originalMaxPositions: 8192 } as const;

/** Relative; GGUF keeps its factors in float32. */
const CLOSE_ENOUGH = 1e-4;

/**
 * A GGUF file lists what each frequency is divided by. config.json cannot, so the list becomes Llama 3's rule
 * where it fits, or a linear scaling where all are equal.
 */
function namedRope(config: Pick<ModelConfig, "rope" | "headDim">, where: string): RopeConfig {
  const { rope, headDim } = config;
  if (rope.kind !== "factors") return rope;
  const { theta } = rope;
  const factor = rope.factor * Math.max(...rope.factors);
  const short = Number(factor.toPrecision(6));
  const wanted = ropeFrequencies(config);
  const candidates: readonly RopeConfig[] = [
    short === 1 ? { kind: "default", theta } : { kind: "linear", theta, factor: short },
    { kind: "llama3", theta, factor: short, ...LLAMA3_SCALING },
  ];
  const found = candidates.find((candidate) =>
    ropeFrequencies({ rope: candidate, headDim }).every(
      (frequency, i) => Math.abs(frequency / (wanted[i] ?? 0) - 1) < CLOSE_ENOUGH,
    ),
  );
  if (found !== undefined) return found;
  throw new MosError(
    "unsupported",
    `${where}: its rotary factors (rope_freqs.weight) are not those of Llama 3 with any factor, so config.json cannot state them; use the model's Hugging Face folder`,
  );
}

function ropeFields(rope: RopeConfig): Readonly<Record<string, unknown>> {
  switch (rope.kind) {
    case "linear":
      return { rope_scaling: { rope_type: "linear", factor: rope.factor } };
    case "llama3":
      return {
        rope_scaling: {
          rope_type: "llama3",
          factor: rope.factor,
          low_freq_factor: rope.lowFrequencyFactor,
          high_freq_factor: rope.highFrequencyFactor,
          original_max_position_embeddings: rope.originalMaxPositions,
        },
      };
    default:
      return {};
  }
}

const CLASSES = { llama: "LlamaForCausalLM", mistral: "MistralForCausalLM" } as const;

/**
 * The content of a config.json that transformers opens, and that `parseHuggingFaceConfig` reads back as it was. `where`
 * names the model's file in messages.
 *
 * @throws MosError "unsupported" for rotary factors that config.json cannot state.
 */
export function huggingFaceConfig(config: ModelConfig, where: string): Readonly<Record<string, unknown>> {
  const rope = namedRope(config, where);
  const [first, ...more] = config.eosTokens;
  return {
    architectures: [CLASSES[config.architecture]],
    model_type: config.architecture,
    vocab_size: config.vocabularySize,
    hidden_size: config.hiddenSize,
    intermediate_size: config.intermediateSize,
    num_hidden_layers: config.layers,
    num_attention_heads: config.heads,
    num_key_value_heads: config.keyValueHeads,
    head_dim: config.headDim,
    hidden_act: "silu",
    max_position_embeddings: config.maxPositions,
    rms_norm_eps: config.normEpsilon,
    rope_theta: rope.theta,
    ...ropeFields(rope),
    tie_word_embeddings: config.tiedHead,
    attention_bias: config.attentionBias,
    mlp_bias: config.mlpBias,
    ...(config.architecture === "mistral" ? { sliding_window: null } : {}),
    bos_token_id: config.bosToken ?? null,
    eos_token_id: first === undefined ? null : more.length === 0 ? first : config.eosTokens,
    pad_token_id: config.padToken ?? null,
  };
}
