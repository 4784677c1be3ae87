// Gemma 2, and the text parts of Gemma 3, from their config.json on the hub. `scalar` is their query_pre_attn_scalar.
import type { ModelConfig } from "../config.ts";
import { eachLayer } from "../families/layers.ts";
import { plain } from "./llama.ts";

type Sizes = Pick<
  ModelConfig,
  "hiddenSize" | "intermediateSize" | "layers" | "heads" | "keyValueHeads" | "headDim"
> & { readonly scalar: number };

const gemma = ({ scalar, ...sizes }: Sizes) =>
  ({
    ...plain,
    ...sizes,
    normEpsilon: 1e-6,
    tiedHead: true,
    norms: "both",
    gainOffset: 1,
    activation: "gelu_tanh",
    attentionScale: scalar ** -0.5,
    embeddingScale: Math.sqrt(sizes.hiddenSize),
    bosToken: 2,
    eosTokens: [1],
    padToken: 0,
  }) as const;

const gemma2 = (sizes: Sizes) =>
  ({
    ...gemma(sizes),
    architecture: "gemma2",
    vocabularySize: 256000,
    maxPositions: 8192,
    rope: { kind: "default", theta: 10000 },
    attentionSoftCap: 50,
    logitSoftCap: 30,
    window: { size: 4096, layers: eachLayer(sizes.layers, (layer) => layer % 2 === 0) },
  }) as const;

const gemma3 = (sizes: Sizes, window: number) =>
  ({
    ...gemma(sizes),
    architecture: "gemma3_text",
    vocabularySize: 262144,
    maxPositions: 32768,
    queryKeyNorm: "head",
    rope: { kind: "default", theta: 1e6 },
    localRope: { kind: "default", theta: 10000 },
    window: { size: window, layers: eachLayer(sizes.layers, (layer) => layer % 6 !== 5) },
  }) as const;

/** From 4B on, with images: more tokens, and a rotation that is stretched for longer contexts. */
const gemma3Large = (sizes: Sizes) =>
  ({
    ...gemma3(sizes, 1024),
    vocabularySize: 262208,
    maxPositions: 131072,
    rope: { kind: "linear", theta: 1e6, factor: 8 },
  }) as const;

export const gemmas = {
  "gemma2-2b": gemma2({
    hiddenSize: 2304,
    intermediateSize: 9216,
    layers: 26,
    heads: 8,
    keyValueHeads: 4,
    headDim: 256,
    scalar: 256,
  }),
  "gemma2-9b": gemma2({
    hiddenSize: 3584,
    intermediateSize: 14336,
    layers: 42,
    heads: 16,
    keyValueHeads: 8,
    headDim: 256,
    scalar: 256,
  }),
  "gemma2-27b": gemma2({
    hiddenSize: 4608,
    intermediateSize: 36864,
    layers: 46,
    heads: 32,
    keyValueHeads: 16,
    headDim: 128,
    scalar: 144,
  }),
  "gemma3-270m": gemma3(
    {
      hiddenSize: 640,
      intermediateSize: 2048,
      layers: 18,
      heads: 4,
      keyValueHeads: 1,
      headDim: 256,
      scalar: 256,
    },
    512,
  ),
  "gemma3-1b": gemma3(
    {
      hiddenSize: 1152,
      intermediateSize: 6912,
      layers: 26,
      heads: 4,
      keyValueHeads: 1,
      headDim: 256,
      scalar: 256,
    },
    512,
  ),
  "gemma3-4b": gemma3Large({
    hiddenSize: 2560,
    intermediateSize: 10240,
    layers: 34,
    heads: 8,
    keyValueHeads: 4,
    headDim: 256,
    scalar: 256,
  }),
  "gemma3-12b": gemma3Large({
    hiddenSize: 3840,
    intermediateSize: 15360,
    layers: 48,
    heads: 16,
    keyValueHeads: 8,
    headDim: 256,
    scalar: 256,
  }),
  "gemma3-27b": gemma3Large({
    hiddenSize: 5376,
    intermediateSize: 21504,
    layers: 62,
    heads: 32,
    keyValueHeads: 16,
    headDim: 128,
    scalar: 168,
  }),
} as const satisfies Readonly<Record<string, ModelConfig>>;
