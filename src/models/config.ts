// Everything about a model but its weights, the same for every kind of file. config-json.ts and gguf.ts make it.
import { MosError } from "#core";
import type { FamilyName } from "./families/index.ts";
import { type ModelShape, type RopeConfig, ropeFrequencies, rotatedWidth } from "./geometry.ts";

/** Everything about a model but its weights. */
export interface ModelConfig extends ModelShape {
  readonly architecture: FamilyName;
  readonly bosToken?: number;
  readonly eosTokens: readonly number[];
  readonly padToken?: number;
}

/** Names in a file of a config's fields and its rope's, for messages. */
export type ConfigNames = Readonly<Record<string, string>>;

interface ConfigPlace {
  readonly where: string;
  readonly fieldName: (field: string) => string;
}

/** Generous bounds: no model comes near, and products of two of them stay exact. */
const largestSizes = (config: ModelConfig): readonly (readonly [string, number, number])[] => [
  ["vocabularySize", config.vocabularySize, 2 ** 24],
  ["hiddenSize", config.hiddenSize, 2 ** 17],
  ["intermediateSize", config.intermediateSize, 2 ** 20],
  ["layers", config.layers, 1024],
  ["heads", config.heads, 4096],
  ["keyValueHeads", config.keyValueHeads, 4096],
  ["headDim", config.headDim, 4096],
  ["maxPositions", config.maxPositions, 2 ** 31],
];

function checkSizes(config: ModelConfig, { where, fieldName }: ConfigPlace): void {
  for (const [field, value, largest] of largestSizes(config))
    if (!Number.isSafeInteger(value) || value < 1 || value > largest)
      throw new MosError(
        "bad_model",
        `${where}: ${fieldName(field)} is ${value}; a whole number from 1 to ${largest} is possible`,
      );
}

function checkRope(rope: RopeConfig, config: ModelConfig, { where, fieldName }: ConfigPlace): void {
  const pairs = rotatedWidth(config) / 2;
  for (const [field, values] of Object.entries(rope)) {
    const bad = [values]
      .flat()
      .find((value) => typeof value === "number" && !(Number.isFinite(value) && value > 0));
    if (bad !== undefined)
      throw new MosError(
        "bad_model",
        `${where}: ${fieldName(field)} is ${bad}; a positive number is expected`,
      );
    if (Array.isArray(values) && values.length !== pairs)
      throw new MosError(
        "bad_model",
        `${where}: ${fieldName(field)} has ${values.length} numbers for heads of which ${2 * pairs} numbers are rotated; ${pairs} are needed`,
      );
  }
  const longest = ropeFrequencies({ rope, rotaryDim: 2 * pairs, positions: config.maxPositions });
  if (!longest.every((frequency) => Number.isFinite(frequency) && frequency > 0))
    throw new MosError(
      "bad_model",
      `${where}: the rotary frequencies of the type "${rope.kind}" are no positive numbers with ${fieldName("theta")} ${rope.theta} and ${2 * pairs} rotated numbers per head`,
    );
  if (rope.kind === "llama3" && rope.highFrequencyFactor <= rope.lowFrequencyFactor)
    throw new MosError(
      "bad_model",
      `${where}: ${fieldName("highFrequencyFactor")} is ${rope.highFrequencyFactor}; it must exceed ${fieldName("lowFrequencyFactor")}, which is ${rope.lowFrequencyFactor}`,
    );
}

const POSITIVE = [
  "attentionScale",
  "attentionSoftCap",
  "logitSoftCap",
  "embeddingScale",
  "residualScale",
  "logitScale",
] as const;

/** Widths of heads, and the numbers of a family's choices. */
function checkChoices(config: ModelConfig, { where, fieldName }: ConfigPlace): void {
  const refuse = (what: string): never => {
    throw new MosError("bad_model", `${where}: ${what}`);
  };
  const { headDim, rotaryDim = headDim, window } = config;
  if (headDim % 2 !== 0)
    refuse(`${fieldName("headDim")} is ${headDim}; it must be even, since rotary embeddings need pairs`);
  if (!Number.isInteger(rotaryDim) || rotaryDim < 2 || rotaryDim > headDim || rotaryDim % 2 !== 0)
    refuse(`${fieldName("rotaryDim")} is ${rotaryDim}; an even number from 2 to ${headDim} is possible`);
  for (const field of POSITIVE) {
    const value = config[field] ?? 1;
    if (!(Number.isFinite(value) && value > 0))
      refuse(`${fieldName(field)} is ${value}; a positive number is expected`);
  }
  if (config.rotatedLayers?.includes(true) === false)
    refuse("no layer has rotary embeddings (no_rope_layers); such a model cannot be run");
  if (window !== undefined && window.layers.length !== config.layers)
    refuse(`${window.layers.length} layers are said to have a window or none, of ${config.layers} layers`);
  if (window !== undefined && !(Number.isSafeInteger(window.size) && window.size > 0))
    refuse(`${fieldName("window")} is ${window.size}; a whole number from 1 is possible`);
}

function checkTokens(config: ModelConfig, { where, fieldName }: ConfigPlace): void {
  for (const field of ["bosToken", "padToken", "eosTokens"] as const)
    for (const token of [config[field] ?? []].flat())
      if (!(Number.isInteger(token) && token >= 0 && token < config.vocabularySize))
        throw new MosError(
          "bad_model",
          `${where}: ${fieldName(field)} ${token} is outside the vocabulary of ${config.vocabularySize}`,
        );
}

/**
 * Checks that a config describes a model that can exist: sizes in range, heads that divide, an even head width.
 *
 * @returns the config itself.
 * @throws MosError "bad_model" naming the field.
 */
export function checkConfig(config: ModelConfig, where: string, names: ConfigNames = {}): ModelConfig {
  const fieldName = (field: string): string => names[field] ?? field;
  const place = { where, fieldName };
  checkSizes(config, place);
  const { heads, keyValueHeads, normEpsilon, rope, localRope = rope } = config;
  if (heads % keyValueHeads !== 0)
    throw new MosError(
      "bad_model",
      `${where}: ${heads} heads cannot share ${keyValueHeads} key-value heads evenly (${fieldName("heads")}, ${fieldName("keyValueHeads")})`,
    );
  if (!(normEpsilon > 0 && normEpsilon < 1))
    throw new MosError(
      "bad_model",
      `${where}: ${fieldName("normEpsilon")} is ${normEpsilon}; it must be in (0, 1)`,
    );
  checkChoices(config, place);
  checkRope(rope, config, place);
  checkRope(localRope, config, place);
  checkTokens(config, place);
  return config;
}
