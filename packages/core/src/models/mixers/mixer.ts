// What a kind of layer provides, and the hooks by which training, prefill and decoding differ.
import type { RotationTables, Value } from "mixture-of-shards-graph";
import { type Dim, MosError } from "#common";
import type { ModelConfig } from "../config.ts";
import type { GroupName, LinearName } from "../linear-layers.ts";

/** The weights as values, by their Hugging Face names. */
export type WeightValues = ReadonlyMap<string, Value>;

/** Queries and keys with their rotary positions, and values, of one layer. */
export interface Heads {
  readonly q: Value;
  readonly k: Value;
  readonly v: Value;
  readonly layer: number;
  /** The layer that made the keys and values. */
  readonly keyLayer: number;
  /** A score of each head [H] that takes part in the softmax and has no value, in models that have them. */
  readonly sinks?: Value;
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

/**
 * The inputs x [..., C] of a convolution at the `count` tokens before each token, the furthest first; zeros before the first
 * token of a sequence. Only this hook knows where sequences begin, and what is cached.
 */
export type EarlierHook = (
  x: Value,
  site: { readonly layer: number; readonly count: number },
) => readonly Value[];

/** What a token does to the state of each head of linear attention. */
interface StateChange {
  /** Queries, keys and values, [..., keyHeads · keyDim] twice and [..., valueHeads · valueDim]. */
  readonly q: Value;
  readonly k: Value;
  readonly v: Value;
  /** The logarithm of what it leaves of the state [..., valueHeads]. */
  readonly decay: Value;
  /** How much of its value it writes [..., valueHeads]. */
  readonly beta: Value;
  readonly layer: number;
}

/** Linear attention of one layer. Only this hook knows where sequences begin, and what is kept of them. */
export interface RecurrentHook {
  /** silu of the causal convolution of x [..., C] by a kernel [C, 1, K]. */
  readonly convolve: (x: Value, site: { readonly layer: number; readonly kernel: Value }) => Value;
  /** What the tokens read of the state [..., valueHeads · valueDim]. */
  readonly recur: (change: StateChange) => Value;
}

export interface MixerOptions {
  readonly ids: Value; //       [B, S] int32
  readonly positions: Value; // [B, S] int64
  /** Positions are below this number. */
  readonly maxPositions: number;
  /** Shape of the tokens between the layers: that of `ids`, or [N] where B and S are known. */
  readonly layout?: readonly Dim[];
  /** With a hook for projections, those of linear layers are not read. */
  readonly weights: WeightValues;
  readonly attention: AttentionHook;
  readonly earlier: EarlierHook;
  readonly recurrent: RecurrentHook;
}

/** A layer that is computed. */
export interface MixerSite {
  readonly layer: number;
  /** The linear layers of a group on their common input, by name; undefined for those that the layer lacks. */
  readonly project: (x: Value, group: GroupName) => Readonly<Partial<Record<LinearName, Value>>>;
}

/** Names and shapes of weights. */
export type NamedShapes = readonly (readonly [name: string, shape: readonly number[]])[];

/** A tensor [heads, positions, width] that a slot keeps of a layer: keys, values, or inputs of a convolution. */
export interface CachedPart {
  readonly name: "k" | "v" | "x";
  readonly heads: number;
  readonly width: number;
}

/** A tensor that a slot keeps of a layer, of which each step makes another. */
export interface StatePart {
  readonly name: "earlier" | "memory";
  readonly shape: readonly number[];
}

/** A kind of layer: how its first half mixes tokens. */
export interface Mixer {
  /** Its weights by their names after `model.layers.N.`, in the order of the forward pass. */
  readonly weights: (config: ModelConfig, layer: number) => NamedShapes;
  /** What is cached for each position. */
  readonly cached: (config: ModelConfig, layer: number) => readonly CachedPart[];
  /** What a slot keeps however many tokens it holds; nothing where it is left out. */
  readonly state?: (config: ModelConfig, layer: number) => readonly StatePart[];
  /** Computes layers of this kind in one graph, from their normed input to their part of the residual stream. */
  readonly forward: (config: ModelConfig, options: MixerOptions) => (x: Value, site: MixerSite) => Value;
}

/** A linear layer's weights. */
export const linearShapes = (
  name: string,
  [out, into]: readonly [number, number],
  bias = false,
): NamedShapes => [[`${name}.weight`, [out, into]], ...(bias ? ([[`${name}.bias`, [out]]] as const) : [])];

/** A weight that must be there. Throws `bad_model`. */
export function requireWeight(weights: WeightValues, name: string): Value {
  const value = weights.get(name);
  if (value === undefined) throw new MosError("bad_model", `the weight ${name} is missing from the model`);
  return value;
}
