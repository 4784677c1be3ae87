import { type Family, type FamilyChoices, nullToUndefined } from "./family.ts";
import { layerTypes, windowByTypes } from "./layer-windows.ts";
import type { RawConfig } from "./raw-config.ts";

/** Qwen's windows: off unless `use_sliding_window`, and then on the upper layers. Released models have none. */
export function qwenWindow(raw: RawConfig, where: string): FamilyChoices {
  const from = nullToUndefined(raw.max_window_layers) ?? 28;
  const size = raw.use_sliding_window === true ? nullToUndefined(raw.sliding_window) : undefined;
  return windowByTypes(raw, { where, size, otherwise: (layer) => size !== undefined && layer >= from });
}

/** The fields of Qwen's windows. */
export const qwenWindowJson: Family["toJson"] = (config) => ({
  use_sliding_window: config.window !== undefined,
  sliding_window: config.window?.size ?? null,
  ...(config.window === undefined ? {} : { layer_types: layerTypes(config) }),
});

/** Qwen 2 and 2.5: Llama with biases on q, k and v. */
export const qwen2: Family = {
  models: "Qwen 2 and 2.5",
  className: "Qwen2ForCausalLM",
  biases: [],
  defaults: {
    max_position_embeddings: 32768,
    rms_norm_eps: 1e-6,
    tie_word_embeddings: false,
    num_key_value_heads: 32,
    sliding_window: 4096,
  },
  decoder: {},
  fromJson: (raw, where) => ({ ...qwenWindow(raw, where), attentionBias: "qkv" }),
  toJson: qwenWindowJson,
  gguf: { architecture: "qwen2", read: () => ({}) },
};
