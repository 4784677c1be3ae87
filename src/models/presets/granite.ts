// Granite 3.3, from its config.json on the hub.
import type { ModelConfig } from "../config.ts";
import { plain } from "./llama.ts";

const granite33 = {
  ...plain,
  architecture: "granite",
  vocabularySize: 49159,
  layers: 40,
  heads: 32,
  keyValueHeads: 8,
  maxPositions: 131072,
  rope: { kind: "default", theta: 1e7 },
  tiedHead: true,
  embeddingScale: 12,
  residualScale: 0.22,
  bosToken: 0,
  eosTokens: [0],
  padToken: 0,
} as const;

export const granite = {
  "granite3.3-2b": {
    ...granite33,
    hiddenSize: 2048,
    intermediateSize: 8192,
    headDim: 64,
    attentionScale: 0.015625,
    logitScale: 1 / 8,
  },
  "granite3.3-8b": {
    ...granite33,
    hiddenSize: 4096,
    intermediateSize: 12800,
    headDim: 128,
    attentionScale: 0.0078125,
    logitScale: 1 / 16,
  },
} as const satisfies Readonly<Record<string, ModelConfig>>;
