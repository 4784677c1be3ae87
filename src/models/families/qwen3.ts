import type { Family } from "./family.ts";
import { qwenWindow, qwenWindowJson } from "./qwen2.ts";

/** Qwen 3 (dense): Llama with norms of each head's queries and keys. */
export const qwen3: Family = {
  models: "Qwen 3 (dense)",
  className: "Qwen3ForCausalLM",
  biases: ["attention_bias"],
  defaults: {
    max_position_embeddings: 32768,
    rms_norm_eps: 1e-6,
    tie_word_embeddings: false,
    num_key_value_heads: 32,
    head_dim: 128,
    sliding_window: 4096,
  },
  decoder: { queryKeyNorm: "head" },
  fromJson: qwenWindow,
  toJson: qwenWindowJson,
  gguf: { architecture: "qwen3", interleaved: false, read: () => ({}) },
};
