import { countElements, MosError } from "#common";
import type { ModelConfig } from "./config.ts";
import { FAMILIES, type Family } from "./families/index.ts";
import { innerWidth, keyLayer, layerKind } from "./geometry.ts";
import { findLinear, GROUP_NAMES, GROUPS, type LayerGroup, type LinearName } from "./linear-layers.ts";
import { linearShapes, MIXERS, type NamedShapes } from "./mixers/index.ts";

type Shape = readonly number[];

/** Names of the norms of a layer, by where they stand. */
export type LayerNorms = Readonly<
  Partial<Record<"beforeAttention" | "afterAttention" | "beforeMlp" | "afterMlp", string>>
>;

export const LAYER_NORMS: Readonly<Record<NonNullable<ModelConfig["norms"]>, LayerNorms>> = {
  pre: { beforeAttention: "input_layernorm", beforeMlp: "post_attention_layernorm" },
  post: { afterAttention: "post_attention_layernorm", afterMlp: "post_feedforward_layernorm" },
  both: {
    beforeAttention: "input_layernorm",
    afterAttention: "post_attention_layernorm",
    beforeMlp: "pre_feedforward_layernorm",
    afterMlp: "post_feedforward_layernorm",
  },
};

/** The weights of one layer, by their names after `model.layers.N.`. */
function layerShapes(config: ModelConfig, layer: number): NamedShapes {
  const { hiddenSize: hidden, norms = "pre", mlpBias, layerInput, layerScale } = config;
  const inner = innerWidth(config, layer);
  const names = LAYER_NORMS[norms];
  const norm = (place: keyof LayerNorms): NamedShapes =>
    names[place] === undefined ? [] : [[`${names[place]}.weight`, [hidden]]];
  return [
    ...norm("beforeAttention"),
    ...MIXERS[layerKind(config, layer)].weights(config, layer),
    ...norm("afterAttention"),
    ...norm("beforeMlp"),
    ...linearShapes("mlp.gate_proj", [inner, hidden], mlpBias),
    ...linearShapes("mlp.up_proj", [inner, hidden], mlpBias),
    ...linearShapes("mlp.down_proj", [hidden, inner], mlpBias),
    ...norm("afterMlp"),
    ...(layerInput === undefined ? [] : layerInputShapes(hidden, layerInput.width)),
    ...(layerScale === undefined ? [] : ([["layer_scalar", [1]]] as const)),
  ];
}

const layerInputShapes = (hidden: number, width: number): NamedShapes => [
  ...linearShapes("per_layer_input_gate", [width, hidden]),
  ...linearShapes("per_layer_projection", [hidden, width]),
  ["post_per_layer_input_norm.weight", [hidden]],
];

/** The embeddings of all layers, side by side. */
export const LAYER_EMBEDDINGS = "model.embed_tokens_per_layer.weight";

/**
 * Name and shape of every weight that a model of this config has, in Hugging Face's names and in the order of the
 * forward pass. With a tied head there is no lm_head.weight. What files call otherwise has the names of a Llama here, and
 * projections that files keep fused are apart.
 */
export function weightShapes(config: ModelConfig): ReadonlyMap<string, Shape> {
  const shapes = new Map<string, Shape>();
  shapes.set("model.embed_tokens.weight", [config.vocabularySize, config.hiddenSize]);
  if (config.layerInput !== undefined) {
    const { width, vocabularySize } = config.layerInput;
    shapes.set(LAYER_EMBEDDINGS, [vocabularySize, config.layers * width]);
    shapes.set("model.per_layer_model_projection.weight", [config.layers * width, config.hiddenSize]);
    shapes.set("model.per_layer_projection_norm.weight", [width]);
  }
  for (let i = 0; i < config.layers; i++)
    for (const [name, shape] of layerShapes(config, i)) shapes.set(`model.layers.${i}.${name}`, shape);
  shapes.set("model.norm.weight", [config.hiddenSize]);
  if (!config.tiedHead) shapes.set("lm_head.weight", [config.vocabularySize, config.hiddenSize]);
  return shapes;
}

/** The groups of linear layers of one decoder layer. */
export function layerGroups(config: ModelConfig, layer: number): readonly LayerGroup[] {
  const found = new Map<LinearName, Shape>();
  for (const [name, shape] of layerShapes(config, layer)) {
    const target = findLinear(`model.layers.${layer}.${name}`);
    if (target !== undefined) found.set(target.linear, shape);
  }
  return GROUP_NAMES.flatMap((group) => {
    const linears = GROUPS[group].filter((linear) => found.has(linear));
    const outs = linears.map((linear) => found.get(linear)?.[0] ?? 0);
    const [first] = linears;
    const width = first && found.get(first)?.[1];
    return width === undefined ? [] : [{ layer, group, linears, in: width, outs }];
  });
}

/** The groups of linear layers of all decoder layers. */
export const listLayerGroups = (config: ModelConfig): readonly LayerGroup[] =>
  Array.from({ length: config.layers }, (_, layer) => layerGroups(config, layer)).flat();

/** Tests whether a weight is a matrix, which may be stored in any format; others are small, and float32 in memory. */
export const isMatrix = (shape: Shape): boolean => shape.length === 2;

