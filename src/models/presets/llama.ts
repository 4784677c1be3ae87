// Llama 2, Llama 3 and TinyLlama, from their config.json on the hub.
import type { ModelConfig } from "../config.ts";

/** What these and most others have in common. */
export const plain = {
  architecture: "llama",
  normEpsilon: 1e-5,
  tiedHead: false,
  attentionBias: false,
  mlpBias: false,
} as const;

/** Llama 2's tokenizer, heads and rotation. */
export const llama2 = {
  ...plain,
  vocabularySize: 32000,
  headDim: 128,
  maxPositions: 4096,
  rope: { kind: "default", theta: 10000 },
  bosToken: 1,
  eosTokens: [2],
} as const;

const llama3 = {
  ...plain,
  vocabularySize: 128256,
  bosToken: 128000,
  eosTokens: [128001],
} as const;

const llama32 = {
  ...llama3,
  intermediateSize: 8192,
  keyValueHeads: 8,
  maxPositions: 131072,
  rope: {
    kind: "llama3",
    theta: 500000,
    factor: 32,
    lowFrequencyFactor: 1,
    highFrequencyFactor: 4,
    originalMaxPositions: 8192,
  },
  tiedHead: true,
} as const;

export const llama = {
  "llama2-7b": {
    ...llama2,
    hiddenSize: 4096,
    intermediateSize: 11008,
    layers: 32,
    heads: 32,
    keyValueHeads: 32,
  },
  "llama2-13b": {
    ...llama2,
    hiddenSize: 5120,
    intermediateSize: 13824,
    layers: 40,
    heads: 40,
    keyValueHeads: 40,
  },
  "llama3-8b": {
    ...llama3,
    hiddenSize: 4096,
    intermediateSize: 14336,
    layers: 32,
    heads: 32,
    keyValueHeads: 8,
    headDim: 128,
    maxPositions: 8192,
    rope: { kind: "default", theta: 500000 },
  },
  "llama3.2-1b": { ...llama32, hiddenSize: 2048, layers: 16, heads: 32, headDim: 64 },
  "llama3.2-3b": { ...llama32, hiddenSize: 3072, layers: 28, heads: 24, headDim: 128 },
  tinyllama: {
    ...llama2,
    hiddenSize: 2048,
    intermediateSize: 5632,
    layers: 22,
    heads: 32,
    keyValueHeads: 4,
    headDim: 64,
    maxPositions: 2048,
  },
} as const satisfies Readonly<Record<string, ModelConfig>>;
