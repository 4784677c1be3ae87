import type { Family } from "./family.ts";

/** Llama 2, 3, 3.1, 3.2 and what has their shape: TinyLlama, SmolLM2 and many more. */
export const llama: Family = {
  models: "Llama 2 and 3.x, TinyLlama, SmolLM2",
  className: "LlamaForCausalLM",
  biases: ["attention_bias", "mlp_bias"],
  defaults: { max_position_embeddings: 2048, rms_norm_eps: 1e-6, tie_word_embeddings: false },
  decoder: {},
  fromJson: () => ({}),
  toJson: () => ({}),
  gguf: { architecture: "llama", order: "pairs", read: () => ({}) },
};
