import { MosError } from "#core";
import type { ModelConfig } from "./config.ts";

const base = {
  architecture: "llama",
  normEpsilon: 1e-5,
  tiedHead: false,
  attentionBias: false,
  mlpBias: false,
} as const;

const llama2 = {
  ...base,
  vocabularySize: 32000,
  headDim: 128,
  maxPositions: 4096,
  rope: { kind: "default", theta: 10000 },
  bosToken: 1,
  eosTokens: [2],
} as const;

const llama3 = {
  ...base,
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

const smollm2 = {
  ...base,
  vocabularySize: 49152,
  headDim: 64,
  maxPositions: 8192,
  rope: { kind: "default", theta: 100000 },
  tiedHead: true,
  bosToken: 1,
  eosTokens: [2],
  padToken: 2,
} as const;

/** Published models by short names, for budgets without their files. Values from their config.json on the hub. */
export const presets = {
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
  "mistral-7b": {
    ...llama2,
    architecture: "mistral",
    vocabularySize: 32768,
    hiddenSize: 4096,
    intermediateSize: 14336,
    layers: 32,
    heads: 32,
    keyValueHeads: 8,
    maxPositions: 32768,
    rope: { kind: "default", theta: 1e6 },
  },
} as const satisfies Readonly<Record<string, ModelConfig>>;

/** A name that `presetConfig` knows. */
export type PresetName = keyof typeof presets;

/**
 * The config of a published model.
 *
 * @throws MosError "not_found", listing the names.
 */
export function presetConfig(name: string): ModelConfig {
  const table: Readonly<Record<string, ModelConfig>> = presets;
  const config = Object.hasOwn(table, name) ? table[name] : undefined;
  if (config) return config;
  throw new MosError("not_found", `there is no preset "${name}"; known are ${Object.keys(table).join(", ")}`);
}
