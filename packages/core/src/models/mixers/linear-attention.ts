// Gated DeltaNet (Qwen3.5): a state of each head that every token decays, corrects and reads, behind a short convolution.
// C hidden width · K key heads of width D · H value heads of width E
import {
  add,
  constant,
  exp,
  gatedUnit,
  mul,
  neg,
  reshape,
  rmsNorm,
  sigmoid,
  softplus,
  split,
  type Value,
} from "mixture-of-shards-graph";
import type { ModelConfig } from "../config.ts";
import type { LinearHeads } from "../geometry.ts";
import { linearShapes, type Mixer, requireWeight } from "./mixer.ts";

/** The heads that such a layer must have. */
const headsOf = ({ linearAttention }: ModelConfig): LinearHeads => linearAttention as LinearHeads;

/** Channels of the convolution: queries, keys and values side by side. */
const joinedWidth = ({ keyHeads: K, valueHeads: H, keyDim: D, valueDim: E }: LinearHeads): number =>
  2 * K * D + H * E;

export const linearAttention: Mixer = {
  weights(config) {
    const heads = headsOf(config);
    const { valueHeads: H, valueDim: E } = heads;
    const [hidden, joined] = [config.hiddenSize, joinedWidth(heads)];
    return [
      ...linearShapes("linear_attn.in_proj_qkv", [joined, hidden]),
      ...linearShapes("linear_attn.in_proj_z", [H * E, hidden]),
      ...linearShapes("linear_attn.in_proj_b", [H, hidden]),
      ...linearShapes("linear_attn.in_proj_a", [H, hidden]),
      ["linear_attn.conv1d.weight", [joined, 1, heads.kernel]],
      ["linear_attn.dt_bias", [H]],
      ["linear_attn.A_log", [H]],
      ["linear_attn.norm.weight", [E]],
      ...linearShapes("linear_attn.out_proj", [hidden, H * E]),
    ];
  },
  cached: () => [],
  state(config) {
    const heads = headsOf(config);
    const { valueHeads: H, keyDim: D, valueDim: E, kernel } = heads;
    return [
      { name: "earlier", shape: [kernel - 1, joinedWidth(heads)] },
      { name: "memory", shape: [H, D, E] },
    ];
  },
  forward(config, { weights, recurrent }) {
    const { keyHeads: K, valueHeads: H, keyDim: D, valueDim: E } = headsOf(config);
    return (x, { layer, project }) => {
      const weight = (name: string): Value =>
        requireWeight(weights, `model.layers.${layer}.linear_attn.${name}`);
      const parts = project(x, "linearIn") as Readonly<Record<string, Value>>;
      const { in_proj_qkv, in_proj_z, in_proj_b, in_proj_a } = parts as LinearParts;
      const joined = recurrent.convolve(in_proj_qkv, { layer, kernel: weight("conv1d.weight") });
      const axis = joined.shape.length - 1;
      const [q, k, v] = split(joined, { axis, sizes: [K * D, K * D, H * E] }) as [Value, Value, Value];
      const decay = neg(mul(exp(weight("A_log")), softplus(add(in_proj_a, weight("dt_bias")))));
      const [unitQ, unitK] = [unitHeads(q, D), unitHeads(k, D)];
      const read = recurrent.recur({ q: unitQ, k: unitK, v, decay, beta: sigmoid(in_proj_b), layer });
      const rows = joined.shape.slice(0, -1);
      const normed = rmsNorm(reshape(read, [...rows, H, E]), weight("norm.weight"), {
        epsilon: config.normEpsilon,
      });
      const gated = gatedUnit(in_proj_z, reshape(normed, [...rows, H * E]));
      return project(gated, "linearOut").out_proj as Value;
    };
  },
};

type LinearParts = Readonly<Record<"in_proj_qkv" | "in_proj_z" | "in_proj_b" | "in_proj_a", Value>>;

/** Heads [..., K · D] divided by their lengths, x / √(Σ x² + 10⁻⁶): a norm by the mean square with a gain of 1 / √D. */
function unitHeads(x: Value, width: number): Value {
  const rows = x.shape.slice(0, -1);
  const heads = reshape(x, [...rows, (x.shape.at(-1) as number) / width, width]);
  const gain = constant(new Float32Array(width).fill(width ** -0.5));
  return reshape(rmsNorm(heads, gain, { epsilon: 1e-6 / width }), x.shape);
}
