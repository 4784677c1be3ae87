// LFM2, LFM2.5 and LFM3 of Liquid AI: short convolutions in most layers, and attention in the others.
import { MosError, omitUndefined } from "#common";
import type { DecoderChoices, LayerKind, ModelShape } from "../geometry.ts";
import { type Family, type FamilyChoices, type GgufHeader, nullToUndefined, unsupported } from "./family.ts";
import { layerNumbers } from "./gguf-fields.ts";
import { checkTypeCount, eachLayer, windowOn } from "./layer-windows.ts";
import type { RawConfig } from "./raw-config.ts";
import { layerTypeRopes, refuseRopeScaling } from "./rope-json.ts";

const LFM_MODULES: Readonly<Record<string, readonly string[]>> = {
  embedding_norm: ["norm"],
  "feed_forward.w1": ["mlp.gate_proj"],
  "feed_forward.w3": ["mlp.up_proj"],
  "feed_forward.w2": ["mlp.down_proj"],
  operator_norm: ["input_layernorm"],
};

const LFM_DEFAULTS = {
  max_position_embeddings: 128_000,
  rms_norm_eps: 1e-5,
  rope_theta: 1e6,
  tie_word_embeddings: true,
  conv_bias: false,
};

/** The types of layers that a family has. */
const TYPES = {
  conv: "conv",
  full_attention: "attention",
  sliding_attention: "attention",
} as const satisfies Readonly<Record<string, LayerKind>>;
type LayerType = keyof typeof TYPES;

/** The layers' kinds by their types, and the convolution's length. */
function layers(
  raw: RawConfig,
  where: string,
  {
    known,
    otherwise,
  }: { readonly known: readonly LayerType[]; readonly otherwise: (layer: number) => LayerType },
): FamilyChoices & { readonly types: readonly LayerType[] } {
  const { layer_types: stated, num_hidden_layers: count, conv_L_cache: convolution, conv_bias } = raw;
  if (conv_bias === true)
    throw unsupported(where, "conv_bias true is not supported; convolutions have no biases");
  if (stated) checkTypeCount(stated, count, where);
  const names = stated ?? eachLayer<string>(count, otherwise);
  const types = names.map((name) => {
    const type = known.find((one) => one === name);
    if (type === undefined)
      throw unsupported(
        where,
        `layers of the type "${name}" (layer_types) are not supported in this family; it has ${known.join(", ")}`,
      );
    return type;
  });
  const kinds = types.map((type) => TYPES[type]);
  if (!kinds.includes("conv")) return { types };
  return { types, layerKinds: kinds, convolution: convolution ?? 3 };
}

const layerTypesJson = ({ layerKinds, window, layers: count, convolution }: ModelShape) => ({
  layer_types: Array.from({ length: count }, (_, layer) =>
    layerKinds?.[layer] === "conv"
      ? "conv"
      : window?.layers[layer] === true
        ? "sliding_attention"
        : "full_attention",
  ),
  ...omitUndefined({ conv_L_cache: convolution }),
});

/** Kinds by the numbers of key-value heads, of which layers with a convolution have none. */
function ggufLayers(header: GgufHeader): FamilyChoices {
  const { path, at } = header;
  const counts = layerNumbers(header, "attention.head_count_kv");
  const heads = [...new Set(counts.filter((count) => count > 0))];
  if (heads.length !== 1)
    throw unsupported(
      path,
      "lfm2.attention.head_count_kv must list one number of heads, or 0, for each layer",
    );
  const layerKinds = counts.map((count): LayerKind => (count === 0 ? "conv" : "attention"));
  return {
    keyValueHeads: heads[0] as number,
    ...(layerKinds.includes("conv") ? { layerKinds, convolution: at("shortconv.l_cache") ?? 3 } : {}),
  };
}

/** The width that the MLP really has: config.json may state that of an MLP with one projection less. */
function adjustedWidth(json: Readonly<Record<string, unknown>>): number | undefined {
  const number = (name: string, otherwise: number): number => Number(json[name] ?? otherwise);
  const stated = json["block_ff_dim"] ?? json["intermediate_size"];
  if (typeof stated !== "number" || json["block_auto_adjust_ff_dim"] === false)
    return stated as number | undefined;
  const part = Math.trunc((2 * stated) / 3);
  if (json["block_ffn_dim_multiplier"] === null) return part;
  const multiple = number("block_multiple_of", 256);
  return multiple * Math.ceil(Math.trunc(number("block_ffn_dim_multiplier", 1) * part) / multiple);
}

