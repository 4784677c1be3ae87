import { omitUndefined } from "#common";
import type { DecoderChoices, ModelShape } from "../geometry.ts";
import { activationName } from "./activations.ts";
import { type Family, type FamilyChoices, type GgufHeader, nullToUndefined, unsupported } from "./family.ts";
import { ggufWindow, ggufWindowed } from "./gguf-fields.ts";
import { eachLayer, layerTypes, windowByTypes, windowOn } from "./layer-windows.ts";
import type { RawConfig } from "./raw-config.ts";
import { ropeParameters } from "./rope-json.ts";

/** Choices that both versions of Gemma's decoder share. */
const GEMMA: DecoderChoices = { norms: "both", gainOffset: 1, activation: "gelu_tanh" };

const GEMMA_DEFAULTS = {
  rms_norm_eps: 1e-6,
  tie_word_embeddings: true,
  num_key_value_heads: 4,
  head_dim: 256,
  query_pre_attn_scalar: 256,
  sliding_window: 4096,
};

/** Scales and the cap on logits, which config.json has for both. transformers caps scores in Gemma 2 alone. */
function gemmaScales(raw: RawConfig, where: string): FamilyChoices {
  if (raw.use_bidirectional_attention === true)
    throw unsupported(where, "use_bidirectional_attention is not supported; attention must be causal");
  return {
    embeddingScale: Math.sqrt(raw.hidden_size),
    attentionScale: (nullToUndefined(raw.query_pre_attn_scalar) ?? 256) ** -0.5,
    ...omitUndefined({ logitSoftCap: nullToUndefined(raw.final_logit_softcapping) }),
  };
}

const gemmaJson: Family["toJson"] = (config) => ({
  hidden_activation: activationName(config.activation),
  // a whole number to transformers, which the two powers miss by a last bit
  query_pre_attn_scalar: Number(((config.attentionScale ?? 1) ** -2).toPrecision(15)),
  attn_logit_softcapping: config.attentionSoftCap ?? null,
  final_logit_softcapping: config.logitSoftCap ?? null,
  sliding_window: config.window?.size ?? config.maxPositions,
  layer_types: layerTypes(config),
});

/** Scales that GGUF does not state: the largest model of a version divides by another width than its head's. */
function gemmaGgufScales(
  { at, need, layers }: GgufHeader,
  largest: { readonly layers: number },
): FamilyChoices {
  const isLargest = layers === largest.layers;
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
    read: (header) => ({
      attentionSoftCap: header.at("attn_logit_softcapping") ?? 50,
      logitSoftCap: 30,
      ...gemmaGgufScales(header, { layers: 46 }),
      ...windowOn(
        ggufWindow(header) ?? 4096,
        eachLayer(header.layers, (layer) => layer % 2 === 0),
      ),
    }),
  },
};

/** A full layer after five windowed ones, where a file does not say. */
const PATTERN = 6;

const isWindowed =
  (pattern: number) =>
  (layer: number): boolean =>
    (layer + 1) % pattern !== 0;

/**
 * Every how many-th layer is full. transformers writes `_sliding_window_pattern` beside `layer_types` and does not read it.
 *
 * @throws MosError "unsupported" where it stands alone and says otherwise.
 */
function readPattern(raw: RawConfig, where: string): number {
  const { sliding_window_pattern: stated, _sliding_window_pattern: unread, layer_types } = raw;
  const pattern = nullToUndefined(stated) ?? PATTERN;
  if (!layer_types && (unread ?? pattern) !== pattern)
    throw unsupported(
      where,
      `_sliding_window_pattern ${unread} would be ignored and ${pattern} used instead; rename it sliding_window_pattern, or list layer_types`,
    );
  return pattern;
}

/** The rope of windowed layers. Only transformers 5 can state one that is scaled. */
function localRopeJson({ rope, localRope = rope }: ModelShape): Readonly<Record<string, unknown>> {
  if (localRope.kind === "default") return { rope_local_base_freq: localRope.theta };
  return {
    rope_parameters: {
      full_attention: ropeParameters(rope),
      sliding_attention: ropeParameters(localRope),
    },
  };
}

/** Gemma 3 (text): five windowed layers and a full one, each kind with its own rope, and norms of queries and keys. */
export const gemma3: Family = {
  models: "Gemma 3 (text)",
  className: "Gemma3ForCausalLM",
  biases: ["attention_bias"],
  ropesByLayerType: true,
  defaults: {
    ...GEMMA_DEFAULTS,
    // released files of the larger models leave these out
    vocab_size: 262208,
    num_attention_heads: 8,
    max_position_embeddings: 131072,
    rope_theta: 1e6,
    rope_local_base_freq: 1e4,
  },
  decoder: { ...GEMMA, queryKeyNorm: "head" },
  fromJson(raw, where) {
    return {
      ...gemmaScales(raw, where),
      ...windowByTypes(raw, {
        where,
        size: nullToUndefined(raw.sliding_window),
        otherwise: isWindowed(readPattern(raw, where)),
      }),
    };
  },
  toJson: (config) => ({ ...gemmaJson(config), ...localRopeJson(config) }),
  gguf: {
    architecture: "gemma3",
    read(header) {
      return {
        ...gemmaGgufScales(header, { layers: 62 }),
        ...windowOn(
          ggufWindow(header),
          ggufWindowed(header, (layer) =>
            isWindowed(header.at("attention.sliding_window_pattern") ?? PATTERN)(layer),
          ),
        ),
        localRope: { kind: "default", theta: header.at("rope.freq_base_swa") ?? 1e4 },
      };
    },
  },
};
