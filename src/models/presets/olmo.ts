// OLMo 2, from its config.json on the hub.
import type { ModelConfig } from "../config.ts";
import { plain } from "./llama.ts";

const olmo2 = {
  ...plain,
  architecture: "olmo2",
  vocabularySize: 100352,
  headDim: 128,
  maxPositions: 4096,
  normEpsilon: 1e-6,
  rope: { kind: "default", theta: 500000 },
  queryKeyNorm: "all",
  norms: "post",
  eosTokens: [100257],
  padToken: 100277,
} as const;

export const olmo = {
  "olmo2-1b": {
    ...olmo2,
    hiddenSize: 2048,
    intermediateSize: 8192,
    layers: 16,
    heads: 16,
    keyValueHeads: 16,
  },
  "olmo2-7b": {
    ...olmo2,
    hiddenSize: 4096,
    intermediateSize: 11008,
    layers: 32,
    heads: 32,
    keyValueHeads: 32,
  },
  "olmo2-13b": {
    ...olmo2,
    hiddenSize: 5120,
    intermediateSize: 13824,
    layers: 40,
    heads: 40,
    keyValueHeads: 40,
  },
  "olmo2-32b": {
    ...olmo2,
    hiddenSize: 5120,
    intermediateSize: 27648,
    layers: 64,
    heads: 40,
    keyValueHeads: 8,
  },
} as const satisfies Readonly<Record<string, ModelConfig>>;
