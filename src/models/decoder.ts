// The forward pass of the model, for training, prefill and decoding. These differ in the hooks they pass, and only there.
// B batch · S tokens · N = B · S · C hidden width · H query heads · K key heads · D head width

import { MosError } from "#core";
import {
  type AddedNorm,
  add,
  constant,
  type Dim,
  embed,
  type NormOptions,
  type RotationTables,
  reshape,
  rmsNorm,
  rotate,
  rotateJoined,
  gatedUnit,
  transpose,
  type Value,
  type WeightForm,
  weightLeaf,
} from "#graph";
import { GROUPS, type GroupSite, type LinearHook, modulePath, plainLinear } from "#nn";
import type { ModelConfig } from "./config.ts";
import { type Rotation, ropeFrequencies } from "./geometry.ts";
import { weightShapes } from "./weights.ts";

/** The weights as values, by their Hugging Face names. */
export type WeightValues = ReadonlyMap<string, Value>;

/** Leaves for every weight of the model, float32 unless `forms` says how it is stored: then one for each of its tensors. */
export const weightLeaves = (
  config: ModelConfig,
  forms: ReadonlyMap<string, WeightForm> = new Map(),
): WeightValues =>
  new Map([...weightShapes(config)].map(([name, shape]) => [name, weightLeaf(name, shape, forms.get(name))]));

/**
 * The linear layers of one group on their common input x [N, in]: an output [N, out] for each, in the order of `GROUPS`.
 * Adapters enter here, and so does a base that keeps a group as one matrix.
 */
export type ProjectHook = (x: Value, site: GroupSite) => readonly Value[];

/** The branch of a layer added to the residual stream, and the norm of the sum. */
export type AddNormHook = (
  residual: Value,
  branch: Value,
  options: NormOptions & { readonly gain: Value },
) => AddedNorm;

/** Queries and keys with their rotary positions, and values, of one layer. */
export interface Heads {
  readonly q: Value;
  readonly k: Value;
  readonly v: Value;
  readonly layer: number;
}

/** Attention of one layer. Whether keys and values are cached, and how, is known here only. */
export interface AttentionHook {
  /**
   * How `attend` takes heads: "split" into [B, H, S, D], or "joined" in [B, S, H · D], as projections give them (for
   * fused operators). It returns what every query saw in the same form.
   */
  readonly heads: "split" | "joined";
  readonly attend: (heads: Heads) => Value;
}

export interface DecoderOptions {
  readonly ids: Value; //       [B, S] int32
  readonly positions: Value; // [B, S] int64
  /** Positions are below this number. */
  readonly maxPositions: number;
  /** Shape of the tokens between the layers: that of `ids`, or [N] where B and S are known. */
  readonly layout?: readonly Dim[];
  /** Tokens whose hidden states are needed, int32 [T], as indices into the N tokens; left out, all are. */
  readonly logitsIndices?: Value;
  /** With `project`, those of linear layers are not read. */
  readonly weights: WeightValues;
  readonly attention: AttentionHook;
  /** Left out, every linear layer is a product of its own. */
  readonly project?: ProjectHook;
  /** Left out, a sum and then a norm. */
  readonly addNorm?: AddNormHook;
}

/**
 * The decoder of the Llama family, from token ids to the last norm: hidden states [T, C], or [N, C] in the layout of
 * tokens, of which `headWeight` makes logits.
 *
 * @throws MosError "bad_model" where a weight is missing.
 */
