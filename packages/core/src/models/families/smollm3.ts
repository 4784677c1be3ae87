import { MosError, omitUndefined } from "#common";
import { type Family, type FamilyChoices, nullToUndefined } from "./family.ts";
import { eachLayer, windowByTypes } from "./layer-windows.ts";
import { qwenWindowJson } from "./qwen2.ts";
import type { RawConfig } from "./raw-config.ts";

/** llama.cpp has no key for it. */
const INTERVAL = 4;

const everyOther = (layers: number, interval: number): readonly boolean[] =>
  eachLayer(layers, (layer) => (layer + 1) % interval !== 0);

function rotatedLayers(raw: RawConfig, where: string): readonly boolean[] {
  const { no_rope_layers: flags, no_rope_layer_interval: interval, num_hidden_layers: layers } = raw;
  if (flags && flags.length !== layers)
    throw new MosError(
      "bad_model",
      `${where}: no_rope_layers has ${flags.length} entries for ${layers} layers (num_hidden_layers)`,
    );
  // in spite of the name, 1 is for layers with rope
  return flags?.map((flag) => flag !== 0) ?? everyOther(layers, interval ?? INTERVAL);
}

/**
 * Where config.json does not list the layers' types, windows are on the layers without rope if they are used at all.
 * Layers that it lists as windowed are, whatever `use_sliding_window` says.
 */
function choices(raw: RawConfig, where: string): FamilyChoices {
  const rotated = rotatedLayers(raw, where);
  const size = nullToUndefined(raw.sliding_window);
  const isUsed = raw.use_sliding_window === true && size !== undefined;
  return {
    rotatedLayers: rotated,
    ...windowByTypes(raw, { where, size, otherwise: (layer) => isUsed && rotated[layer] === false }),
  };
}

/** SmolLM3: Llama without rope in every fourth layer. */
export const smollm3: Family = {
  models: "SmolLM3",
  className: "SmolLM3ForCausalLM",
  biases: ["attention_bias", "mlp_bias"],
  defaults: {
    max_position_embeddings: 32768,
    rms_norm_eps: 1e-6,
    rope_theta: 2e6,
    tie_word_embeddings: true,
    num_key_value_heads: 4,
  },
  decoder: {},
  fromJson: choices,
  toJson: (config) => ({
    ...qwenWindowJson(config),
    ...omitUndefined({ no_rope_layers: config.rotatedLayers?.map(Number) }),
  }),
  gguf: {
    architecture: "smollm3",
    order: "pairs",
    read: (header) => ({ rotatedLayers: everyOther(header.layers, INTERVAL) }),
  },
};
