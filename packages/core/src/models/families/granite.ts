import { MosError, omitUndefined } from "#common";
import { layerRope } from "../geometry.ts";
import { type Family, type FamilyChoices, nullToUndefined, unsupported } from "./family.ts";
import { layerTypes, windowByTypes } from "./layer-windows.ts";
import type { RawConfig } from "./raw-config.ts";
import { ropeType } from "./rope-json.ts";

/** Granite 3 (dense): Llama with factors on embeddings, attention scores, branches and logits. */
export const granite: Family = {
  models: "Granite 3, 4.1 and 4.2 (dense)",
  className: "GraniteForCausalLM",
  biases: ["attention_bias", "mlp_bias"],
  defaults: {
    max_position_embeddings: 2048,
    rms_norm_eps: 1e-6,
    tie_word_embeddings: false,
    attention_multiplier: 1,
  },
  decoder: {},
  fromJson: (raw) =>
    omitUndefined({
      embeddingScale: nullToUndefined(raw.embedding_multiplier),
      attentionScale: nullToUndefined(raw.attention_multiplier),
      residualScale: nullToUndefined(raw.residual_multiplier),
      logitScale: raw.logits_scaling ? 1 / raw.logits_scaling : undefined,
    }),
  toJson: ({ embeddingScale = 1, attentionScale = 1, residualScale = 1, logitScale = 1 }) => ({
    embedding_multiplier: embeddingScale,
    attention_multiplier: attentionScale,
    residual_multiplier: residualScale,
    logits_scaling: 1 / logitScale,
  }),
  gguf: {
    architecture: "granite",
    order: "pairs",
    read(header) {
      const logits = header.at("logit_scale");
      return omitUndefined({
        embeddingScale: header.at("embedding_scale"),
        attentionScale: header.at("attention.scale"),
        residualScale: header.at("residual_scale"),
        logitScale: logits ? 1 / logits : undefined,
      });
    },
  },
};

/** Granite 4.0 (dense): the same under the names of its hybrids. llama.cpp keeps it as a Granite. */
export const graniteHybrid: Family = {
  ...granite,
  models: "Granite 4.0 (dense)",
  className: "GraniteMoeHybridForCausalLM",
  biases: ["attention_bias"],
  modules: {
    "shared_mlp.input_linear": ["mlp.gate_proj", "mlp.up_proj"],
    "shared_mlp.output_linear": ["mlp.down_proj"],
  },
  defaults: { ...granite.defaults, num_local_experts: 8, shared_intermediate_size: 1024 },
  rename: (json) => ({
    intermediate_size: json["shared_intermediate_size"] ?? 1024,
    layer_types: json["layers_block_type"] ?? json["layer_types"],
  }),
  fromJson(raw, where) {
    if (Number(raw.num_local_experts ?? 8) > 0)
      throw unsupported(
        where,
        `mixture-of-experts models (num_local_experts ${raw.num_local_experts}) are not supported`,
      );
    const { layer_types: types, num_hidden_layers: layers, position_embedding_type: positions } = raw;
    // transformers reads either name, and writes the longer one
    const isAttention = (type: string): boolean => type === "attention" || type === "full_attention";
    const other = types ? types.find((type) => !isAttention(type)) : "linear_attention";
    if (other !== undefined || types?.length !== layers)
      throw unsupported(
        where,
        `all ${layers} layers must be "attention" (layer_types), and not "${other ?? `${types?.length} of them`}"; hybrids with Mamba are not supported`,
      );
    if (positions !== "rope")
      throw unsupported(
        where,
        `position_embedding_type ${positions ?? null} is not supported; it must be "rope"`,
      );
    return granite.fromJson(raw, where);
  },
  toJson: (config) => ({
    ...granite.toJson(config),
    shared_intermediate_size: config.intermediateSize,
    num_local_experts: 0,
    num_experts_per_tok: 0,
    layer_types: Array.from({ length: config.layers }, () => "attention"),
    position_embedding_type: "rope",
    // checked by transformers, though no layer has such heads
    mamba_n_heads: 1,
    mamba_expand: 1,
    mamba_d_head: config.hiddenSize,
  }),
};

/** The rope of each layer by its base, where 0 is none: one for full layers and one for windowed ones. */
function layerThetas(raw: RawConfig, where: string, layers: FamilyChoices): FamilyChoices {
  const { layer_rope_theta: thetas, num_hidden_layers: count } = raw;
  if (!thetas) return {};
  if (thetas.length !== count)
    throw new MosError(
      "bad_model",
      `${where}: layer_rope_theta has ${thetas.length} entries for ${count} layers`,
    );
  const ofKind = (windowed: boolean): number | undefined => {
    const own = thetas.filter((theta, i) => theta !== 0 && (layers.window?.layers[i] === true) === windowed);
    if (new Set(own).size > 1)
      throw unsupported(where, "layer_rope_theta differs between layers of one type (layer_types)");
    return own[0];
  };
  const [full, windowed] = [ofKind(false), ofKind(true)];
  const theta = full ?? windowed ?? 1e4;
  return {
    rope: { kind: "default", theta },
    ...(windowed === undefined || windowed === theta
      ? {}
      : { localRope: { kind: "default", theta: windowed } }),
    ...(thetas.includes(0) ? { rotatedLayers: thetas.map((one) => one !== 0) } : {}),
  };
}

/** Granite with windows: windows of 128 in three layers of four, ropes by layer, and sinks. */
export const graniteSwa: Family = {
  models: "Granite with windows",
  className: "GraniteSWAForCausalLM",
  biases: ["attention_bias", "mlp_bias"],
  defaults: {
    max_position_embeddings: 8192,
    rms_norm_eps: 1e-5,
    tie_word_embeddings: true,
    num_key_value_heads: 4,
    attention_multiplier: 1,
    sliding_window: 128,
  },
  decoder: { sinks: true },
  fromJson(raw, where) {
    const size = nullToUndefined(raw.sliding_window);
    const layers = windowByTypes(raw, { where, size, otherwise: (layer) => layer % 4 !== 0 });
    const { rope_scaling, rope_parameters } = raw;
    const type = ropeType({ ...rope_parameters, ...rope_scaling });
    if (raw.layer_rope_theta && type !== "default")
      throw unsupported(where, `rope_type "${type}" beside layer_rope_theta is not supported`);
    return { ...granite.fromJson(raw, where), ...layers, ...layerThetas(raw, where, layers) };
  },
  toJson: (config) => ({
    ...granite.toJson(config),
    sliding_window: config.window?.size ?? config.maxPositions,
    layer_types: layerTypes(config),
    layer_rope_theta: Array.from(
      { length: config.layers },
      (_, layer) => layerRope(config, layer)?.theta ?? 0,
    ),
  }),
};
