// Shape of a decoder: its sizes, and the choices of families. Everything but the sizes may be left out, and is then
// as in Llama. The rotary frequencies follow from it.
import type { GateActivation } from "mixture-of-shards-graph";

/** Rotary frequencies by their base, and how they are scaled for contexts longer than the original training context. */
export type RopeConfig = { readonly theta: number } & (
  | { readonly kind: "default" }
  | { readonly kind: "linear"; readonly factor: number }
  /** The first `part` of a head's pairs are turned, by the frequencies that they have where all are (LFM3, Gemma 4). */
  | { readonly kind: "proportional"; readonly part: number; readonly factor: number }
  | {
      readonly kind: "llama3";
      readonly factor: number;
      readonly lowFrequencyFactor: number;
      readonly highFrequencyFactor: number;
      readonly originalMaxPositions: number;
    }
  /**
   * YaRN: slow parts are stretched by `factor` and fast ones are not, with a ramp between those that turn `betaFast` and
   * `betaSlow` times in the original context; cosine and sine are multiplied by `attentionFactor`.
   */
  | {
      readonly kind: "yarn";
      readonly factor: number;
      readonly originalMaxPositions: number;
      readonly betaFast: number;
      readonly betaSlow: number;
      /** Rounds the ends of the ramp to whole pairs. */
      readonly truncate: boolean;
      readonly attentionFactor: number;
    }
  /** Beyond the original context theta grows with the number of positions (NTK); up to it nothing is scaled. */
  | { readonly kind: "dynamic"; readonly factor: number; readonly originalMaxPositions: number }
  /** GGUF's rope_freqs.weight: frequency i is divided by `factors[i]`, and by `factor` (1 without linear scaling). */
  | { readonly kind: "factors"; readonly factor: number; readonly factors: readonly number[] }
  /**
   * Phi-3: frequency i is divided by `longFactors[i]` where positions go beyond the original ones, by `shortFactors[i]`
   * otherwise; cosine and sine are multiplied by `attentionFactor`.
   */
  | {
      readonly kind: "longrope";
      readonly shortFactors: readonly number[];
      readonly longFactors: readonly number[];
      readonly originalMaxPositions: number;
      readonly attentionFactor: number;
    }
);

/** How a layer mixes tokens: by attention, by a short convolution over the last few (LFM2), or by a state that each changes (Qwen3.5). */
export type LayerKind = "attention" | "conv" | "linear_attention";

/** The heads of linear attention: each key head serves valueHeads / keyHeads value heads side by side. */
export interface LinearHeads {
  readonly keyHeads: number;
  readonly valueHeads: number;
  /** Width of a head of queries and keys. */
  readonly keyDim: number;
  readonly valueDim: number;
  /** Tokens that the convolution before it sees, its own among them. */
  readonly kernel: number;
}

/** Choices in which the families' decoders differ. The default of each is Llama's. */
export interface DecoderChoices {
  /** Norms of queries and keys before their rotation: of each head (Qwen3, Gemma 3), or of all heads together (OLMo 2). */
  readonly queryKeyNorm?: "head" | "all";
  /** The kind of each layer; all are attention without it. */
  readonly layerKinds?: readonly LayerKind[];
  /** Tokens that an output of a convolution sees, its own among them; of models with such layers. */
  readonly convolution?: number;
  /** The result of each head is multiplied by σ of an output of `g_proj` (LFM3). */
  readonly attentionGate?: true;
  /** The heads of layers without a window, where they are others (Gemma 4). */
  readonly fullHeads?: Pick<ModelShape, "keyValueHeads" | "headDim">;
  /** As many layers, the last ones, use keys and values of the last layer of their kind before them (Gemma 4). */
  readonly sharingLayers?: number;
  /** The MLPs of these layers are twice as wide. */
  readonly widensSharing?: true;
  /** Layers without a window have no `v_proj`: values are the keys before their norm (Gemma 4). */
  readonly valuesAreKeys?: true;
  /** Values are normed, without gains (Gemma 4). */
  readonly valueNorm?: true;
  /** Each layer adds to the stream what an embedding of its own says of a token; its width, and rows of the table (Gemma 4). */
  readonly layerInput?: { readonly width: number; readonly vocabularySize: number };
  /** The stream is multiplied by a number of each layer at its end (Gemma 4). */
  readonly layerScale?: true;
  /** q_proj gives the query of each head and, behind it, a gate: the result is multiplied by its σ (Qwen3.5). */
  readonly gatedQueries?: true;
  /** Heads of layers with linear attention. */
  readonly linearAttention?: LinearHeads;
  /** Norms before each half of a layer ("pre"), after it ("post", OLMo 2), or both ("both", Gemma). */
  readonly norms?: "pre" | "post" | "both";
  /** Files store gains around 0, and 1 is added to them (Gemma). In memory it has been added. */
  readonly gainOffset?: 1;
  /** The activation of the MLP's gate; "silu". */
  readonly activation?: GateActivation;
  /** Factor on q kᵀ; 1 / √headDim. */
  readonly attentionScale?: number;
  /** Queries at position p are multiplied by 1 + beta · ln(1 + ⌊p / originalPositions⌋) (Ministral 3). */
  readonly queryScale?: { readonly beta: number; readonly originalPositions: number };
  /** Each head has a score that takes part in the softmax and has no value (Granite with windows). */
  readonly sinks?: true;
  /** Attention scores become cap · tanh(score / cap) (Gemma 2). */
  readonly attentionSoftCap?: number;
  /** The same for logits. */
  readonly logitSoftCap?: number;
  /** Tokens that a query of a windowed layer sees, itself among them, and which layers are windowed. */
  readonly window?: { readonly size: number; readonly layers: readonly boolean[] };
  /** Layers that rotate queries and keys; all (SmolLM3 leaves out every fourth). */
  readonly rotatedLayers?: readonly boolean[];
  /** The rotary frequencies of windowed layers; `rope` (Gemma 3). */
  readonly localRope?: RopeConfig;
  /** Rotated width of a head, its first dimensions; all by default (Phi-4-mini: three quarters). */
  readonly rotaryDim?: number;
  /** Factor on embeddings at the input; 1. */
  readonly embeddingScale?: number;
  /** Factor on each branch before it is added to the residual stream; 1 (Granite). */
  readonly residualScale?: number;
  /** Factor on the logits, before their soft cap; 1 (Granite). */
  readonly logitScale?: number;
}

