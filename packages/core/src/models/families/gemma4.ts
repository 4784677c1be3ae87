import { MosError, omitUndefined } from "#common";
import type { ModelShape } from "../geometry.ts";
import { activationName } from "./activations.ts";
import { type Family, type FamilyChoices, nullToUndefined, unsupported } from "./family.ts";
import { eachLayer, layerTypes, windowByTypes } from "./layer-windows.ts";
import type { RawConfig } from "./raw-config.ts";
import { layerTypeRopes, refuseRopeScaling } from "./rope-json.ts";

/** The window, by the types of layers, of which the last is always full. */
function window(raw: RawConfig, where: string): FamilyChoices {
  const { layer_types: stated, num_hidden_layers: layers } = raw;
  const types = stated?.map((type, layer) => (layer === layers - 1 ? "full_attention" : type));
  const size = nullToUndefined(raw.sliding_window);
  return windowByTypes(
    { ...raw, layer_types: types },
    { where, size, otherwise: (layer) => (layer + 1) % 6 !== 0 && layer !== layers - 1 },
  );
}

/** The heads of full layers: stated for them, or layer by layer, where all full ones must have the same. */
function fullHeads(
  raw: RawConfig,
  where: string,
  windowed: readonly boolean[],
): Pick<ModelShape, "fullHeads"> {
  const { head_dim: width, num_key_value_heads: count, per_layer_config: layers } = raw;
  const own = { headDim: width ?? 256, keyValueHeads: count ?? 4 };
  const isKeyed = raw.attention_k_eq_v === true;
  if (!layers) {
    const keyValueHeads =
      (isKeyed ? nullToUndefined(raw.num_global_key_value_heads) : undefined) ?? own.keyValueHeads;
    return { fullHeads: { headDim: raw.global_head_dim ?? 512, keyValueHeads } };
  }
  const byLayer = new Map(Object.entries(layers).map(([layer, fields]) => [Number(layer), fields]));
  const heads = windowed.map((_, layer) => {
    const { head_dim, num_key_value_heads } = byLayer.get(layer) ?? {};
    return { headDim: head_dim ?? own.headDim, keyValueHeads: num_key_value_heads ?? own.keyValueHeads };
  });
  const found = heads[windowed.indexOf(false)] ?? own;
  const isSame = (a: typeof own, b: typeof own): boolean =>
    a.headDim === b.headDim && a.keyValueHeads === b.keyValueHeads;
  const other = heads.findIndex((one, layer) => !isSame(one, windowed[layer] === true ? own : found));
  if (other >= 0)
    throw unsupported(
      where,
      `per_layer_config.${other} differs from that of other layers of its type (layer_types)`,
    );
  return { fullHeads: found };
}

function refuse(raw: RawConfig, where: string): void {
  if (raw.enable_moe_block === true)
    throw unsupported(where, "mixture-of-experts models (enable_moe_block) are not supported");
  if (raw.use_bidirectional_attention === "all")
    throw unsupported(where, 'use_bidirectional_attention "all" is not supported; attention must be causal');
  refuseRopeScaling(raw, where);
}

/** Gemma 4 (text): full layers with wider heads, keys that the last layers share, and embeddings of each layer. */
export const gemma4: Family = {
  models: "Gemma 4 (text, dense)",
  className: "Gemma4ForCausalLM",
  biases: ["attention_bias"],
  ropesByLayerType: true,
  rotatesByRope: true,
  defaults: {
    rms_norm_eps: 1e-6,
    tie_word_embeddings: true,
    num_attention_heads: 8,
    num_key_value_heads: 4,
    head_dim: 256,
    max_position_embeddings: 131_072,
    sliding_window: 512,
    hidden_size_per_layer_input: 256,
    vocab_size_per_layer_input: 262_144,
    rope_parameters: {
      full_attention: { rope_type: "proportional", rope_theta: 1e6, partial_rotary_factor: 0.25 },
      sliding_attention: { rope_type: "default", rope_theta: 1e4 },
    },
  },
  decoder: {
    norms: "both",
    queryKeyNorm: "head",
    valueNorm: true,
    layerScale: true,
    activation: "gelu_tanh",
    attentionScale: 1,
  },
  fromJson(raw, where) {
    refuse(raw, where);
    const windowed = window(raw, where);
    const layers = windowed.window?.layers ?? eachLayer(raw.num_hidden_layers, () => false);
    const sharing = raw.num_kv_shared_layers ?? 0;
    const { hidden_size_per_layer_input: width, vocab_size_per_layer_input: rows } = raw;
    if (sharing < 0 || sharing >= raw.num_hidden_layers)
      throw new MosError(
        "bad_model",
        `${where}: num_kv_shared_layers is ${sharing} of ${raw.num_hidden_layers} layers`,
      );
    return {
      ...windowed,
      ...fullHeads(raw, where, layers),
      embeddingScale: Math.sqrt(raw.hidden_size),
      ...(sharing > 0 ? { sharingLayers: sharing } : {}),
      ...(raw.use_double_wide_mlp === true ? { widensSharing: true } : {}),
      ...(raw.attention_k_eq_v === true ? { valuesAreKeys: true } : {}),
      ...(width ? { layerInput: { width, vocabularySize: rows ?? raw.vocab_size } } : {}),
      ...omitUndefined({ logitSoftCap: nullToUndefined(raw.final_logit_softcapping) }),
    };
  },
  toJson: (config) => ({
    hidden_activation: activationName(config.activation),
    final_logit_softcapping: config.logitSoftCap ?? null,
    sliding_window: config.window?.size ?? config.maxPositions,
    layer_types: layerTypes(config),
    global_head_dim: config.fullHeads?.headDim,
    num_global_key_value_heads: config.fullHeads?.keyValueHeads,
    attention_k_eq_v: config.valuesAreKeys === true,
    num_kv_shared_layers: config.sharingLayers ?? 0,
    use_double_wide_mlp: config.widensSharing === true,
    hidden_size_per_layer_input: config.layerInput?.width ?? 0,
    vocab_size_per_layer_input: config.layerInput?.vocabularySize ?? config.vocabularySize,
    ...layerTypeRopes(config),
  }),
};
