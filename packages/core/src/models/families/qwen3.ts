import type { Family } from "./family.ts";
import { qwen2, qwenWindow, qwenWindowJson } from "./qwen2.ts";

/** Qwen 3 (dense): Llama with norms of each head's queries and keys. */
export const qwen3: Family = {
  models: "Qwen 3 (dense)",
  className: "Qwen3ForCausalLM",
  biases: ["attention_bias"],
  defaults: { ...qwen2.defaults, head_dim: 128 },
  decoder: { queryKeyNorm: "head" },
  fromJson: qwenWindow,
  toJson: qwenWindowJson,
  gguf: { architecture: "qwen3", read: () => ({}) },
};
