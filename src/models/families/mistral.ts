import { eachLayer, type Family, given, windowedLayers, windowOn } from "./family.ts";
import { llama } from "./llama.ts";

/** Mistral: Llama, with a window on all layers in its first version. llama.cpp keeps it as a Llama. */
export const mistral: Family = {
  models: "Mistral 7B and its kin",
  className: "MistralForCausalLM",
  defaults: {
    max_position_embeddings: 131072,
    rms_norm_eps: 1e-6,
    tie_word_embeddings: false,
    num_key_value_heads: 8,
    sliding_window: 4096,
  },
  decoder: {},
  fromJson: (raw, where) =>
    windowOn(given(raw.sliding_window), {
      layers: windowedLayers(raw, where, () => true),
      maxPositions: raw.max_position_embeddings,
    }),
  toJson: ({ window }) => ({ sliding_window: window?.size ?? null }),
  gguf: {
    ...llama.gguf,
    isOurs: (header) => (header.at("attention.sliding_window") ?? 0) > 0,
    read: (header) =>
      windowOn(header.at("attention.sliding_window"), {
        layers: eachLayer(header.need("block_count"), () => true),
        maxPositions: header.need("context_length"),
      }),
  },
};
