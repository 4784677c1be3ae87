// Everything about a model but its weights, the same for every kind of file. config-json.ts and gguf-model.ts make it.
import { MosError } from "#common";
import type { FamilyName } from "./families/index.ts";
import { keyLayer, type ModelShape, type RopeConfig, ropeFrequencies, rotatedWidth } from "./geometry.ts";

/** Everything about a model but its weights. */
export interface ModelConfig extends ModelShape {
  readonly architecture: FamilyName;
  readonly bosToken?: number;
  readonly eosTokens: readonly number[];
  readonly padToken?: number;
}

/**
 * Names of a config's fields and its rope's in a config.json and in a GGUF file, for messages. `{head}` stands for the field with
 * the width of a head, `{rope}` for rope_scaling or rope_parameters, `{arch}` for the architecture.
 */
const FIELD_NAMES: Readonly<Record<string, readonly [json: string, gguf: string]>> = {
  vocabularySize: ["vocab_size", "the number of tokenizer.ggml.tokens"],
  hiddenSize: ["hidden_size", "{arch}.embedding_length"],
  intermediateSize: ["intermediate_size", "{arch}.feed_forward_length"],
  layers: ["num_hidden_layers", "{arch}.block_count"],
  heads: ["num_attention_heads", "{arch}.attention.head_count"],
  keyValueHeads: ["num_key_value_heads", "{arch}.attention.head_count_kv"],
  headDim: [
    "{head}",
    "{arch}.attention.key_length (or {arch}.embedding_length / {arch}.attention.head_count)",
  ],
  maxPositions: ["max_position_embeddings", "{arch}.context_length"],
  normEpsilon: ["rms_norm_eps", "{arch}.attention.layer_norm_rms_epsilon"],
  bosToken: ["bos_token_id", "tokenizer.ggml.bos_token_id"],
  eosTokens: ["eos_token_id", "tokenizer.ggml.eos_token_id"],
  padToken: ["pad_token_id", "tokenizer.ggml.padding_token_id"],
  theta: ["rope_theta", "{arch}.rope.freq_base"],
  factor: ["{rope}.factor", "{arch}.rope.scaling.factor"],
  factors: ["factors", "rope_freqs.weight"],
  lowFrequencyFactor: ["{rope}.low_freq_factor", "lowFrequencyFactor"],
  highFrequencyFactor: ["{rope}.high_freq_factor", "highFrequencyFactor"],
  originalMaxPositions: [
    "{rope}.original_max_position_embeddings",
    "{arch}.rope.scaling.original_context_length",
  ],
  shortFactors: ["{rope}.short_factor", "rope_factors_short.weight"],
  longFactors: ["{rope}.long_factor", "rope_factors_long.weight"],
  attentionFactor: ["{rope}.attention_factor", "{arch}.rope.scaling.attn_factor"],
  betaFast: ["{rope}.beta_fast", "betaFast"],
  betaSlow: ["{rope}.beta_slow", "betaSlow"],
  rotaryDim: ["head_dim · partial_rotary_factor", "{arch}.rope.dimension_count"],
  part: ["{rope}.partial_rotary_factor", "part"],
  queryScale: ["llama_4_scaling_beta", "{arch}.attention.temperature_scale"],
  convolution: ["conv_L_cache", "{arch}.shortconv.l_cache"],
  keyHeads: ["linear_num_key_heads", "{arch}.ssm.group_count"],
  valueHeads: ["linear_num_value_heads", "{arch}.ssm.time_step_rank"],
  keyDim: ["linear_key_head_dim", "{arch}.ssm.state_size"],
  valueDim: ["linear_value_head_dim", "{arch}.ssm.inner_size"],
  kernel: ["linear_conv_kernel_dim", "{arch}.ssm.conv_kernel"],
  window: ["sliding_window", "{arch}.attention.sliding_window"],
  attentionScale: ["the factor on attention scores", "{arch}.attention.scale"],
  attentionSoftCap: ["attn_logit_softcapping", "{arch}.attn_logit_softcapping"],
  logitSoftCap: ["final_logit_softcapping", "{arch}.final_logit_softcapping"],
  embeddingScale: ["embedding_multiplier", "{arch}.embedding_scale"],
  residualScale: ["residual_multiplier", "{arch}.residual_scale"],
  logitScale: ["1 / logits_scaling", "1 / {arch}.logit_scale"],
};

/** Name of a config's field in its file. */
type FieldName = (field: string) => string;

/** Names of fields in a config.json. */
export const jsonNames =
  ({ head, rope }: { readonly head: string; readonly rope: string }): FieldName =>
  (field) =>
    FIELD_NAMES[field]?.[0].replace("{rope}", rope).replace("{head}", head) ?? field;

