// The forward pass of the model, for training, prefill and decoding. These differ in the hooks they pass, and only there.
// B batch · S tokens · N = B · S · C hidden width · H query heads · K key heads · D head width

import {
  type AddedNorm,
  add,
  constant,
  embed,
  gatedUnit,
  mul,
  type NormOptions,
  type RotationTables,
  reshape,
  rmsNorm,
  rotate,
  rotateJoined,
  scalar,
  transpose,
  type Value,
  weightLeaf,
} from "mixture-of-shards-graph";
import type { WeightFormat } from "mixture-of-shards-graph/common";
import { type Dim, MosError } from "#common";
import type { ModelConfig } from "./config.ts";
import { layerRope, type RopeConfig, type Rotation, ropeFrequencies, rotatedWidth } from "./geometry.ts";
import { GROUPS, type LayerGroup, type LinearHook, modulePath, plainLinear } from "./linear-layers.ts";
import { LAYER_NORMS, type LayerNorms, weightShapes } from "./weights.ts";

/** The weights as values, by their Hugging Face names. */
export type WeightValues = ReadonlyMap<string, Value>;

/** Leaves for every weight of the model, float32 unless `formats` says how it is stored: then one for each of its tensors. */
export const weightLeaves = (
  config: ModelConfig,
  formats: ReadonlyMap<string, WeightFormat> = new Map(),
): WeightValues =>
  new Map(
    [...weightShapes(config)].map(([name, shape]) => [name, weightLeaf(name, shape, formats.get(name))]),
  );

/**
 * The linear layers of one group on their common input x [N, in]: an output [N, out] for each, in the order of `GROUPS`.
 * Adapters enter here, and so does a base that keeps a group as one matrix.
 */
export type ProjectHook = (x: Value, layerGroup: LayerGroup) => readonly Value[];

/** The branch of a layer added to the residual stream, and the norm of the sum, by one operator. */
type AddNormHook = (
  residual: Value,
  branch: Value,
  options: NormOptions & { readonly gain: Value },
) => AddedNorm;

/** Queries and keys with their rotary positions, and values, of one layer. */
interface Heads {
  readonly q: Value;
  readonly k: Value;
  readonly v: Value;
  readonly layer: number;
  /** The rotation of q and k that a hook with `rotates` has yet to make. */
  readonly tables?: RotationTables | undefined;
}

/** Attention of one layer. Only this hook knows whether and how keys and values are cached. */
export interface AttentionHook {
  /**
   * Layout of heads for `attend`: "split" into [B, H, S, D], or "joined" in [B, S, H · D], as projections give them (for
   * fused operators). It returns its result in the same layout.
   */
  readonly heads: "split" | "joined";
  /** The hook rotates joined queries and keys itself (false); the tables have a row more, for a token of padding. */
  readonly rotates?: boolean;
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
  /** Maps the residual stream before each half of a layer, without `addNorm`; the identity by default. */
  readonly mark?: (residual: Value) => Value;
}

/**
 * The decoder, from token ids to the last norm: hidden states [T, C], or [N, C] in the layout of tokens, of which
 * `headWeight` makes logits. Families differ in the choices of their config.
 *
 * @throws MosError "bad_model" where a weight is missing.
 */
export function decoder(config: ModelConfig, options: DecoderOptions): Value {
  const { weights, project = eachLinear(weights, plainLinear) } = options;
  const attend = attendWith(config, options);
  const stream = residualStream(config, options);
  const norms: LayerNorms = LAYER_NORMS[config.norms ?? "pre"];
  for (let layer = 0; layer < config.layers; layer++) {
    const parts = (x: Value, group: LayerGroup["group"]) =>
      project(x, { layer, group }) as readonly [Value, Value, Value]; // as many as the group has
    const before = (name: string | undefined): Value => stream.read(layerNorm(layer, name));
    const after = (name: string | undefined, branch: Value): void =>
      stream.write(branch, layerNorm(layer, name));
    const [q, k, v] = parts(before(norms.beforeAttention), "qkv");
    after(norms.afterAttention, parts(attend({ q, k, v, layer }), "o")[0]);
    const [gate, up] = parts(before(norms.beforeMlp), "gateUp");
    after(norms.afterMlp, parts(gatedUnit(gate, up, config.activation), "down")[0]);
  }
  if (options.logitsIndices !== undefined) stream.select(options.logitsIndices);
  return scaledBy(stream.read("model.norm"), config.logitScale);
}