export function decoder(config: ModelConfig, options: DecoderOptions): Value {
  const { ids, layout, weights, logitsIndices, addNorm = plainAddNorm } = options;
  const { project = eachLinear(weights, plainLinear) } = options;
  const attend = attendWith(config, options);
  const embedded = embed(weightOf(weights, "model.embed_tokens.weight"), ids); // [B, S, C]
  let residual = layout === undefined ? embedded : reshape(embedded, [...layout, config.hiddenSize]);
  let branch: Value | undefined; // not yet added to the residual stream
  const norm = (name: string): Value => {
    const [gain, epsilon] = [weightOf(weights, `${name}.weight`), config.normEpsilon];
    if (branch === undefined) return rmsNorm(residual, gain, { epsilon });
    const added = addNorm(residual, branch, { gain, epsilon });
    residual = added.sum;
    return added.norm;
  };
  for (let layer = 0; layer < config.layers; layer++) {
    const parts = (x: Value, group: GroupSite["group"]) =>
      project(x, { layer, group }) as readonly [Value, Value, Value]; // as many as the group has
    const [q, k, v] = parts(norm(`model.layers.${layer}.input_layernorm`), "qkv");
    [branch] = parts(attend({ q, k, v, layer }), "o");
    const [gate, up] = parts(norm(`model.layers.${layer}.post_attention_layernorm`), "gateUp");
    [branch] = parts(gatedUnit(gate, up), "down");
  }
  if (logitsIndices !== undefined && branch !== undefined) {
    const sum = add(residual, branch);
    const rows = sum.shape.length === 2 ? sum : reshape(sum, ["positions", config.hiddenSize]);
    residual = embed(rows, logitsIndices); // [T, C]
    branch = undefined;
  }
  return norm("model.norm");
}

/** The head, one vector for each token of the vocabulary: [V, C]. */
export const headWeight = (config: ModelConfig, weights: WeightValues): Value =>
  weightOf(weights, config.tiedHead ? "model.embed_tokens.weight" : "lm_head.weight");

/** A product for each linear layer of a group. */
export const eachLinear =
  (weights: WeightValues, linear: LinearHook): ProjectHook =>
  (x, { layer, group }) =>
    GROUPS[group].map((name) => {
      const site = { layer, linear: name };
      const path = modulePath(site);
      return linear(x, site, {
        weight: weightOf(weights, `${path}.weight`),
        bias: weights.get(`${path}.bias`),
      });
    });

const plainAddNorm: AddNormHook = (residual, branch, { gain, epsilon }) => {
  const sum = add(residual, branch);
  return { sum, norm: rmsNorm(sum, gain, { epsilon }) };
};

/** Rotates q and k in the form that the attention hook takes, and gives what it saw as [N, H · D]. */
function attendWith(
  config: ModelConfig,
  { ids, positions, maxPositions, layout = ids.shape, attention: { heads, attend } }: DecoderOptions,
): (projected: Heads) => Value {
  const { heads: H, keyValueHeads: K, headDim: D } = config;
  const tables = rotationTables({ rope: config.rope, rotaryDim: D, positions: maxPositions });
  if (heads === "joined") {
    const turn = (x: Value, heads: number): Value => rotateJoined(x, positions, { ...tables, heads });
    return ({ q, k, v, layer }) => attend({ q: turn(q, H), k: turn(k, K), v, layer });
  }
  const [batch, length] = ids.shape as readonly [Dim, Dim];
  const split = (x: Value, heads: number): Value =>
    transpose(reshape(x, [batch, length, heads, D]), [0, 2, 1, 3]); // [B, H, S, D]
  const turn = (x: Value, heads: number): Value => rotate(split(x, heads), positions, tables);
  return ({ q, k, v, layer }) => {
    const seen = attend({ q: turn(q, H), k: turn(k, K), v: split(v, K), layer });
    return reshape(transpose(seen, [0, 2, 1, 3]), [...layout, H * D]);
  };
}

/** Cosine and sine of the angle of every position below `positions`, [positions, D / 2], computed in double precision. */
export function rotationTables(
  rotation: Rotation & { readonly positions: number },
): RotationTables {
  const { positions } = rotation;
  const frequencies = ropeFrequencies(rotation);
  const half = frequencies.length;
  const cosine = new Float32Array(positions * half);
  const sine = new Float32Array(positions * half);
  for (let p = 0; p < positions; p++)
    frequencies.forEach((frequency, i) => {
      // float32 angles, as the reference implementations have them
      const angle = Math.fround(p * Math.fround(frequency));
      cosine[p * half + i] = Math.cos(angle);
      sine[p * half + i] = Math.sin(angle);
    });
  return { cosine: constant(cosine, [positions, half]), sine: constant(sine, [positions, half]) };
}

function weightOf(weights: WeightValues, name: string): Value {
  const value = weights.get(name);
  if (value === undefined) throw new MosError("bad_model", `the model has no weight ${name}`);
  return value;
}
