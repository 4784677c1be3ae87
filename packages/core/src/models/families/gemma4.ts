import { MosError, omitUndefined } from "#common";
import type { ModelShape } from "../geometry.ts";
import { activationName } from "./activations.ts";
import { type Family, type FamilyChoices, type GgufHeader, nullToUndefined, unsupported } from "./family.ts";
import { ggufWindow, ggufWindowed, layerNumbers } from "./gguf-fields.ts";
import { eachLayer, layerTypes, windowByTypes, windowOn } from "./layer-windows.ts";
import type { RawConfig } from "./raw-config.ts";
import { layerTypeRopes, refuseRopeScaling } from "./rope-json.ts";

/** The windowed layers where a file does not say. */
const isWindowed =
  (layers: number) =>
  (layer: number): boolean =>
    (layer + 1) % 6 !== 0 && layer !== layers - 1;

/** The window, by the types of layers, of which the last is always full. */
function window(raw: RawConfig, where: string): FamilyChoices {
  const { layer_types: stated, num_hidden_layers: layers } = raw;
  const types = stated?.map((type, layer) => (layer === layers - 1 ? "full_attention" : type));
  const size = nullToUndefined(raw.sliding_window);
  return windowByTypes({ ...raw, layer_types: types }, { where, size, otherwise: isWindowed(layers) });
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

/** The choices of a GGUF file, which lists numbers of layers, and has no values where they are the keys. */
function ggufChoices(header: GgufHeader): FamilyChoices {
  const { at, need, layers, tensors } = header;
  const windowed = ggufWindowed(header, isWindowed(layers));
  const [full, first] = [windowed.indexOf(false), Math.max(0, windowed.indexOf(true))];
  const heads = layerNumbers(header, "attention.head_count_kv");
  const widths = layerNumbers(header, "feed_forward_length");
  const sharing = at("attention.shared_kv_layers") ?? 0;
  const width = at("embedding_length_per_layer_input") ?? 0;
  const rows = tensors.get("per_layer_token_embd.weight")?.shape[0] ?? 0;
  return {
    headDim: need("attention.key_length_swa"),
    keyValueHeads: heads[first] ?? 0,
    fullHeads: { headDim: need("attention.key_length"), keyValueHeads: heads[full] ?? heads[first] ?? 0 },
    embeddingScale: Math.sqrt(need("embedding_length")),
    localRope: { kind: "default", theta: at("rope.freq_base_swa") ?? 1e4 },
    ...windowOn(ggufWindow(header), windowed),
    ...(sharing > 0 ? { sharingLayers: sharing } : {}),
    ...(widths[0] === widths.at(-1) ? {} : { widensSharing: true }),
    ...(full < 0 || tensors.has(`blk.${full}.attn_v.weight`) ? {} : { valuesAreKeys: true }),
    ...(width > 0 ? { layerInput: { width, vocabularySize: rows } } : {}),
    ...omitUndefined({ logitSoftCap: at("final_logit_softcapping") }),
  };
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
  gguf: {
    architecture: "gemma4",
    byLayer: ["attention.head_count_kv", "feed_forward_length"],
    names: {
      per_layer_input_gate: "inp_gate",
      per_layer_projection: "proj",
      post_per_layer_input_norm: "post_norm",
      layer_scalar: "layer_output_scale.weight",
      "model.embed_tokens_per_layer.weight": "per_layer_token_embd.weight",
      "model.per_layer_model_projection.weight": "per_layer_model_proj.weight",
      "model.per_layer_projection_norm.weight": "per_layer_proj_norm.weight",
    },
    read: ggufChoices,
  },
};