const layerNorm = (layer: number, name: string | undefined): string | undefined =>
  name === undefined ? undefined : `model.layers.${layer}.${name}`;

const scaledBy = (x: Value, factor = 1): Value => (factor === 1 ? x : mul(x, scalar(factor)));

/** The activations that pass from layer to layer. A branch is added to it when it is next read, together with the norm that follows. */
interface ResidualStream {
  /** Its norm, or itself without one. */
  readonly read: (norm: string | undefined) => Value;
  /** Adds a branch, or the norm of one. */
  readonly write: (branch: Value, norm: string | undefined) => void;
  /** Keeps these tokens alone. */
  readonly select: (indices: Value) => void;
}

function residualStream(config: ModelConfig, options: DecoderOptions): ResidualStream {
  const { ids, layout, weights, addNorm, mark = (residual) => residual } = options;
  const epsilon = config.normEpsilon;
  const embedded = scaledBy(
    embed(requireWeight(weights, "model.embed_tokens.weight"), ids),
    config.embeddingScale,
  );
  let residual = layout === undefined ? embedded : reshape(embedded, [...layout, config.hiddenSize]);
  let branch: Value | undefined; // not yet added
  const readGain = (norm: string): Value => requireWeight(weights, `${norm}.weight`);
  const added = (): Value => {
    if (branch !== undefined) residual = mark(add(residual, branch));
    branch = undefined;
    return residual;
  };
  return {
    read(norm) {
      if (norm === undefined) return added();
      if (branch === undefined || addNorm === undefined) return rmsNorm(added(), readGain(norm), { epsilon });
      const both = addNorm(residual, branch, { gain: readGain(norm), epsilon });
      [residual, branch] = [both.sum, undefined];
      return both.norm;
    },
    write(value, norm) {
      const normed = norm === undefined ? value : rmsNorm(value, readGain(norm), { epsilon });
      branch = scaledBy(normed, config.residualScale);
    },
    select(indices) {
      const sum = branch === undefined ? residual : add(residual, branch);
      const rows = sum.shape.length === 2 ? sum : reshape(sum, ["positions", config.hiddenSize]);
      [residual, branch] = [embed(rows, indices), undefined]; // [T, C]
    },
  };
}

/** The head, one vector for each token of the vocabulary: [V, C]. */
export const headWeight = (config: ModelConfig, weights: WeightValues): Value =>
  requireWeight(weights, config.tiedHead ? "model.embed_tokens.weight" : "lm_head.weight");

/** A product for each linear layer of a group. */
export const eachLinear =
  (weights: WeightValues, linear: LinearHook): ProjectHook =>
  (x, { layer, group }) =>
    GROUPS[group].map((name) => {
      const target = { layer, linear: name };
      const path = modulePath(target);
      return linear(x, target, {
        weight: requireWeight(weights, `${path}.weight`),
        bias: weights.get(`${path}.bias`),
      });
    });

