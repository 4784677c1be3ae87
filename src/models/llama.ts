// B batch · S tokens · N = B · S · C hidden width · H query heads · K key heads · D head width

import { MosError } from "#core";
import {
  add,
  type Dim,
  embed,
  leaf,
  type RotationTables,
  reshape,
  rmsNorm,
  rotate,
  swiglu,
  type Value,
} from "#graph";
import { joinHeads, type LinearHook, type LinearName, modulePath, splitHeads } from "#nn";
import type { LlamaConfig } from "./config.ts";
import { weightShapes } from "./weights.ts";

/** Leaves for every weight of the model. */
export function weightLeaves(config: LlamaConfig): ReadonlyMap<string, Value> {
  return new Map([...weightShapes(config)].map(([name, shape]) => [name, leaf(name, shape)]));
}

/** Attention of one layer over rotated q [B, H, S, D] and k, and v [B, K, S, D], giving [B, H, S, D]. */
export type AttentionHook = (heads: {
  readonly q: Value;
  readonly k: Value;
  readonly v: Value;
  readonly layer: number;
}) => Value;

export interface LlamaOptions {
  readonly ids: Value; //       [B, S] int32
  readonly positions: Value; // [B, S] int64
  /** How tokens are laid out between the layers: [N], or [B, S] where only the run knows these. */
  readonly layout: readonly Dim[];
  readonly rotation: RotationTables;
  readonly weights: ReadonlyMap<string, Value>;
  readonly linear: LinearHook;
  readonly attend: AttentionHook;
}

/**
 * The decoder of the Llama family, from token ids to hidden states before the last norm, [N, C].
 * How linear layers and attention are computed is left to the caller: that is where adapters and caches enter.
 */
export function llama(config: LlamaConfig, options: LlamaOptions): Value {
  const { ids, layout } = options;
  let x = reshape(embed(weightOf(options, "model.embed_tokens.weight"), ids), [...layout, config.hiddenSize]); // [N, C]
  for (let layer = 0; layer < config.layers; layer++) {
    const prefix = `model.layers.${layer}`;
    const norm = (v: Value, name: string) =>
      rmsNorm(v, weightOf(options, `${prefix}.${name}.weight`), { epsilon: config.normEpsilon });
    x = add(x, selfAttention(norm(x, "input_layernorm"), layer, { config, options }));
    x = add(x, mlp(norm(x, "post_attention_layernorm"), layer, options));
  }
  return x;
}

/** Logits come from the last norm's output by the head, whose rows are one vector per token: [V, C]. */
export function llamaHead(
  config: LlamaConfig,
  weights: ReadonlyMap<string, Value>,
): { readonly norm: (x: Value) => Value; readonly head: Value } {
  const gain = weightOf({ weights }, "model.norm.weight");
  const head = weightOf({ weights }, config.tiedHead ? "model.embed_tokens.weight" : "lm_head.weight");
  return { norm: (x) => rmsNorm(x, gain, { epsilon: config.normEpsilon }), head };
}

interface Layer {
  readonly config: LlamaConfig;
  readonly options: LlamaOptions;
}

function selfAttention(x: Value, layer: number, { config, options }: Layer): Value {
  const [batch, length] = options.ids.shape as readonly [Dim, Dim];
  const layout = (heads: number) => ({ batch, length, heads, headDim: config.headDim });
  const project = linearOf(options, layer);
  const turn = (v: Value) => rotate(v, options.positions, options.rotation);
  const q = turn(splitHeads(project(x, "q_proj"), layout(config.heads))); //         [B, H, S, D]
  const k = turn(splitHeads(project(x, "k_proj"), layout(config.keyValueHeads))); // [B, K, S, D]
  const v = splitHeads(project(x, "v_proj"), layout(config.keyValueHeads)); //       [B, K, S, D]
  const seen = options.attend({ q, k, v, layer }); //                                [B, H, S, D]
  return project(joinHeads(seen, layout(config.heads), options.layout), "o_proj"); //  [N, C]
}

function mlp(x: Value, layer: number, options: LlamaOptions): Value {
  const project = linearOf(options, layer);
  return project(swiglu(project(x, "gate_proj"), project(x, "up_proj")), "down_proj");
}

function weightOf({ weights }: Pick<LlamaOptions, "weights">, name: string): Value {
  const value = weights.get(name);
  if (value === undefined) throw new MosError("bad_model", `the model has no weight ${name}`);
  return value;
}

const linearOf =
  (options: LlamaOptions, layer: number) =>
  (x: Value, linear: LinearName): Value => {
    const name = modulePath({ layer, linear });
    const weights = {
      weight: weightOf(options, `${name}.weight`),
      bias: options.weights.get(`${name}.bias`),
    };
    return options.linear(x, { layer, linear }, weights);
  };
