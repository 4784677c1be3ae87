import { MosError } from "#common";
import { type Family, nullToUndefined, unsupported } from "./family.ts";
import { ggufWindow } from "./gguf-fields.ts";
import { windowOnAll } from "./layer-windows.ts";
import type { RawConfig } from "./raw-config.ts";
import { ropeParameters } from "./rope-json.ts";

/** Mistral: Llama, with a window on all layers in its first version. llama.cpp keeps it as a Llama. */
export const mistral: Family = {
  models: "Mistral 7B and Mistral NeMo",
  className: "MistralForCausalLM",
  biases: [],
  defaults: {
    max_position_embeddings: 131072,
    rms_norm_eps: 1e-6,
    tie_word_embeddings: false,
    num_key_value_heads: 8,
    sliding_window: 4096,
  },
  decoder: {},
  // whatever `layer_types` says, as in transformers
  fromJson: (raw) => windowOnAll(nullToUndefined(raw.sliding_window), raw.num_hidden_layers),
  toJson: ({ window }) => ({ sliding_window: window?.size ?? null }),
  gguf: {
    architecture: "llama",
    order: "pairs",
    isOurs: (header) => (ggufWindow(header) ?? 0) > 0,
    read: (header) => windowOnAll(ggufWindow(header), header.layers),
  },
};

/** The rope's fields that scale queries. transformers needs both. */
function queryScale(raw: RawConfig, where: string) {
  const { rope_scaling: scaling, rope_parameters: parameters } = raw;
  const rope = Object.keys(scaling ?? {}).length > 0 ? scaling : parameters;
  const name = "original_max_position_embeddings";
  const isScaled = !["default", "linear", "dynamic"].includes(rope?.rope_type ?? rope?.type ?? "default");
  const original = raw[name] ?? rope?.[name] ?? (isScaled ? raw.max_position_embeddings : undefined);
  const beta = rope?.llama_4_scaling_beta;
  if (beta === undefined || beta === null || original === undefined)
    throw new MosError(
      "bad_model",
      `${where}: rope_parameters must have llama_4_scaling_beta and ${name} in this family`,
    );
  return { beta, originalPositions: original };
}

/** Ministral 3: Mistral with queries that grow with their position. */
export const ministral3: Family = {
  models: "Ministral 3",
  className: "Ministral3ForCausalLM",
  biases: [],
  defaults: {
    max_position_embeddings: 262_144,
    rms_norm_eps: 1e-5,
    tie_word_embeddings: false,
    num_key_value_heads: 8,
    head_dim: 128,
    rope_parameters: {
      type: "yarn",
      rope_theta: 1e6,
      factor: 16,
      original_max_position_embeddings: 16_384,
      beta_fast: 32,
      beta_slow: 1,
      mscale: 1,
      mscale_all_dim: 1,
      llama_4_scaling_beta: 0.1,
    },
  },
  decoder: {},
  fromJson: (raw, where) => ({
    ...mistral.fromJson(raw, where),
    queryScale: queryScale(raw, where),
  }),
  toJson: (config) => ({
    ...mistral.toJson(config),
    rope_scaling: null,
    rope_parameters: {
      ...ropeParameters(config.rope),
      original_max_position_embeddings: config.queryScale?.originalPositions,
      llama_4_scaling_beta: config.queryScale?.beta,
    },
  }),
  gguf: {
    architecture: "mistral3",
    order: "pairs",
    yarnFactor: 1,
    read(header) {
      const beta = header.at("attention.temperature_scale");
      if (beta === undefined)
        throw unsupported(
          header.path,
          "models of the type mistral3 without attention.temperature_scale are not supported; use the model's Hugging Face folder",
        );
      return {
        ...windowOnAll(ggufWindow(header), header.layers),
        queryScale: { beta, originalPositions: header.need("rope.scaling.original_context_length") },
      };
    },
  },
};