/** The number of parameters of a model. */
export const parameterCount = (config: ModelConfig): number =>
  [...weightShapes(config).values()].reduce((sum, shape) => sum + countElements(shape), 0);

/** Offset added to a weight of a Hugging Face folder: 1 for Gemma's gains. GGUF files include it already. */
export const storedOffset = ({ gainOffset }: ModelConfig, name: string): number =>
  name.endsWith("norm.weight") && !name.endsWith("linear_attn.norm.weight") ? (gainOffset ?? 0) : 0;

/** A weight of a file that holds one or several of ours: its rows from `row` on. */
export interface StoredPlace {
  readonly name: string;
  readonly row: number;
}

/** The place of a weight among the modules of transformers: under its own name, or as rows of a fused matrix. */
export function modulePlace(config: ModelConfig, name: string): StoredPlace {
  const { modules = {} }: Family = FAMILIES[config.architecture];
  const [, before = "", layer = "", part = "", kind = ""] =
    /^(model\.(?:layers\.(\d+)\.)?)(.+)\.(weight|bias)$/.exec(name) ?? [];
  for (const [module, parts] of Object.entries(modules)) {
    const index = parts.indexOf(part);
    if (index < 0) continue;
    const shapes = new Map(index === 0 ? [] : layerShapes(config, Number(layer)));
    const row = parts
      .slice(0, index)
      .reduce((sum, each) => sum + (shapes.get(`${each}.${kind}`)?.[0] ?? 0), 0);
    return { name: `${before}${module}.${kind}`, row };
  }
  return { name, row: 0 };
}

/** Where files keep a weight, which some call by another name than transformers does. */
export function storedPlace(config: ModelConfig, name: string): StoredPlace {
  const { storedNames = [] }: Family = FAMILIES[config.architecture];
  const place = modulePlace(config, name);
  return storedNames.reduce(
    ({ name: before, row }, [module, stored]) => ({ name: before.replace(module, stored), row }),
    place,
  );
}

type FindPlace = (config: ModelConfig, name: string) => StoredPlace;

/** Name and shape of every weight as files keep them: those of a folder, or of the files that `find` knows. */
export function storedShapes(config: ModelConfig, find: FindPlace = storedPlace): ReadonlyMap<string, Shape> {
  const stored = new Map<string, Shape>();
  for (const [name, shape] of weightShapes(config)) {
    const place = find(config, name);
    const [rows = 0, ...rest] = shape;
    stored.set(place.name, [place.row + rows, ...rest]);
  }
  return stored;
}

/** Weights that files may hold although nothing reads them. */
function isHarmless(name: string, config: ModelConfig): boolean {
  const [, layer] = /^model\.layers\.(\d+)\.self_attn\.[kv]_(?:proj|norm)\.weight$/.exec(name) ?? [];
  if (layer !== undefined) return keyLayer(config, Number(layer)) !== Number(layer);
  // Qwen3.5's layer that predicts the token after the next
  if (name.startsWith("mtp.")) return true;
  return name.endsWith(".rotary_emb.inv_freq") || (config.tiedHead && name === "lm_head.weight");
}

const written = (shape: Shape): string => `[${shape.join(", ")}]`;

/**
 * Compares what a file holds with what its config implies; nothing is read for that.
 *
 * @throws MosError "bad_model" naming the first weight that is missing, of another shape, or unknown.
 */
export function checkShapes(
  found: ReadonlyMap<string, Shape>,
  {
    config,
    where,
    find,
  }: { readonly config: ModelConfig; readonly where: string; readonly find?: FindPlace },
): void {
  const wrong = (what: string): MosError =>
    new MosError(
      "bad_model",
      `${where}: ${what}; check that the config and the weights are of the same model`,
    );
  const expected = storedShapes(config, find);
  for (const [name, shape] of expected) {
    const actual = found.get(name);
    if (!actual)
      throw wrong(
        `the weight ${name} ${written(shape)} is missing${name === "lm_head.weight" ? " (the config says that the head is not tied to the embedding)" : ""}`,
      );
    if (actual.length !== shape.length || actual.some((size, i) => size !== shape[i]))
      throw wrong(`${name} has the shape ${written(actual)}, the config implies ${written(shape)}`);
  }
  for (const name of found.keys())
    if (!expected.has(name) && !isHarmless(name, config))
      throw wrong(`the weight ${name} does not belong to this model`);
}

/**
 * Refuses NaN and infinite numbers, which would spread through every result. `data` are the values from `begin` on.
 *
 * @throws MosError "bad_model" with the weight's name and the position.
 */
export function checkFinite(
  name: string,
  data: Float32Array,
  { where, begin = 0 }: { readonly where: string; readonly begin?: number },
): void {
  const bits = new Uint32Array(data.buffer, data.byteOffset, data.length);
  const exponent = 0x7f800000;
  for (let i = 0; i < bits.length; i++)
    if (((bits[i] ?? 0) & exponent) === exponent)
      throw new MosError(
        "bad_model",
        `${where}: ${name} holds the value ${data[i]} at ${begin + i}; the file is damaged`,
      );
}
