// config.json of a Hugging Face folder → ModelConfig, and back. Fields that change results and are not implemented are
// refused by name; fields that do not matter for the forward pass are ignored.
import { z } from "zod";
import { MosError, omitUndefined, parseWith } from "#common";
import { checkConfig, jsonNames, type ModelConfig } from "./config.ts";
import { ACTIVATIONS, activationName } from "./families/activations.ts";
import { unsupported } from "./families/family.ts";
import { FAMILIES, FAMILY_NAMES, type Family, type FamilyName } from "./families/index.ts";
import { withoutIdleWindow } from "./families/layer-windows.ts";
import { configSchema, type RawConfig, tokenIds } from "./families/raw-config.ts";
import { parseRopes, ropeFields } from "./families/rope-json.ts";
import { unwrapped } from "./nested.ts";

const identitySchema = z.looseObject({
  model_type: z.string().optional(),
  architectures: z.array(z.string()).nullish(),
});

function readFamily(json: unknown, where: string): FamilyName {
  const { model_type, architectures } = parseWith(identitySchema, json, { code: "bad_model", where });
  const classes = architectures ?? [];
  const byClass = FAMILY_NAMES.find((name) => FAMILIES[name].className === classes[0]);
  const kind = model_type ?? byClass ?? classes[0];
  if (kind === undefined)
    throw new MosError("bad_model", `${where}: neither model_type nor architectures say what this model is`);
  const family = FAMILY_NAMES.find((name) => name === kind);
  if (family === undefined)
    throw unsupported(
      where,
      `models of the type "${kind}" are not supported; supported are ${FAMILY_NAMES.join(", ")}`,
    );
  const { className } = FAMILIES[family];
  // embedding models are often saved without their head
  const known = [className, className.replace("ForCausalLM", "Model")];
  const other = classes.find((name) => !known.includes(name));
  if (other !== undefined)
    throw unsupported(
      where,
      `the architecture ${other} is not supported; a model of the type "${kind}" must be a ${className}`,
    );
  return family;
}

/** The activation, where it is not the family's. Gemma has a field of its own for it; the common one is wrong in old files. */
function readActivation(raw: RawConfig, { family, where }: Place): Pick<ModelConfig, "activation"> {
  const key = family.decoder.activation === undefined ? "hidden_act" : "hidden_activation";
  const name = raw[key];
  if (name === undefined || name === null) return {};
  const activation = ACTIVATIONS.get(name);
  if (activation === undefined)
    throw unsupported(
      where,
      `${key} "${name}" is not supported; supported are ${[...ACTIVATIONS.keys()].join(", ")}`,
    );
  return activation === "silu" && !family.decoder.activation ? {} : { activation };
}

interface Place {
  readonly family: Family;
  readonly where: string;
}

/** Fields that only mixtures of experts have. */
const EXPERTS = ["num_experts", "num_local_experts", "n_routed_experts"] as const;

function refuseUnsupported(raw: RawConfig, where: string): void {
  const experts = EXPERTS.find((key) => Number(raw[key] ?? 0) > 1);
  if (experts !== undefined)
    throw unsupported(
      where,
      `mixture-of-experts models (${experts} ${String(raw[experts])}) are not supported`,
    );
  if (raw.quantization_config !== undefined && raw.quantization_config !== null)
    throw unsupported(
      where,
      "quantised weights (quantization_config) are not supported; use the original or a GGUF",
    );
}

type Tokens = z.output<typeof tokenIds>;
const asList = (value: Tokens): readonly number[] =>
  value === null || value === undefined ? [] : [value].flat();

/** Ends of sequence by config.json and generation_config.json together. Some configs say −1 for "none". */
function endTokens(raw: RawConfig, generation: Tokens): readonly number[] {
  const all = [...asList(raw.eos_token_id), ...asList(generation)];
  return [...new Set(all)].filter((token) => token >= 0).sort((a, b) => a - b);
}

interface ParseConfigOptions {
  /** The content of generation_config.json, whose eos_token_id counts too. */
  readonly generation?: unknown;
}

const generationSchema = z.looseObject({ eos_token_id: tokenIds });

/** The fields of config.json with its family's defaults for those that it leaves out. */
function rawConfig(json: unknown, { family, where }: Place): RawConfig {
  const stated = Object.entries(json as object).filter(
    ([name, value]) => value !== undefined && !(name === "rope_parameters" && value === null),
  );
  const fields = Object.fromEntries(stated);
  const renamed = Object.entries(family.rename?.(fields) ?? {}).filter(
    ([name, value]) => value !== fields[name],
  );
  const whole = omitUndefined({ ...family.defaults, ...fields, ...Object.fromEntries(renamed) });
  return parseWith(configSchema, whole, { code: "bad_model", where });
}

