// SmolLM2 and SmolLM3, from their config.json on the hub.
import type { ModelConfig } from "../config.ts";
import { eachLayer } from "../families/layers.ts";
import { plain } from "./llama.ts";

const smollm2 = {
  ...plain,
  vocabularySize: 49152,
  headDim: 64,
  maxPositions: 8192,
  rope: { kind: "default", theta: 100000 },
  tiedHead: true,
  bosToken: 1,
  eosTokens: [2],
  padToken: 2,
} as const;

export const smollm = {
  "smollm2-135m": {
    ...smollm2,
    hiddenSize: 576,
    intermediateSize: 1536,
    layers: 30,
    heads: 9,
    keyValueHeads: 3,
  },
  "smollm2-360m": {
    ...smollm2,
    hiddenSize: 960,
    intermediateSize: 2560,
    layers: 32,
    heads: 15,
    keyValueHeads: 5,
  },
  "smollm2-1.7b": {
    ...smollm2,
    hiddenSize: 2048,
    intermediateSize: 8192,
    layers: 24,
    heads: 32,
    keyValueHeads: 32,
    rope: { kind: "default", theta: 130000 },
  },
  "smollm3-3b": {
    ...plain,
    architecture: "smollm3",
    vocabularySize: 128256,
    hiddenSize: 2048,
    intermediateSize: 11008,
    layers: 36,
    heads: 16,
    keyValueHeads: 4,
    headDim: 128,
    maxPositions: 65536,
    normEpsilon: 1e-6,
    rope: { kind: "default", theta: 5e6 },
    rotatedLayers: eachLayer(36, (layer) => layer % 4 !== 3),
    tiedHead: true,
    bosToken: 128000,
    eosTokens: [128012],
    padToken: 128004,
  },
} as const satisfies Readonly<Record<string, ModelConfig>>;
