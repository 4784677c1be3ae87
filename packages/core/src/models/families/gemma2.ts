import { omitUndefined } from "#common";
import type { DecoderChoices } from "../geometry.ts";
import { activationName } from "./activations.ts";
import { type Family, type FamilyChoices, type GgufHeader, nullToUndefined, unsupported } from "./family.ts";
import { ggufWindow } from "./gguf-fields.ts";
import { eachLayer, layerTypes, windowByTypes, windowOn } from "./layer-windows.ts";
import type { RawConfig } from "./raw-config.ts";

/** Choices that both versions of Gemma's decoder share. */
export const GEMMA: DecoderChoices = { norms: "both", gainOffset: 1, activation: "gelu_tanh" };

export const GEMMA_DEFAULTS = {
  rms_norm_eps: 1e-6,
  tie_word_embeddings: true,
  num_key_value_heads: 4,
  head_dim: 256,
  query_pre_attn_scalar: 256,
  sliding_window: 4096,
};

/** Scales and the cap on logits, which config.json has for both. transformers caps scores in Gemma 2 alone. */
export function gemmaScales(raw: RawConfig, where: string): FamilyChoices {
  if (raw.use_bidirectional_attention === true)
    throw unsupported(where, "use_bidirectional_attention is not supported; attention must be causal");
  return {
    embeddingScale: Math.sqrt(raw.hidden_size),
    attentionScale: (nullToUndefined(raw.query_pre_attn_scalar) ?? 256) ** -0.5,
    ...omitUndefined({ logitSoftCap: nullToUndefined(raw.final_logit_softcapping) }),
  };
}

export const gemmaJson: Family["toJson"] = (config) => ({
  hidden_activation: activationName(config.activation),
  // a whole number to transformers, which the two powers miss by a last bit
  query_pre_attn_scalar: Number(((config.attentionScale ?? 1) ** -2).toPrecision(15)),
  attn_logit_softcapping: config.attentionSoftCap ?? null,
  final_logit_softcapping: config.logitSoftCap ?? null,
  sliding_window: config.window?.size ?? config.maxPositions,
  layer_types: layerTypes(config),
});

/** Scales that GGUF does not state: the largest model of a version divides by another width than its head's. */
export function gemmaGgufScales(
  { at, need }: GgufHeader,
  largest: { readonly layers: number },
): FamilyChoices {
  const isLargest = need("block_count") === largest.layers;
  const perHead = need("embedding_length") / need("attention.head_count");
  const width = isLargest ? perHead : need("attention.key_length");
  return {
    embeddingScale: Math.sqrt(need("embedding_length")),
    attentionScale: width ** -0.5,
    ...omitUndefined({ logitSoftCap: at("final_logit_softcapping") }),
  };
}

/** Gemma 2: four norms a layer, caps on scores and logits, a window on every other layer. */
export const gemma2: Family = {
  models: "Gemma 2",
  className: "Gemma2ForCausalLM",
  biases: ["attention_bias"],
  defaults: {
    ...GEMMA_DEFAULTS,
    max_position_embeddings: 8192,
    attn_logit_softcapping: 50,
    final_logit_softcapping: 30,
  },
  decoder: GEMMA,
  fromJson: (raw, where) => ({
    ...gemmaScales(raw, where),
    ...omitUndefined({ attentionSoftCap: nullToUndefined(raw.attn_logit_softcapping) }),
    ...windowByTypes(raw, {
      where,
      size: nullToUndefined(raw.sliding_window),
      otherwise: (layer) => layer % 2 === 0,
    }),
  }),
  toJson: gemmaJson,
  gguf: {
    architecture: "gemma2",
    interleaved: false,
    read: (header) => ({
      attentionSoftCap: header.at("attn_logit_softcapping") ?? 50,
      logitSoftCap: 30,
      ...gemmaGgufScales(header, { layers: 46 }),
      ...windowOn(
        ggufWindow(header) ?? 4096,
        eachLayer(header.need("block_count"), (layer) => layer % 2 === 0),
      ),
    }),
  },
};