/** Names of fields in a GGUF file. */
export const ggufNames =
  (architecture: string): FieldName =>
  (field) =>
    FIELD_NAMES[field]?.[1].replaceAll("{arch}", architecture) ?? field;

interface ConfigPlace {
  readonly fieldName: FieldName;
  /** The error for something that cannot be. */
  readonly invalid: (what: string) => MosError;
}

/** Generous bounds: no model comes near, and products of two of them stay exact. */
const LARGEST_SIZES = {
  vocabularySize: 2 ** 24,
  hiddenSize: 2 ** 17,
  intermediateSize: 2 ** 20,
  layers: 1024,
  heads: 4096,
  keyValueHeads: 4096,
  headDim: 4096,
  maxPositions: 2 ** 31,
} as const;

type SizeField = keyof typeof LARGEST_SIZES;

/** Refuses a size that is no whole number within its bounds. */
export function checkSize(field: SizeField, value: number, { fieldName, invalid }: ConfigPlace): void {
  const largest = LARGEST_SIZES[field];
  if (!Number.isSafeInteger(value) || value < 1 || value > largest)
    throw invalid(`${fieldName(field)} is ${value}; expected a whole number from 1 to ${largest}`);
}

function checkRope(
  rope: RopeConfig,
  config: ModelConfig,
  { fieldName, invalid, windowed }: ConfigPlace & { readonly windowed: boolean },
): void {
  const rotaryDim = rotatedWidth(config, windowed);
  const pairs = rotaryDim / 2;
  for (const [field, values] of Object.entries(rope)) {
    const bad = [values]
      .flat()
      .find((value) => typeof value === "number" && !(Number.isFinite(value) && value > 0));
    if (bad !== undefined) throw invalid(`${fieldName(field)} is ${bad}; expected a positive number`);
    if (Array.isArray(values) && values.length !== pairs)
      throw invalid(
        `${fieldName(field)} has ${values.length} values; heads with ${rotaryDim} rotary dimensions need ${pairs}`,
      );
  }
  const longest = ropeFrequencies({ rope, rotaryDim, positions: config.maxPositions });
  const isTurned = (frequency: number): boolean => frequency > 0 || rope.kind === "proportional";
  if (!longest.every((frequency) => Number.isFinite(frequency) && isTurned(frequency)))
    throw invalid(
      `the rotary frequencies of the type "${rope.kind}" are not positive with ${fieldName("theta")} ${rope.theta} and ${rotaryDim} rotary dimensions per head`,
    );
  if (rope.kind === "llama3" && rope.highFrequencyFactor <= rope.lowFrequencyFactor)
    throw invalid(
      `${fieldName("highFrequencyFactor")} is ${rope.highFrequencyFactor}; it must exceed ${fieldName("lowFrequencyFactor")}, which is ${rope.lowFrequencyFactor}`,
    );
}

const POSITIVE = [
  "attentionScale",
  "attentionSoftCap",
  "logitSoftCap",
  "embeddingScale",
  "residualScale",
  "logitScale",
] as const;

/** Widths of heads, and the numbers of a family's choices. */
function checkChoices(config: ModelConfig, { fieldName, invalid }: ConfigPlace): void {
  const { headDim, rotaryDim = headDim } = config;
  if (headDim % 2 !== 0)
    throw invalid(
      `${fieldName("headDim")} is ${headDim}; it must be even, since rotary embeddings need pairs`,
    );
  if (!Number.isInteger(rotaryDim) || rotaryDim < 2 || rotaryDim > headDim || rotaryDim % 2 !== 0)
    throw invalid(`${fieldName("rotaryDim")} is ${rotaryDim}; expected an even number from 2 to ${headDim}`);
  for (const field of POSITIVE) {
    const value = config[field] ?? 1;
    if (!(Number.isFinite(value) && value > 0))
      throw invalid(`${fieldName(field)} is ${value}; expected a positive number`);
  }
}

/** Choices of single layers. */
function checkLayers(config: ModelConfig, { fieldName, invalid }: ConfigPlace): void {
  const { window, convolution, layerKinds, rotatedLayers } = config;
  if (rotatedLayers?.includes(true) === false)
    throw invalid("no layer has rotary embeddings (no_rope_layers); such models are not supported");
  const { sharingLayers = 0 } = config;
  const last = Array.from({ length: config.layers }, (_, layer) => layer).slice(
    config.layers - sharingLayers,
  );
  if (last.some((layer) => keyLayer(config, layer) === layer))
    throw invalid(
      `the last ${sharingLayers} layers share keys (num_kv_shared_layers), but not all have an earlier layer of their kind`,
    );
  if (layerKinds?.includes("attention") === false)
    throw invalid("no layer has attention (layer_types); such models are not supported");
  if (
    convolution !== undefined &&
    !(Number.isSafeInteger(convolution) && convolution >= 1 && convolution <= 64)
  )
    throw invalid(`${fieldName("convolution")} is ${convolution}; expected a whole number from 1 to 64`);
  if (window !== undefined && window.layers.length !== config.layers)
    throw invalid(
      `${window.layers.length} layers are listed as windowed or not, but the model has ${config.layers} layers`,
    );
  if (window !== undefined && !(Number.isSafeInteger(window.size) && window.size > 0))
    throw invalid(`${fieldName("window")} is ${window.size}; expected a whole number of at least 1`);
}

