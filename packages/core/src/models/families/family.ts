// A model family: its fields in config.json and GGUF, and its decoder's choices.
import { MosError } from "#common";
import type { GgufMetadata, GgufTensor, GgufValue } from "#files";
import type { DecoderChoices, ModelShape } from "../geometry.ts";
import type { RawConfig } from "./raw-config.ts";

/** Choices of a family beyond the fields that all models have. */
export type FamilyChoices = DecoderChoices &
  Partial<Pick<ModelShape, "attentionBias" | "mlpBias" | "rope" | "keyValueHeads" | "headDim">>;

/** One family of models. */
export interface Family {
  /** The models that have it, for the documents. */
  readonly models: string;
  /** Its class in `architectures`. */
  readonly className: string;
  /** Fields for biases that it has; in other families transformers reads none. */
  readonly biases: readonly ("attention_bias" | "mlp_bias")[];
  /** Heads can be rotated in part, by `partial_rotary_factor`. */
  readonly rotatesParts?: true;
  /** Windowed layers have a rope of their own, which config.json states beside that of full ones. */
  readonly ropesByLayerType?: true;
  /** Only ropes of the type "proportional" rotate heads in part; transformers drops the factor of others. */
  readonly rotatesByRope?: true;
  /** The types of rope that it can have, by the names that files have for them; all that can be run. */
  readonly ropeTypes?: Readonly<Record<string, "default" | "longrope">>;
  /** Default of transformers for `original_max_position_embeddings` unless config.json has it on top. */
  readonly originalMaxPositions?: number;
  /** Fields that have another name or meaning in its config.json than in others. */
  readonly rename?: (json: Readonly<Record<string, unknown>>) => Readonly<Record<string, unknown>>;
  /** Defaults of transformers for fields that config.json leaves out. */
  readonly defaults: Readonly<Record<string, unknown>>;
  /** Modules that transformers calls otherwise than a Llama's, and the parts that each has in memory: several where it is fused. */
  readonly modules?: Readonly<Record<string, readonly string[]>>;
  /** Names of modules that files have for them instead. */
  readonly storedNames?: readonly (readonly [module: string, stored: string])[];
  /** Choices that all models of the family share. */
  readonly decoder: DecoderChoices;
  /** Reads further choices from config.json. Throws `bad_model` and `unsupported`. */
  readonly fromJson: (raw: RawConfig, where: string) => FamilyChoices;
  /** The same fields, written. */
  readonly toJson: (config: ModelShape) => Readonly<Record<string, unknown>>;
  /** Left out where its GGUF files are not read. */
  readonly gguf?: GgufFamily;
}

/** Format of a family's models in llama.cpp. */
export interface GgufFamily {
  /** `general.architecture`; its keys begin with it. */
  readonly architecture: string;
  /** Tells the models of a family from those of another that llama.cpp calls the same. */
  readonly isOurs?: (header: GgufHeader) => boolean;
  /** What stands in another order than in transformers; see `rowOrder` and `columnOrder`. */
  readonly order?: GgufOrder;
  /** Keys that may list a number for each layer; the family reads such lists. */
  readonly byLayer?: readonly string[];
  /** YaRN's factor on cosine and sine, where it is not that of its paper. */
  readonly yarnFactor?: number;
  /** Matrices are fused as in transformers. */
  readonly isFused?: true;
  /** Its own names within a block, and whole ones for weights that have no ending or stand in no block. */
  readonly names?: Readonly<Record<string, string>>;
  /** What numbers of a weight mean in transformers, by its name within a block, where files keep them otherwise. */
  readonly values?: Readonly<Record<string, (stored: number) => number>>;
  /** Reads the family's own fields of the header. */
  readonly read: (header: GgufHeader) => FamilyChoices;
}

/**
 * "pairs": in the rows of q and k, the two halves of each rotary pair stand side by side. "tiles": the value heads of linear
 * attention that share a key head are apart; first stands the first one of every key head, then the second one of each.
 */
export type GgufOrder = "pairs" | "tiles";

/** The header of a GGUF file. */
export interface GgufHeader {
  readonly path: string;
  readonly metadata: GgufMetadata;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
  /** Layers of the decoder, without those behind it that predict further tokens. */
  readonly layers: number;
  /** The items of a key that holds a list. */
  readonly list: (key: string) => readonly GgufValue[] | undefined;
  /** The number of a key, without the architecture's name; undefined where there is none. */
  readonly at: (key: string) => number | undefined;
  /** The same of a key that must be there. */
  readonly need: (key: string) => number;
  /** Numbers of rope_factors_long.weight and the like, by the tensor's name. */
  readonly factors: ReadonlyMap<string, readonly number[]>;
}

/** Error for something that models of a family may have and we do not. */
export const unsupported = (where: string, what: string): MosError =>
  new MosError("unsupported", `${where}: ${what}`);

/** null in config.json means that a field is absent. */
export const nullToUndefined = <T>(value: T | null | undefined): T | undefined => value ?? undefined;