/**
 * config.json → ModelConfig, in the style of transformers 4 (rope_theta, rope_scaling) or 5 (rope_parameters). Of a
 * model that also sees, such as `gemma3`, it is the language model. `where` names the file in messages.
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
  const text = unwrapped(json, where);
  const architecture = readFamily(text, where);
  const family: Family = FAMILIES[architecture];
  const raw = rawConfig(text, { family, where });
  refuseUnsupported(raw, where);
  const place = {
    code: "bad_model",
    where: where.replace(/(?<=^|[\\/])config\.json$/, "generation_config.json"),
  } as const;
  const { eos_token_id } = parseWith(generationSchema, generation, place);
  const bosToken = asList(raw.bos_token_id).find((token) => token >= 0);
  // Some models state a padding token beyond their vocabulary. Nothing here needs one, so it is dropped.
  const padToken = asList(raw.pad_token_id).find((token) => token >= 0 && token < raw.vocab_size);
  const headDim = raw.head_dim ?? raw.hidden_size / raw.num_attention_heads;
  const config: ModelConfig = {
    architecture,
    vocabularySize: raw.vocab_size,
    hiddenSize: raw.hidden_size,
    intermediateSize: raw.intermediate_size,
    layers: raw.num_hidden_layers,
    heads: raw.num_attention_heads,
    keyValueHeads: raw.num_key_value_heads ?? raw.num_attention_heads,
    headDim,
    normEpsilon: raw.rms_norm_eps,
    ...parseRopes(headDim, { raw, family, where }),
    tiedHead: raw.tie_word_embeddings,
    attentionBias: family.biases.includes("attention_bias") && raw.attention_bias === true,
    mlpBias: family.biases.includes("mlp_bias") && raw.mlp_bias === true,
    ...family.decoder,
    ...readActivation(raw, { family, where }),
    ...family.fromJson(raw, where),
    eosTokens: endTokens(raw, eos_token_id),
    ...omitUndefined({ bosToken, padToken }),
  };
  const head = (raw.head_dim ?? undefined) === undefined ? "hidden_size / num_attention_heads" : "head_dim";
  const rope = Object.keys(raw.rope_scaling ?? {}).length > 0 ? "rope_scaling" : "rope_parameters";
  return checkConfig(withoutIdleWindow(config), where, jsonNames({ head, rope }));
}

/**
 * The content of a config.json that transformers opens, and that `parseHuggingFaceConfig` reads back as it was. `where`
 * names the model's file in messages.
 *
 * @throws MosError "unsupported" for rotary factors that config.json cannot state.
 */
export function huggingFaceConfig(config: ModelConfig, where: string): Readonly<Record<string, unknown>> {
  const family: Family = FAMILIES[config.architecture];
  const [first, ...more] = config.eosTokens;
  return {
    architectures: [family.className],
    model_type: config.architecture,
    vocab_size: config.vocabularySize,
    hidden_size: config.hiddenSize,
    intermediate_size: config.intermediateSize,
    num_hidden_layers: config.layers,
    num_attention_heads: config.heads,
    num_key_value_heads: config.keyValueHeads,
    head_dim: config.headDim,
    hidden_act: activationName(config.activation),
    rms_norm_eps: config.normEpsilon,
    ...ropeFields(config, where),
    tie_word_embeddings: config.tiedHead,
    attention_bias: config.attentionBias === true,
    mlp_bias: config.mlpBias,
    ...family.toJson(config),
    bos_token_id: config.bosToken ?? null,
    eos_token_id: first === undefined ? null : more.length === 0 ? first : config.eosTokens,
    pad_token_id: config.padToken ?? null,
  };
}

/** Fields in which transformers 5 refuses a whole number that has no decimal point. */
const DECIMALS =
  /("(?:(?:attn|final)_logit_softcapping|attention_dropout|initializer_range|router_aux_loss_coef)": -?\d+|(?<="time_step_limit": \[\s{0,9}(?:[-\d.]{1,20},\s{0,9})?)-?\d+)(?=[,\s])/g;

/** The text of a config.json, which JSON.stringify alone would give without the points that transformers asks for. */
export const configText = (config: unknown): string =>
  `${JSON.stringify(config, null, 2).replace(DECIMALS, "$1.0")}\n`;
