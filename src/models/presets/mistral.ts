// Mistral 7B, v0.3 and v0.1 with its window, and Mistral NeMo. From their config.json on the hub.
import type { ModelConfig } from "../config.ts";
import { eachLayer } from "../families/layers.ts";
import { llama2 } from "./llama.ts";

const sevenBillion = {
  ...llama2,
  architecture: "mistral",
  hiddenSize: 4096,
  intermediateSize: 14336,
  layers: 32,
  heads: 32,
  keyValueHeads: 8,
  maxPositions: 32768,
} as const;

export const mistral = {
  "mistral-7b": { ...sevenBillion, vocabularySize: 32768, rope: { kind: "default", theta: 1e6 } },
  "mistral-7b-v0.1": { ...sevenBillion, window: { size: 4096, layers: eachLayer(32, () => true) } },
  "mistral-nemo": {
    ...sevenBillion,
    vocabularySize: 131072,
    hiddenSize: 5120,
    layers: 40,
    maxPositions: 131072,
    rope: { kind: "default", theta: 1e6 },
  },
} as const satisfies Readonly<Record<string, ModelConfig>>;
