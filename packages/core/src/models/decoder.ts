// The forward pass of the model, for training, prefill and decoding. These differ in the hooks they pass, and only there.
// B batch · S tokens · N = B · S · C hidden width

import {
  type AddedNorm,
  add,
  embed,
  gatedUnit,
  linear,
  mul,
  type NormOptions,
  reshape,
  rmsNorm,
  scalar,
  split,
  type Value,
  weightLeaf,
} from "mixture-of-shards-graph";
import type { WeightFormat } from "mixture-of-shards-graph/common";
import type { ModelConfig } from "./config.ts";
import { type LayerGroup, type LinearHook, modulePath, plainLinear } from "./linear-layers.ts";
import {
  type MixerOptions,
  type MixerSite,
  mixerFor,
  requireWeight,
  type WeightValues,
} from "./mixers/index.ts";
import { LAYER_EMBEDDINGS, LAYER_NORMS, type LayerNorms, layerGroups, weightShapes } from "./weights.ts";

/** Leaves for every weight of the model, float32 unless `formats` says how it is stored: then one for each of its tensors. */
export const weightLeaves = (
  config: ModelConfig,
  formats: ReadonlyMap<string, WeightFormat> = new Map(),
): WeightValues =>
  new Map(
    [...weightShapes(config)].map(([name, shape]) => [name, weightLeaf(name, shape, formats.get(name))]),
  );

/**
 * The linear layers of one group on their common input x [N, in]: an output [N, out] for each, in their order.
 * Adapters enter here, and so does a base that keeps a group as one matrix.
 */
export type ProjectHook = (x: Value, layerGroup: LayerGroup) => readonly Value[];

/** The branch of a layer added to the residual stream, and the norm of the sum, by one operator. */
type AddNormHook = (
  residual: Value,
  branch: Value,
  options: NormOptions & { readonly gain: Value },
) => AddedNorm;

/** Options of the forward pass. */
export interface DecoderOptions extends MixerOptions {
  /** Tokens whose hidden states are needed, int32 [T], as indices into the N tokens; left out, all are. */
  readonly logitsIndices?: Value;
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
  const { project: hook = eachLinear(options.weights, plainLinear) } = options;
  const stream = residualStream(config, options);
  const norms: LayerNorms = LAYER_NORMS[config.norms ?? "pre"];
  const mix = mixerFor(config, options);
  const layerInput = layerInputs(config, { ...options, embedded: stream.read(undefined) });
  for (let layer = 0; layer < config.layers; layer++) {
    const groups = new Map(layerGroups(config, layer).map((one) => [one.group, one]));
    const project: MixerSite["project"] = (x, name) => {
      const group = groups.get(name) as LayerGroup;
      const outputs = hook(x, group);
      return Object.fromEntries(group.linears.map((linear, i) => [linear, outputs[i]]));
    };
    const before = (name: string | undefined): Value => stream.read(layerNorm(layer, name));
    const after = (name: string | undefined, branch: Value): void =>
      stream.write(branch, layerNorm(layer, name));
    after(norms.afterAttention, mix(before(norms.beforeAttention), { layer, project }));
    const { gate_proj: gate, up_proj: up } = project(before(norms.beforeMlp), "gateUp");
    const inner = gatedUnit(gate as Value, up as Value, config.activation);
    after(norms.afterMlp, project(inner, "down").down_proj as Value);
    if (layerInput !== undefined) {
      const { per_layer_input_gate: own } = project(stream.read(undefined), "layerInput");
      const said = gatedUnit(own as Value, layerInput(layer), config.activation);
      after("post_per_layer_input_norm", project(said, "layerOutput").per_layer_projection as Value);
    }
    if (config.layerScale === true)
      stream.scale(requireWeight(options.weights, `model.layers.${layer}.layer_scalar`));
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
  /** Multiplies all of it. */
  readonly scale: (factor: Value) => void;
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
    scale(factor) {
      residual = mul(added(), factor);
    },
    select(indices) {
      const sum = branch === undefined ? residual : add(residual, branch);
      const rows = sum.shape.length === 2 ? sum : reshape(sum, ["positions", config.hiddenSize]);
      [residual, branch] = [embed(rows, indices), undefined]; // [T, C]
    },
  };
}

/**
 * What the layers' own embeddings say of each token, [..., P] of each layer: a table's row, and a projection of the token's
 * embedding, which is normed. Undefined in models that have none.
 */
function layerInputs(
  config: ModelConfig,
  { ids, layout = ids.shape, weights, embedded }: DecoderOptions & { readonly embedded: Value },
): ((layer: number) => Value) | undefined {
  if (config.layerInput === undefined) return undefined;
  const { width } = config.layerInput;
  const apart = (x: Value): Value => reshape(x, [...layout, config.layers, width]);
  const row = scaledBy(embed(requireWeight(weights, LAYER_EMBEDDINGS), ids), Math.sqrt(width));
  const projection = linear(embedded, requireWeight(weights, "model.per_layer_model_projection.weight"));
  const gain = requireWeight(weights, "model.per_layer_projection_norm.weight");
  const normed = rmsNorm(apart(scaledBy(projection, config.hiddenSize ** -0.5)), gain, {
    epsilon: config.normEpsilon,
  });
  const both = scaledBy(add(normed, apart(row)), Math.SQRT1_2);
  const parts = split(both, { axis: layout.length, sizes: Array.from({ length: config.layers }, () => 1) });
  return (layer) => reshape(parts[layer] as Value, [...layout, width]);
}

/** The head, one vector for each token of the vocabulary: [V, C]. */
export const headWeight = (config: ModelConfig, weights: WeightValues): Value =>
  requireWeight(weights, config.tiedHead ? "model.embed_tokens.weight" : "lm_head.weight");

/** A product for each linear layer of a group. */
export const eachLinear =
  (weights: WeightValues, hook: LinearHook): ProjectHook =>
  (x, { layer, linears }) =>
    linears.map((name) => {
      const target = { layer, linear: name };
      const path = modulePath(target);
      return hook(x, target, {
        weight: requireWeight(weights, `${path}.weight`),
        bias: weights.get(`${path}.bias`),
      });
    });
