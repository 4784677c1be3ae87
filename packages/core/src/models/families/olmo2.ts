import { type Family, nullToUndefined } from "./family.ts";
import { ggufWindow, ggufWindowed } from "./gguf-fields.ts";
import { layerTypes, windowByTypes, windowOn } from "./layer-windows.ts";
import { layerTypeRopes } from "./rope-json.ts";

/** OLMo 2: norms after each half of a layer rather than before, and of all queries and all keys together. */
export const olmo2: Family = {
  models: "OLMo 2",
  className: "Olmo2ForCausalLM",
  biases: ["attention_bias"],
  defaults: { max_position_embeddings: 2048, rms_norm_eps: 1e-5, tie_word_embeddings: false },
  decoder: { norms: "post", queryKeyNorm: "all" },
  fromJson: () => ({}),
  toJson: () => ({}),
  gguf: { architecture: "olmo2", read: () => ({}) },
};

/** A full layer after three windowed ones, where a file does not say. */
const isWindowed = (layer: number): boolean => (layer + 1) % 4 !== 0;

/** OLMo 3: OLMo 2 with windows in three layers of four, whose rope is never scaled. llama.cpp keeps it as an OLMo 2. */
export const olmo3: Family = {
  ...olmo2,
  models: "OLMo 3",
  className: "Olmo3ForCausalLM",
  ropesByLayerType: true,
  defaults: { ...olmo2.defaults, rope_theta: 5e5, sliding_window: 4096 },
  // a rope of windowed layers that has no theta has this one, whatever else is stated
  rename: () => ({ rope_local_base_freq: 5e5 }),
  fromJson: (raw, where) =>
    windowByTypes(raw, { where, size: nullToUndefined(raw.sliding_window), otherwise: isWindowed }),
  toJson: (config) => ({
    sliding_window: config.window?.size ?? config.maxPositions,
    layer_types: layerTypes(config),
    ...layerTypeRopes(config),
  }),
  gguf: {
    architecture: "olmo2",
    isOurs: (header) => ggufWindow(header) !== undefined,
    read: (header) => ({
      ...windowOn(ggufWindow(header), ggufWindowed(header, isWindowed)),
      localRope: { kind: "default", theta: header.at("rope.freq_base") ?? 10000 },
    }),
  },
};