/** Sizes of a model, and its choices. */
export interface ModelShape extends DecoderChoices {
  readonly vocabularySize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  /** Width of one head; often, but not always, hiddenSize / heads. */
  readonly headDim: number;
  /** The longest sequence that the model was trained for. */
  readonly maxPositions: number;
  readonly normEpsilon: number;
  readonly rope: RopeConfig;
  /** The head is the embedding; there is no lm_head.weight. */
  readonly tiedHead: boolean;
  /** q, k, v and o have biases; or q, k and v alone. */
  readonly attentionBias: boolean | "qkv";
  /** gate, up and down have biases. */
  readonly mlpBias: boolean;
}

/** Turns of the slowest and fastest parts are treated differently (Llama 3.1): long waves are stretched by `factor`. */
function stretchLongWaves(frequency: number, rope: Extract<RopeConfig, { kind: "llama3" }>): number {
  const { factor, lowFrequencyFactor, highFrequencyFactor, originalMaxPositions } = rope;
  const wavelength = (2 * Math.PI) / frequency;
  if (wavelength < originalMaxPositions / highFrequencyFactor) return frequency;
  if (wavelength > originalMaxPositions / lowFrequencyFactor) return frequency / factor;
  const smooth =
    (originalMaxPositions / wavelength - lowFrequencyFactor) / (highFrequencyFactor - lowFrequencyFactor);
  return ((1 - smooth) * frequency) / factor + smooth * frequency;
}

/** A rope, and the positions for which its frequencies are computed. */
export interface Rotation {
  readonly rope: RopeConfig;
  /** Rotated width of a head. */
  readonly rotaryDim: number;
  /** Positions are below this number. It matters to longrope and dynamic scaling alone. */
  readonly positions?: number;
}

