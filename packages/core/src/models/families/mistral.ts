import { type Family, nullToUndefined } from "./family.ts";
import { ggufWindow } from "./gguf-fields.ts";
import { windowOnAll } from "./layer-windows.ts";
import { llama } from "./llama.ts";

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
    ...llama.gguf,
    isOurs: (header) => (ggufWindow(header) ?? 0) > 0,
    read: (header) => windowOnAll(ggufWindow(header), header.need("block_count")),
  },
};