const LFM2: DecoderChoices = { queryKeyNorm: "head" };

/** LFM2 and LFM2.5: Llama with norms of each head's queries and keys, where a layer has attention. */
export const lfm2: Family = {
  models: "LFM2 and LFM2.5 (dense)",
  className: "Lfm2ForCausalLM",
  biases: [],
  modules: {
    ...LFM_MODULES,
    ffn_norm: ["post_attention_layernorm"],
    "self_attn.out_proj": ["self_attn.o_proj"],
    "self_attn.q_layernorm": ["self_attn.q_norm"],
    "self_attn.k_layernorm": ["self_attn.k_norm"],
  },
  defaults: { ...LFM_DEFAULTS, num_key_value_heads: 8, conv_L_cache: 3 },
  rename: (json) => ({
    rms_norm_eps: json["norm_eps"] ?? LFM_DEFAULTS.rms_norm_eps,
    intermediate_size: adjustedWidth(json),
    tie_word_embeddings: json["tie_embedding"] ?? json["tie_word_embeddings"],
    hidden_act: undefined, // the MLP has silu, whatever is stated
  }),
  decoder: LFM2,
  fromJson(raw, where) {
    const full = raw.full_attn_idxs;
    const { types: _, ...choices } = layers(raw, where, {
      known: ["conv", "full_attention"],
      otherwise: (layer) => (full && !full.includes(layer) ? "conv" : "full_attention"),
    });
    return choices;
  },
  toJson: (config) => ({
    norm_eps: config.normEpsilon,
    block_auto_adjust_ff_dim: false,
    conv_bias: false,
    ...layerTypesJson(config),
  }),
  gguf: {
    architecture: "lfm2",
    byLayer: ["attention.head_count_kv"],
    names: { "model.norm.weight": "token_embd_norm.weight" },
    read: ggufLayers,
  },
};

/** LFM3: windows in some layers of attention, norms after each half of a layer, and a gate for each head. */
export const lfm3: Family = {
  models: "LFM3",
  className: "Lfm3ForCausalLM",
  biases: ["attention_bias"],
  ropesByLayerType: true,
  rotatesByRope: true,
  modules: {
    ...LFM_MODULES,
    post_operator_norm: ["post_attention_layernorm"],
    ffn_norm: ["pre_feedforward_layernorm"],
    post_ffn_norm: ["post_feedforward_layernorm"],
  },
  storedNames: [[".self_attn.g_proj.", ".self_attn.gate_proj."]],
  defaults: {
    ...LFM_DEFAULTS,
    num_key_value_heads: 4,
    head_dim: 128,
    conv_L_cache: 7,
    sliding_window: 256,
    rope_parameters: {
      full_attention: { rope_type: "proportional", rope_theta: 1e6, partial_rotary_factor: 0.5 },
      sliding_attention: { rope_type: "default", rope_theta: 1e4 },
    },
    use_sandwich_norm: true,
    use_attention_gate: true,
  },
  rename: (json) => ({
    rms_norm_eps: json["rms_norm_eps"] ?? json["norm_eps"] ?? LFM_DEFAULTS.rms_norm_eps,
    // both ropes have one default
    rope_local_base_freq: json["rope_theta"] ?? LFM_DEFAULTS.rope_theta,
    hidden_act: undefined,
  }),
  decoder: { ...LFM2, norms: "both" },
  fromJson(raw, where) {
    if (raw.use_sandwich_norm === false)
      throw unsupported(where, "use_sandwich_norm false is not supported; layers have norms after each half");
    refuseRopeScaling(raw, where);
    const { types, ...choices } = layers(raw, where, {
      known: ["conv", "full_attention", "sliding_attention"],
      otherwise: (layer) =>
        layer % 4 === 2 ? "full_attention" : layer % 4 === 0 && layer > 0 ? "sliding_attention" : "conv",
    });
    const size = nullToUndefined(raw.sliding_window);
    const windowed = types.map((type) => type === "sliding_attention");
    if (size === undefined && windowed.includes(true))
      throw new MosError("bad_model", `${where}: layers are sliding_attention, but sliding_window is null`);
    return {
      ...choices,
      ...windowOn(size, windowed),
      ...(raw.use_attention_gate === false ? {} : { attentionGate: true }),
    };
  },
  toJson: (config) => ({
    norm_eps: config.normEpsilon,
    conv_bias: false,
    sliding_window: config.window?.size ?? null,
    use_sandwich_norm: true,
    use_attention_gate: config.attentionGate === true,
    ...layerTypeRopes(config),
    ...layerTypesJson(config),
  }),
};