/** Normalises and rotates q and k in the layout of the attention hook, and gives the hook's result as [N, H · D]. */
function attendWith(config: ModelConfig, options: DecoderOptions): (projected: Heads) => Value {
  const { ids, positions, layout = ids.shape, attention } = options;
  const { heads: H, keyValueHeads: K, headDim: D } = config;
  const [batch, length] = ids.shape as readonly [Dim, Dim];
  const norm = headNorms(config, options);
  const tablesForLayer = layerTables(config, options);
  if (attention.heads === "joined") {
    const turn = (x: Value, site: HeadNorm): Value => {
      const normed = config.queryKeyNorm ? reshape(norm(x, site), [batch, length, site.heads * D]) : x;
      const tables = attention.rotates ? undefined : tablesForLayer(site.layer);
      return tables ? rotateJoined(normed, positions, { ...tables, heads: site.heads }) : normed;
    };
    return ({ q, k, v, layer }) =>
      attention.attend({
        q: turn(q, { layer, name: "q_norm", heads: H }),
        k: turn(k, { layer, name: "k_norm", heads: K }),
        v,
        layer,
        ...(attention.rotates ? { tables: tablesForLayer(layer) } : {}),
      });
  }
  const split = (x: Value, heads: number): Value =>
    transpose(reshape(x, [batch, length, heads, D]), [0, 2, 1, 3]); // [B, H, S, D]
  const turn = (x: Value, site: HeadNorm): Value => {
    const apart = split(norm(x, site), site.heads);
    const tables = tablesForLayer(site.layer);
    return tables ? rotate(apart, positions, tables) : apart;
  };
  return ({ q, k, v, layer }) => {
    const seen = attention.attend({
      q: turn(q, { layer, name: "q_norm", heads: H }),
      k: turn(k, { layer, name: "k_norm", heads: K }),
      v: split(v, K),
      layer,
    });
    return reshape(transpose(seen, [0, 2, 1, 3]), [...layout, H * D]);
  };
}

/** The norm of a layer's queries or keys. */
interface HeadNorm {
  readonly layer: number;
  readonly name: "q_norm" | "k_norm";
  readonly heads: number;
}

/** Norms of queries and keys: of each head, which gives [B, S, heads, D], or of all together, where the shape stays. */
function headNorms(
  { queryKeyNorm, headDim, normEpsilon: epsilon }: ModelConfig,
  { ids, weights }: DecoderOptions,
): (x: Value, norm: HeadNorm) => Value {
  const [batch, length] = ids.shape as readonly [Dim, Dim];
  return (x, { layer, name, heads }) => {
    if (queryKeyNorm === undefined) return x;
    const rows = queryKeyNorm === "all" ? x : reshape(x, [batch, length, heads, headDim]);
    return rmsNorm(rows, requireWeight(weights, `model.layers.${layer}.self_attn.${name}.weight`), {
      epsilon,
    });
  };
}

/** The rotation of each layer; layers with the same rope share it. */
function layerTables(
  config: ModelConfig,
  { ids, maxPositions: positions, attention }: DecoderOptions,
): (layer: number) => RotationTables | undefined {
  const [, length] = ids.shape;
  // the operator wants a row for each token, even where positions restart within a row of the batch
  const needed = typeof length === "number" ? Math.max(length, positions) : positions;
  const rows = attention.rotates ? needed + 1 : needed;
  const tables = new Map<RopeConfig, RotationTables>();
  return (layer) => {
    const rope = layerRope(config, layer);
    if (rope === undefined) return undefined;
    const found =
      tables.get(rope) ?? rotationTables({ rope, rotaryDim: rotatedWidth(config), positions }, rows);
    tables.set(rope, found);
    return found;
  };
}

/** Cosine and sine of the angle of every position below `rows`, [rows, R / 2], computed in double precision. */
export function rotationTables(
  rotation: Rotation & { readonly positions: number },
  rows = rotation.positions,
): RotationTables {
  const frequencies = ropeFrequencies(rotation);
  const half = frequencies.length;
  const factor = "attentionFactor" in rotation.rope ? rotation.rope.attentionFactor : 1;
  const cosine = new Float32Array(rows * half);
  const sine = new Float32Array(rows * half);
  for (let p = 0; p < rows; p++)
    frequencies.forEach((frequency, i) => {
      // float32 angles, as the reference implementations have them
      const angle = Math.fround(p * Math.fround(frequency));
      cosine[p * half + i] = Math.cos(angle) * factor;
      sine[p * half + i] = Math.sin(angle) * factor;
    });
  return { cosine: constant(cosine, [rows, half]), sine: constant(sine, [rows, half]) };
}

function requireWeight(weights: WeightValues, name: string): Value {
  const value = weights.get(name);
  if (value === undefined) throw new MosError("bad_model", `the weight ${name} is missing from the model`);
  return value;
}
