// What a file of this folder says of one family: how config.json and GGUF state it, and what its decoder chooses.
import { MosError } from "#core";
import type { GgufMetadata, GgufTensor, GgufValue } from "#formats";
import type { DecoderChoices, ModelGeometry } from "../geometry.ts";
import type { RawConfig } from "./raw-config.ts";

/** What a family says of a model beyond the fields that all have. */
export type FamilyChoices = DecoderChoices &
  Partial<Pick<ModelGeometry, "attentionBias" | "mlpBias" | "headDim" | "rope">>;

/** One family of models. */
export interface Family {
  /** The models that have it, for messages and documents. */
  readonly models: string;
  /** Its class in `architectures`. */
  readonly className: string;
  /** Fields for biases that it has; in other families transformers reads none. */
  readonly biases: readonly ("attention_bias" | "mlp_bias")[];
  /** Heads can be rotated in part, by `partial_rotary_factor`. */
  readonly rotatesParts?: true;
  /** What transformers takes for fields that config.json leaves out. */
  readonly defaults: Readonly<Record<string, unknown>>;
  /** What all models of the family have in common. */
  readonly decoder: DecoderChoices;
  /** What config.json says beyond that. Throws `bad_model` and `unsupported`. */
  readonly fromJson: (raw: RawConfig, where: string) => FamilyChoices;
  /** The same fields, written. */
  readonly toJson: (config: ModelGeometry) => Readonly<Record<string, unknown>>;
  readonly gguf: GgufFamily;
}

/** How llama.cpp keeps models of a family. */
export interface GgufFamily {
  /** `general.architecture`; its keys begin with it. */
  readonly architecture: string;
  /** Tells the models of a family from those of another that llama.cpp calls the same. */
  readonly isOurs?: (header: GgufHeader) => boolean;
  /** The two halves of a head's rotary pairs lie side by side in the rows of q and k. */
  readonly interleaved: boolean;
  /** What the header says beyond what all have. */
  readonly read: (header: GgufHeader) => FamilyChoices;
}

/** The header of a GGUF file. */
export interface GgufHeader {
  readonly path: string;
  readonly metadata: GgufMetadata;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
  /** The number of a key, without the architecture's name; undefined where there is none. */
  readonly at: (key: string) => number | undefined;
  /** The same of a key that must be there. */
  readonly need: (key: string) => number;
  /** Numbers of rope_factors_long.weight and the like, by the tensor's name. */
  readonly factors: ReadonlyMap<string, readonly number[]>;
}

/** A number of the header, or undefined where the key is absent; a list of equal numbers counts as that number. */
export function numberAt(
  { path, metadata }: Pick<GgufHeader, "path" | "metadata">,
  key: string,
): number | undefined {
  const value: GgufValue | undefined = metadata[key];
  if (value === undefined) return undefined;
  const single = Array.isArray(value) && value.every((item) => item === value[0]) ? value[0] : value;
  if (typeof single === "number") return single;
  if (Array.isArray(value))
    throw new MosError(
      "unsupported",
      `${path}: ${key} differs from layer to layer; only equal layers can be run`,
    );
  throw new MosError(
    "bad_model",
    `${path}: ${key} is ${typeof value === "string" ? JSON.stringify(value) : String(value)}; a number is expected`,
  );
}

/** A float32 as the short decimal number that it was made from: 9.99999974e-6 → 1e-5. */
export function shortDecimal(value: number): number {
  const short = Number(value.toPrecision(7));
  return Math.fround(short) === value ? short : value;
}

/** Error for something that models of a family may have and we do not. */
export const unsupported = (where: string, what: string): MosError =>
  new MosError("unsupported", `${where}: ${what}`);

type Defined<T> = { [K in keyof T]: Exclude<T[K], undefined> };

/** The fields that have a value. */
export const defined = <T extends object>(fields: T): Partial<Defined<T>> =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Partial<
    Defined<T>
  >;

/** null, as config.json has it, is nothing. */
export const given = <T>(value: T | null | undefined): T | undefined => value ?? undefined;

type Layers = readonly boolean[];

/** A choice for each layer by its index. Headers are not checked yet; none of so many layers gets an array. */
export const eachLayer = (layers: number, choose: (layer: number) => boolean): Layers =>
  Array.from({ length: layers <= 1024 ? layers : 0 }, (_, layer) => choose(layer));

/** The window of these layers. One that no sequence of the model exceeds is none. */
export const windowOn = (
  size: number | undefined,
  { layers, maxPositions }: { readonly layers: Layers; readonly maxPositions: number },
): Pick<DecoderChoices, "window"> =>
  size === undefined || size >= maxPositions || !layers.includes(true) ? {} : { window: { size, layers } };

/**
 * Which layers are windowed, by `layer_types` or, where config.json has none, by `otherwise`.
 *
 * @throws MosError "unsupported" for a type of layer that cannot be run, "bad_model" where their number is wrong.
 */
export function windowedLayers(
  { layer_types: types, num_hidden_layers: layers }: RawConfig,
  where: string,
  otherwise: (layer: number) => boolean,
): Layers {
  if (!types) return eachLayer(layers, otherwise);
  const unknown = types.find((type) => type !== "full_attention" && type !== "sliding_attention");
  if (unknown !== undefined)
    throw unsupported(where, `layers of the type "${unknown}" (layer_types) cannot be run`);
  if (types.length !== layers)
    throw new MosError(
      "bad_model",
      `${where}: layer_types has ${types.length} entries for ${layers} layers (num_hidden_layers)`,
    );
  return types.map((type) => type === "sliding_attention");
}

/** `layer_types` of a config, as transformers writes it. */
export const layerTypes = ({ window, layers }: ModelGeometry): readonly string[] =>
  eachLayer(layers, (layer) => window?.layers[layer] === true).map((isWindowed) =>
    isWindowed ? "sliding_attention" : "full_attention",
  );

/** The window of a GGUF file, whose 0 is none. */
export const ggufWindow = ({ at }: GgufHeader): number | undefined =>
  at("attention.sliding_window") || undefined;

/** Biases of q, k, v and o, or of q, k and v alone, by the tensors of the first block. */
export function ggufBiases({ path, tensors }: GgufHeader): Pick<ModelGeometry, "attentionBias" | "mlpBias"> {
  const has = (name: string): boolean => tensors.has(`blk.0.${name}.bias`);
  const [q, k, v, qkv] = [has("attn_q"), has("attn_k"), has("attn_v"), has("attn_qkv")];
  const output = has("attn_output");
  const mlp = ["ffn_gate", "ffn_up", "ffn_down"].map(has);
  const refuse = (what: string): never => {
    throw unsupported(path, `only some of the ${what} have biases; all of them or none can be run`);
  };
  if (!qkv && (q !== k || k !== v)) refuse("layers attn_q, attn_k and attn_v");
  const projected = q || qkv;
  if (output && !projected) refuse("layers attn_q, attn_k, attn_v and attn_output");
  if (mlp.includes(true) && mlp.includes(false)) refuse("layers ffn_gate, ffn_up and ffn_down");
  return { attentionBias: projected && !output ? "qkv" : projected, mlpBias: mlp[0] === true };
}
