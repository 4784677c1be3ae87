// Qwen2.5 (Instruct) and Qwen3, from their config.json and generation_config.json on the hub.
import type { ModelConfig } from "../config.ts";
import { plain } from "./llama.ts";

const qwen = {
  ...plain,
  vocabularySize: 151936,
  headDim: 128,
  normEpsilon: 1e-6,
  rope: { kind: "default", theta: 1e6 },
  bosToken: 151643,
  eosTokens: [151643, 151645],
} as const;

const qwen25 = { ...qwen, architecture: "qwen2", maxPositions: 32768, attentionBias: "qkv" } as const;
const qwen3 = {
  ...qwen,
  architecture: "qwen3",
  keyValueHeads: 8,
  maxPositions: 40960,
  queryKeyNorm: "head",
} as const;

export const qwens = {
  "qwen2.5-0.5b": {
    ...qwen25,
    hiddenSize: 896,
    intermediateSize: 4864,
    layers: 24,
    heads: 14,
    keyValueHeads: 2,
    headDim: 64,
    tiedHead: true,
  },
  "qwen2.5-1.5b": {
    ...qwen25,
    hiddenSize: 1536,
    intermediateSize: 8960,
    layers: 28,
    heads: 12,
    keyValueHeads: 2,
    tiedHead: true,
  },
  "qwen2.5-3b": {
    ...qwen25,
    hiddenSize: 2048,
    intermediateSize: 11008,
    layers: 36,
    heads: 16,
    keyValueHeads: 2,
    tiedHead: true,
  },
  "qwen2.5-7b": {
    ...qwen25,
    vocabularySize: 152064,
    hiddenSize: 3584,
    intermediateSize: 18944,
    layers: 28,
    heads: 28,
    keyValueHeads: 4,
  },
  "qwen2.5-14b": {
    ...qwen25,
    vocabularySize: 152064,
    hiddenSize: 5120,
    intermediateSize: 13824,
    layers: 48,
    heads: 40,
    keyValueHeads: 8,
  },
  "qwen2.5-32b": {
    ...qwen25,
    vocabularySize: 152064,
    hiddenSize: 5120,
    intermediateSize: 27648,
    layers: 64,
    heads: 40,
    keyValueHeads: 8,
  },
  "qwen3-0.6b": {
    ...qwen3,
    hiddenSize: 1024,
    intermediateSize: 3072,
    layers: 28,
    heads: 16,
    tiedHead: true,
  },
  "qwen3-1.7b": {
    ...qwen3,
    hiddenSize: 2048,
    intermediateSize: 6144,
    layers: 28,
    heads: 16,
    tiedHead: true,
  },
  "qwen3-4b": {
    ...qwen3,
    hiddenSize: 2560,
    intermediateSize: 9728,
    layers: 36,
    heads: 32,
    tiedHead: true,
  },
  "qwen3-8b": { ...qwen3, hiddenSize: 4096, intermediateSize: 12288, layers: 36, heads: 32 },
  "qwen3-14b": { ...qwen3, hiddenSize: 5120, intermediateSize: 17408, layers: 40, heads: 40 },
  "qwen3-32b": { ...qwen3, hiddenSize: 5120, intermediateSize: 25600, layers: 64, heads: 64 },
} as const satisfies Readonly<Record<string, ModelConfig>>;
