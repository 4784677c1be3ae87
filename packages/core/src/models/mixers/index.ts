import type { ModelConfig } from "../config.ts";
import { type LayerKind, layerKind } from "../geometry.ts";
import { attention } from "./attention.ts";
import { convolution } from "./convolution.ts";
import { linearAttention } from "./linear-attention.ts";
import type { CachedPart, Mixer, MixerOptions, StatePart } from "./mixer.ts";

/** The kinds of layers. One more is a file of this folder and a row here. */
export const MIXERS: Readonly<Record<LayerKind, Mixer>> = {
  attention,
  conv: convolution,
  linear_attention: linearAttention,
};

/** Computes the first half of any layer of one graph. */
export function mixerFor(config: ModelConfig, options: MixerOptions): ReturnType<Mixer["forward"]> {
  const made = new Map<LayerKind, ReturnType<Mixer["forward"]>>();
  return (x, site) => {
    const kind = layerKind(config, site.layer);
    const forward = made.get(kind) ?? MIXERS[kind].forward(config, options);
    made.set(kind, forward);
    return forward(x, site);
  };
}

/** A tensor that a slot keeps of one layer. */
export interface CachedTensor extends CachedPart {
  readonly layer: number;
}

/** All that is cached for each position: the keys of all layers, then their values, then the inputs of convolutions. */
export function cachedTensors(config: ModelConfig): readonly CachedTensor[] {
  const all = Array.from({ length: config.layers }, (_, layer) =>
    MIXERS[layerKind(config, layer)].cached(config, layer).map((part) => ({ ...part, layer })),
  ).flat();
  return (["k", "v", "x"] as const).flatMap((name) => all.filter((part) => part.name === name));
}

/** A state that a slot keeps of one layer. */
export interface StateTensor extends StatePart {
  readonly layer: number;
}

/** All states of a slot, layer by layer. */
export const stateTensors = (config: ModelConfig): readonly StateTensor[] =>
  Array.from({ length: config.layers }, (_, layer) =>
    (MIXERS[layerKind(config, layer)].state?.(config, layer) ?? []).map((part) => ({ ...part, layer })),
  ).flat();

export type {
  AttentionHook,
  EarlierHook,
  MixerOptions,
  MixerSite,
  NamedShapes,
  RecurrentHook,
  WeightValues,
} from "./mixer.ts";
export { linearShapes, requireWeight } from "./mixer.ts";