/** Heads of layers without a window, where they are others. */
function checkFullHeads({ fullHeads: full, heads }: ModelConfig, { invalid }: ConfigPlace): void {
  if (full === undefined) return;
  const { headDim, keyValueHeads } = full;
  const isSize = (size: number, most: number): boolean =>
    Number.isSafeInteger(size) && size >= 1 && size <= most;
  const areSizes =
    isSize(headDim, LARGEST_SIZES.headDim) && isSize(keyValueHeads, LARGEST_SIZES.keyValueHeads);
  if (!areSizes || headDim % 2 !== 0 || heads % keyValueHeads !== 0)
    throw invalid(
      `full layers have ${heads} heads of ${headDim} that share ${keyValueHeads}; widths must be even and at most ${LARGEST_SIZES.headDim}, and heads divide`,
    );
}

/** Heads of linear attention. */
function checkLinearHeads(
  { linearAttention: heads }: ModelConfig,
  { fieldName, invalid }: ConfigPlace,
): void {
  if (heads === undefined) return;
  for (const [field, value] of Object.entries(heads)) {
    const [least, most] = field === "kernel" ? [2, 64] : [1, 4096];
    if (!Number.isSafeInteger(value) || value < least || value > most)
      throw invalid(`${fieldName(field)} is ${value}; expected a whole number from ${least} to ${most}`);
  }
  if (heads.valueHeads % heads.keyHeads !== 0)
    throw invalid(
      `${fieldName("valueHeads")} ${heads.valueHeads} is not a multiple of ${fieldName("keyHeads")} ${heads.keyHeads}`,
    );
}

/** A factor on queries by their position. */
function checkQueryScale(config: ModelConfig, { fieldName, invalid }: ConfigPlace): void {
  const { queryScale, rotatedLayers } = config;
  if (queryScale === undefined) return;
  const { beta, originalPositions } = queryScale;
  if (!(Number.isFinite(beta) && beta >= 0 && Number.isFinite(originalPositions) && originalPositions > 0))
    throw invalid(
      `${fieldName("queryScale")} is ${beta} for ${originalPositions} positions; neither may be negative`,
    );
  // the factor is part of the rotation
  if (rotatedWidth(config) !== config.headDim || rotatedLayers?.includes(false))
    throw invalid(`${fieldName("queryScale")} needs whole heads that are rotated in all layers`);
}

function checkTokens(config: ModelConfig, { fieldName, invalid }: ConfigPlace): void {
  for (const field of ["bosToken", "padToken", "eosTokens"] as const)
    for (const token of [config[field] ?? []].flat())
      if (!(Number.isInteger(token) && token >= 0 && token < config.vocabularySize))
        throw invalid(`${fieldName(field)} ${token} is outside the vocabulary of ${config.vocabularySize}`);
}

/**
 * Checks that a config describes a model that can exist: sizes in range, heads that divide, an even head width.
 *
 * @returns the config itself.
 * @throws MosError "bad_model" naming the field.
 */
export function checkConfig(
  config: ModelConfig,
  where: string,
  fieldName: FieldName = (field) => field,
): ModelConfig {
  const invalid = (what: string): MosError => new MosError("bad_model", `${where}: ${what}`);
  const place = { fieldName, invalid };
  for (const field of Object.keys(LARGEST_SIZES) as SizeField[]) checkSize(field, config[field], place);
  const { heads, keyValueHeads, normEpsilon, rope, localRope = rope } = config;
  if (heads % keyValueHeads !== 0)
    throw invalid(
      `${heads} heads cannot share ${keyValueHeads} key-value heads evenly (${fieldName("heads")}, ${fieldName("keyValueHeads")})`,
    );
  if (!(normEpsilon > 0 && normEpsilon < 1))
    throw invalid(`${fieldName("normEpsilon")} is ${normEpsilon}; it must be in (0, 1)`);
  checkChoices(config, place);
  checkLayers(config, place);
  checkFullHeads(config, place);
  checkLinearHeads(config, place);
  checkQueryScale(config, place);
  checkRope(rope, config, { ...place, windowed: false });
  checkRope(localRope, config, { ...place, windowed: true });
  checkTokens(config, place);
  return config;
}
