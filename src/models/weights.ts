import { MosError } from "#core";
import { LINEAR_NAMES, type LinearName, modulePath } from "#nn";
import type { ModelConfig } from "./config.ts";

type Shape = readonly number[];

/** The weights of one layer, by their names behind `model.layers.N.`. */
function layerShapes(config: ModelConfig): readonly (readonly [string, Shape])[] {
  const { hiddenSize: hidden, intermediateSize: inner, headDim } = config;
  const queries = config.heads * headDim;
  const keys = config.keyValueHeads * headDim;
  const linear = (name: string, [out, into]: readonly [number, number], bias: boolean) => {
    const weight = [`${name}.weight`, [out, into]] as const;
    return bias ? [weight, [`${name}.bias`, [out]] as const] : [weight];
  };
  return [
    ["input_layernorm.weight", [hidden]],
    ...linear("self_attn.q_proj", [queries, hidden], config.attentionBias),
    ...linear("self_attn.k_proj", [keys, hidden], config.attentionBias),
    ...linear("self_attn.v_proj", [keys, hidden], config.attentionBias),
    ...linear("self_attn.o_proj", [hidden, queries], config.attentionBias),
    ["post_attention_layernorm.weight", [hidden]],
    ...linear("mlp.gate_proj", [inner, hidden], config.mlpBias),
    ...linear("mlp.up_proj", [inner, hidden], config.mlpBias),
    ...linear("mlp.down_proj", [hidden, inner], config.mlpBias),
  ];
}

/**
 * Name and shape of every weight that a model of this config has, in Hugging Face's names and in the order of the
 * forward pass. With a tied head there is no lm_head.weight.
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

/** How many layers, and d_in and d_out of each of their linear layers: what adapters have to fit. */
export function geometryOf(config: ModelConfig): {
  readonly layers: number;
  readonly widths: Readonly<Record<LinearName, { readonly in: number; readonly out: number }>>;
} {
  const shapes = weightShapes(config);
  const widthsOf = (linear: LinearName) => {
    const [out = 0, width = 0] = shapes.get(`${modulePath({ layer: 0, linear })}.weight`) ?? [];
    return { in: width, out };
  };
  const widths = Object.fromEntries(LINEAR_NAMES.map((name) => [name, widthsOf(name)]));
  return { layers: config.layers, widths: widths as Record<LinearName, { in: number; out: number }> };
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
  const expected = weightShapes(config);
  for (const [name, shape] of expected) {
    const actual = found.get(name);
    if (!actual)
      throw new MosError(
        "bad_model",
        `${where}: the weight ${name} ${written(shape)} is missing${name === "lm_head.weight" ? " (the config says that the head is not tied to the embedding)" : ""}; do the config and the weights belong together?`,
      );
    if (actual.length !== shape.length || actual.some((size, i) => size !== shape[i]))
      throw new MosError(
        "bad_model",
        `${where}: ${name} has the shape ${written(actual)}, the config implies ${written(shape)}; do the config and the weights belong together?`,
      );
  }
  for (const name of found.keys())
    if (!expected.has(name) && !isHarmless(name, config))
      throw new MosError(
        "bad_model",
        `${where}: the weight ${name} has no place in this model; its config and weights do not belong together`,
      );
}

/**
 * Refuses NaN and infinite numbers, which would spread through every result. `data` are the numbers from `begin` on.
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
