import { countElements, MosError } from "#common";
import type { ModelConfig } from "./config.ts";

type Shape = readonly number[];

const linear = (
  name: string,
  [out, into]: readonly [number, number],
  bias: boolean,
): readonly (readonly [string, Shape])[] => {
  const weight = [`${name}.weight`, [out, into]] as const;
  return bias ? [weight, [`${name}.bias`, [out]] as const] : [weight];
};

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
function layerShapes(config: ModelConfig): readonly (readonly [string, Shape])[] {
  const { hiddenSize: hidden, intermediateSize: inner, headDim, norms = "pre", queryKeyNorm } = config;
  const queries = config.heads * headDim;
  const keys = config.keyValueHeads * headDim;
  const names = LAYER_NORMS[norms];
  const norm = (place: keyof LayerNorms): readonly (readonly [string, Shape])[] =>
    names[place] === undefined ? [] : [[`${names[place]}.weight`, [hidden]]];
  const headNorm = (name: string, width: number): readonly (readonly [string, Shape])[] =>
    queryKeyNorm === undefined
      ? []
      : [[`self_attn.${name}.weight`, [queryKeyNorm === "all" ? width : headDim]]];
  const projectionBias = config.attentionBias !== false;
  return [
    ...norm("beforeAttention"),
    ...linear("self_attn.q_proj", [queries, hidden], projectionBias),
    ...linear("self_attn.k_proj", [keys, hidden], projectionBias),
    ...linear("self_attn.v_proj", [keys, hidden], projectionBias),
    ...headNorm("q_norm", queries),
    ...headNorm("k_norm", keys),
    ...linear("self_attn.o_proj", [hidden, queries], config.attentionBias === true),
    ...norm("afterAttention"),
    ...norm("beforeMlp"),
    ...linear("mlp.gate_proj", [inner, hidden], config.mlpBias),
    ...linear("mlp.up_proj", [inner, hidden], config.mlpBias),
    ...linear("mlp.down_proj", [hidden, inner], config.mlpBias),
    ...norm("afterMlp"),
  ];
}

/**
 * Name and shape of every weight that a model of this config has, in Hugging Face's names and in the order of the
 * forward pass. With a tied head there is no lm_head.weight. Projections that files keep fused are apart here.
 */
export function weightShapes(config: ModelConfig): ReadonlyMap<string, Shape> {
  const shapes = new Map<string, Shape>();
  shapes.set("model.embed_tokens.weight", [config.vocabularySize, config.hiddenSize]);
  const layer = layerShapes(config);
  for (let i = 0; i < config.layers; i++)
    for (const [name, shape] of layer) shapes.set(`model.layers.${i}.${name}`, shape);
  shapes.set("model.norm.weight", [config.hiddenSize]);
  if (!config.tiedHead) shapes.set("lm_head.weight", [config.vocabularySize, config.hiddenSize]);
  return shapes;
}

/** The number of parameters of a model. */
export const parameterCount = (config: ModelConfig): number =>
  [...weightShapes(config).values()].reduce((sum, shape) => sum + countElements(shape), 0);

/** Matrices that some families' files keep as one: their rows follow each other. */
const FUSED = {
  "self_attn.qkv_proj": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
  "mlp.gate_up_proj": ["mlp.gate_proj", "mlp.up_proj"],
} as const;

/** Offset added to a weight of a Hugging Face folder: 1 for Gemma's gains. GGUF files include it already. */
export const storedOffset = ({ gainOffset }: ModelConfig, name: string): number =>
  name.endsWith("norm.weight") ? (gainOffset ?? 0) : 0;

/** Where files keep a weight: under its own name, or as rows of a fused one, of which the first is `row`. */
export function storedPlace(
  config: ModelConfig,
  name: string,
): { readonly name: string; readonly row: number } {
  if (config.fusedProjections !== true) return { name, row: 0 };
  const [, before = "", part = "", kind = ""] =
    /^(model\.layers\.\d+\.)(.+)\.(weight|bias)$/.exec(name) ?? [];
  const shapes = new Map(layerShapes(config));
  for (const [fused, parts] of Object.entries(FUSED)) {
    const index = (parts as readonly string[]).indexOf(part);
    if (index < 0) continue;
    const row = parts
      .slice(0, index)
      .reduce((sum, each) => sum + (shapes.get(`${each}.${kind}`)?.[0] ?? 0), 0);
    return { name: `${before}${fused}.${kind}`, row };
  }
  return { name, row: 0 };
}

/** Name and shape of every weight as files keep them: `weightShapes`, but for projections that are fused there. */
export function storedShapes(config: ModelConfig): ReadonlyMap<string, Shape> {
  const stored = new Map<string, Shape>();
  for (const [name, shape] of weightShapes(config)) {
    const place = storedPlace(config, name);
    const [rows = 0, ...rest] = shape;
    stored.set(place.name, [place.row + rows, ...rest]);
  }
  return stored;
}

/** Weights that files may hold although nothing reads them. */
const isHarmless = (name: string, { tiedHead }: ModelConfig): boolean =>
  name.endsWith(".rotary_emb.inv_freq") || (tiedHead && name === "lm_head.weight");

const written = (shape: Shape): string => `[${shape.join(", ")}]`;

/**
 * Compares what a file holds with what its config implies; nothing is read for that.
 *
 * @throws MosError "bad_model" naming the first weight that is missing, of another shape, or unknown.
 */
export function checkShapes(
  found: ReadonlyMap<string, Shape>,
  { config, where }: { readonly config: ModelConfig; readonly where: string },
): void {
  const wrong = (what: string): MosError =>
    new MosError(
      "bad_model",
      `${where}: ${what}; check that the config and the weights are of the same model`,
    );
  const expected = storedShapes(config);
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