/** Share of pair i that YaRN stretches, from 0 to 1. */
function yarnRamp(rope: Extract<RopeConfig, { kind: "yarn" }>, rotaryDim: number): (pair: number) => number {
  const { theta, originalMaxPositions, betaFast, betaSlow, truncate } = rope;
  // the pair that turns so many times in the original context
  const pairAt = (turns: number): number =>
    (rotaryDim * Math.log(originalMaxPositions / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
  const low = Math.max(0, truncate ? Math.floor(pairAt(betaFast)) : pairAt(betaFast));
  const high = Math.min(rotaryDim - 1, truncate ? Math.ceil(pairAt(betaSlow)) : pairAt(betaSlow));
  const width = low === high ? 0.001 : high - low;
  return (pair) => Math.min(1, Math.max(0, (pair - low) / width));
}

/** The base of the frequencies, which dynamic scaling makes larger where positions go beyond the original ones. */
function frequencyBase({ rope, rotaryDim, positions = 1 }: Rotation): number {
  if (rope.kind !== "dynamic") return rope.theta;
  const { theta, factor, originalMaxPositions: original } = rope;
  if (positions <= original) return theta;
  return theta * ((factor * positions) / original - (factor - 1)) ** (rotaryDim / (rotaryDim - 2));
}

function scaled(frequency: number, { rope, rotaryDim, positions = 1 }: Rotation, index: number): number {
  switch (rope.kind) {
    case "default":
    case "dynamic":
      return frequency;
    case "linear":
      return frequency / rope.factor;
    case "proportional":
      return index < Math.floor((rope.part * rotaryDim) / 2) ? frequency / rope.factor : 0;
    case "llama3":
      return stretchLongWaves(frequency, rope);
    case "yarn": {
      const stretched = yarnRamp(rope, rotaryDim)(index);
      return (frequency / rope.factor) * stretched + frequency * (1 - stretched);
    }
    case "factors":
      return frequency / ((rope.factors[index] ?? 1) * rope.factor);
    case "longrope": {
      const { shortFactors, longFactors, originalMaxPositions } = rope;
      const factors = positions > originalMaxPositions ? longFactors : shortFactors;
      return frequency / (factors[index] ?? 1);
    }
  }
}

/** Rotary frequencies θ^(−2i/R), i < R / 2, after the model's scaling. R dimensions of a head are rotated. */
export function ropeFrequencies(rotation: Rotation): readonly number[] {
  const { rotaryDim } = rotation;
  const base = frequencyBase(rotation);
  return Array.from({ length: rotaryDim / 2 }, (_, i) =>
    scaled(1 / base ** ((2 * i) / rotaryDim), rotation, i),
  );
}

/** YaRN's factor on cosine and sine: 0.1 m ln(factor) + 1. */
export const yarnFactor = (factor: number, m = 1): number =>
  factor <= 1 ? 1 : 0.1 * m * Math.log(factor) + 1;

/** The longest sequence. YaRN and dynamic scaling are stated for `factor` times the original context, which files leave as it was. */
export const maxPositions = (rope: RopeConfig, stated: number): number =>
  rope.kind === "yarn" || rope.kind === "dynamic"
    ? Math.max(stated, Math.floor(rope.factor * rope.originalMaxPositions))
    : stated;

/** The longest sequence whose rotation does not depend on the longest one that a run is made for. */
export const steadyPositions = ({ rope, maxPositions }: ModelShape): number =>
  rope.kind === "dynamic" ? rope.originalMaxPositions : maxPositions;

/** Rotated width of a head, of layers without a window or with one. */
export const rotatedWidth = ({ rotaryDim, headDim, fullHeads }: ModelShape, windowed = false): number =>
  rotaryDim ?? (windowed ? undefined : fullHeads?.headDim) ?? headDim;

/** The kind of a layer. */
export const layerKind = ({ layerKinds }: ModelShape, layer: number): LayerKind =>
  layerKinds?.[layer] ?? "attention";

/** Tests whether sequences of a row can share a prompt: with linear attention each needs the state behind it. */
export const canSharePrompts = ({ layerKinds }: ModelShape): boolean =>
  layerKinds?.includes("linear_attention") !== true;

/** The heads of a layer of attention. */
export type LayerHeads = Pick<ModelShape, "heads" | "keyValueHeads" | "headDim">;

/** Tests whether the queries of a layer see a window only. */
export const isWindowed = ({ window }: ModelShape, layer: number): boolean => window?.layers[layer] === true;

/** The heads of a layer of attention. */
export const layerHeads = (shape: ModelShape, layer: number): LayerHeads => {
  const { heads, keyValueHeads, headDim, fullHeads } = shape;
  return { heads, keyValueHeads, headDim, ...(isWindowed(shape, layer) ? {} : fullHeads) };
};

/** The layer whose keys and values a layer uses; usually itself. */
export function keyLayer(shape: ModelShape, layer: number): number {
  const own = shape.layers - (shape.sharingLayers ?? 0);
  if (layer < own) return layer;
  const earlier = Array.from({ length: own }, (_, i) => own - 1 - i);
  return earlier.find((one) => isWindowed(shape, one) === isWindowed(shape, layer)) ?? layer;
}

/** The width of a layer's MLP. */
export const innerWidth = (shape: ModelShape, layer: number): number =>
  shape.intermediateSize * (shape.widensSharing === true && keyLayer(shape, layer) !== layer ? 2 : 1);

/** Number of tokens that a query of this layer sees, including itself; undefined if it sees all of a sequence of `length`. */
export const layerWindow = (
  { window }: ModelShape,
  layer: number,
  length = Number.POSITIVE_INFINITY,
): number | undefined => (window?.layers[layer] === true && window.size < length ? window.size : undefined);

/** The rotation of a layer's queries and keys; undefined where it has none. */
export function layerRope(shape: ModelShape, layer: number): RopeConfig | undefined {
  const { rope, localRope = rope, rotatedLayers } = shape;
  if (rotatedLayers?.[layer] === false) return undefined;
  return layerWindow(shape, layer) === undefined ? rope : localRope;
}

/** Factor on q kᵀ. */
export const scoreScale = ({ attentionScale, headDim }: ModelShape): number =>
  attentionScale ?? 1 / Math.sqrt(headDim);
