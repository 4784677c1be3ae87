// The geometry of a model of the Llama family, the same for every kind of file. config-json.ts and gguf.ts make it.
import { MosError } from "#core";

/** How rotary frequencies are scaled for contexts longer than the model was first trained on. */
export type RopeConfig =
  | { readonly kind: "default"; readonly theta: number }
  | { readonly kind: "linear"; readonly theta: number; readonly factor: number }
  | {
      readonly kind: "llama3";
      readonly theta: number;
      readonly factor: number;
      readonly lowFrequencyFactor: number;
      readonly highFrequencyFactor: number;
      readonly originalMaxPositions: number;
    }
  /** GGUF's rope_freqs.weight: frequency i is divided by `factors[i]`, and by `factor` (1 without linear scaling). */
  | {
      readonly kind: "factors";
      readonly theta: number;
      readonly factor: number;
      readonly factors: readonly number[];
    };

/** Everything about a model but its weights. */
export interface LlamaConfig {
  readonly architecture: "llama" | "mistral";
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
  /** q, k, v and o have biases. */
  readonly attentionBias: boolean;
  /** gate, up and down have biases. */
  readonly mlpBias: boolean;
  readonly bosToken?: number;
  readonly eosTokens: readonly number[];
  readonly padToken?: number;
}

/** What a file calls the fields of a config and of its rope, for messages. */
export type ConfigNames = Readonly<Record<string, string>>;

interface ConfigPlace {
  readonly where: string;
  readonly nameOf: (field: string) => string;
}

/** Generous bounds: no model comes near, and products of two of them stay exact. */
const largestSizes = (config: LlamaConfig): readonly (readonly [string, number, number])[] => [
  ["vocabularySize", config.vocabularySize, 2 ** 24],
  ["hiddenSize", config.hiddenSize, 2 ** 17],
  ["intermediateSize", config.intermediateSize, 2 ** 20],
  ["layers", config.layers, 1024],
  ["heads", config.heads, 4096],
  ["keyValueHeads", config.keyValueHeads, 4096],
  ["headDim", config.headDim, 4096],
  ["maxPositions", config.maxPositions, 2 ** 31],
];

function checkSizes(config: LlamaConfig, { where, nameOf }: ConfigPlace): void {
  for (const [field, value, largest] of largestSizes(config))
    if (!Number.isSafeInteger(value) || value < 1 || value > largest)
      throw new MosError(
        "bad_model",
        `${where}: ${nameOf(field)} is ${value}; a whole number from 1 to ${largest} is possible`,
      );
}

function checkRope({ rope, headDim }: LlamaConfig, { where, nameOf }: ConfigPlace): void {
  for (const [field, values] of Object.entries(rope)) {
    const bad = [values]
      .flat()
      .find((value) => typeof value === "number" && !(Number.isFinite(value) && value > 0));
    if (bad !== undefined)
      throw new MosError("bad_model", `${where}: ${nameOf(field)} is ${bad}; a positive number is expected`);
  }
  if (rope.kind === "factors" && rope.factors.length !== headDim / 2)
    throw new MosError(
      "bad_model",
      `${where}: ${rope.factors.length} rotary factors for heads of width ${headDim}; ${headDim / 2} are needed`,
    );
  if (rope.kind === "llama3" && rope.highFrequencyFactor <= rope.lowFrequencyFactor)
    throw new MosError(
      "bad_model",
      `${where}: ${nameOf("highFrequencyFactor")} is ${rope.highFrequencyFactor}; it must exceed ${nameOf("lowFrequencyFactor")}, which is ${rope.lowFrequencyFactor}`,
    );
}

function checkTokens(config: LlamaConfig, { where, nameOf }: ConfigPlace): void {
  for (const field of ["bosToken", "padToken", "eosTokens"] as const)
    for (const token of [config[field] ?? []].flat())
      if (!(Number.isInteger(token) && token >= 0 && token < config.vocabularySize))
        throw new MosError(
          "bad_model",
          `${where}: ${nameOf(field)} ${token} is outside the vocabulary of ${config.vocabularySize}`,
        );
}

/**
 * Checks that a config describes a model that can exist: sizes in range, heads that divide, an even head width.
 *
 * @returns the config itself.
 * @throws MosError "bad_model" naming the field.
 */
export function checkConfig(config: LlamaConfig, where: string, names: ConfigNames = {}): LlamaConfig {
  const nameOf = (field: string): string => names[field] ?? field;
  const place = { where, nameOf };
  checkSizes(config, place);
  const { heads, keyValueHeads, headDim, normEpsilon } = config;
  if (heads % keyValueHeads !== 0)
    throw new MosError(
      "bad_model",
      `${where}: ${heads} heads cannot share ${keyValueHeads} key-value heads evenly (${nameOf("heads")}, ${nameOf("keyValueHeads")})`,
    );
  if (headDim % 2 !== 0)
    throw new MosError(
      "bad_model",
      `${where}: ${nameOf("headDim")} is ${headDim}; it must be even, since rotary embeddings need pairs`,
    );
  if (!(normEpsilon > 0 && normEpsilon < 1))
    throw new MosError(
      "bad_model",
      `${where}: ${nameOf("normEpsilon")} is ${normEpsilon}; it must be in (0, 1)`,
    );
  checkRope(config, place);
  checkTokens(config, place);
  return config;
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

function scaled(frequency: number, rope: RopeConfig, index: number): number {
  switch (rope.kind) {
    case "default":
      return frequency;
    case "linear":
      return frequency / rope.factor;
    case "llama3":
      return stretchLongWaves(frequency, rope);
    case "factors":
      return frequency / ((rope.factors[index] ?? 1) * rope.factor);
  }
}

/** Rotary frequencies θ^(−2i/D), i < D / 2, after the model's scaling. */
export const ropeFrequencies = ({
  rope,
  headDim,
}: Pick<LlamaConfig, "rope" | "headDim">): readonly number[] =>
  Array.from({ length: headDim / 2 }, (_, i) => scaled(1 / rope.theta ** ((2 * i) / headDim), rope, i));
