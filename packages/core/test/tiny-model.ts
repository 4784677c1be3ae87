// Hand-made models of a few thousand weights, written as real files.

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { randomStream } from "#common";
import { type WritableTensor, writeSafetensors } from "#files";
import {
  type FloatTensor,
  floatWeight,
  type ModelConfig,
  parseHuggingFaceConfig,
  type Weight,
  weightShapes,
} from "#models";
import { storedOffset, storedPlace } from "../src/models/weights.ts";

/** The content of config.json: two layers, four query heads on two key heads, an untied head. */
export const tinyConfigJson = {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  vocab_size: 48,
  hidden_size: 16,
  intermediate_size: 40,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 4,
  max_position_embeddings: 64,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  hidden_act: "silu",
  tie_word_embeddings: false,
  attention_bias: false,
  mlp_bias: false,
  bos_token_id: 1,
  eos_token_id: 2,
} as const;

export interface TinyModelOptions {
  /** Fields that replace those of `tinyConfigJson`. */
  readonly overrides?: Readonly<Record<string, unknown>>;
  readonly seed?: number;
  /** Changes the weights before they are written. */
  readonly edit?: (weights: Map<string, FloatTensor>) => void;
}

export interface TinyModel {
  readonly config: ModelConfig;
  readonly weights: ReadonlyMap<string, FloatTensor>;
}

/** Normal numbers by seed, name and count. To draw them takes longer than much of what is tested with them. */
const drawn = new Map<string, Float64Array>();
/** Numbers of the largest tensor whose draw is kept. */
const MAX_KEPT = 2 ** 15;

function drawNormal(count: number, { seed, name }: { readonly seed: number; readonly name: string }) {
  const key = `${seed} ${name} ${count}`;
  let numbers = drawn.get(key);
  if (numbers === undefined) {
    const random = randomStream(seed, name);
    numbers = new Float64Array(count).map(() => random.normal());
    if (count <= MAX_KEPT) drawn.set(key, numbers);
  }
  return numbers;
}

/** Config and seeded random weights; norms and kernels are near 1, all else near 0. */
export function tinyModel({ overrides = {}, seed = 0, edit }: TinyModelOptions = {}): TinyModel {
  const config = parseHuggingFaceConfig({ ...tinyConfigJson, ...overrides }, "config.json");
  const weights = new Map<string, FloatTensor>();
  for (const [name, shape] of weightShapes(config)) {
    const centre = /norm|conv\.conv|conv1d|layer_scalar/.test(name) ? 1 : 0;
    const count = shape.reduce((product, size) => product * size, 1);
    weights.set(name, {
      shape,
      data: Float32Array.from(drawNormal(count, { seed, name }), (number) => centre + 0.1 * number),
    });
  }
  edit?.(weights);
  return { config, weights };
}

/** The weights as tensors that `writeSafetensors` takes. */
export const asTensors = (weights: ReadonlyMap<string, FloatTensor>): Record<string, WritableTensor> =>
  Object.fromEntries(
    [...weights].map(([name, { shape, data }]) => [name, { dtype: "F32", shape, data } as const]),
  );

/** The weights as files of their family keep them: fused where they are, gains of Gemma around 0. */
export function storedTensors({ config, weights }: TinyModel): ReadonlyMap<string, FloatTensor> {
  const stored = new Map<string, FloatTensor>();
  for (const [weight, { shape, data }] of weights) {
    const { name } = storedPlace(config, weight);
    const before = stored.get(name) ?? { shape: [0], data: new Float32Array() };
    const joined = new Float32Array(before.data.length + data.length);
    joined.set(before.data);
    const offset = storedOffset(config, weight);
    joined.set(offset === 0 ? data : data.map((number) => number - offset), before.data.length);
    stored.set(name, { shape: [before.shape[0]! + (shape[0] ?? 0), ...shape.slice(1)], data: joined });
  }
  return stored;
}

/** Writes a tiny random model, a Llama without more, as a Hugging Face folder in float32. */
export async function writeTinyModel(folder: string, options: TinyModelOptions = {}): Promise<TinyModel> {
  const model = tinyModel(options);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "config.json"), JSON.stringify({ ...tinyConfigJson, ...options.overrides }));
  await writeSafetensors(join(folder, "model.safetensors"), asTensors(storedTensors(model)), {
    format: "pt",
  });
  return model;
}

/** The weights of a model as the engine takes them. */
export const floatWeights = (weights: TinyModel["weights"]): ReadonlyMap<string, Weight> =>
  new Map([...weights].map(([name, { shape, data }]) => [name, floatWeight(shape, data)]));
