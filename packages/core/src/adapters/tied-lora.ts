// L layers · r rank. Tied LoRA (Renduchintala et al., 2024): q, k and v of all layers share one A [r, in] and one B
// [d_q + d_k + d_v, r]; a layer trains a vector u over the ranks and a vector v over the outputs.

import { mul, reshape, slice, split, transpose, type Value } from "mixture-of-shards-graph";
import { MosError } from "#common";
import type { Pool } from "#models";
import {
  allPools,
  alphaScale,
  alphaSetting,
  commonSettings,
  defineMethod,
  filled,
  kaiming,
  type MethodConfig,
  targetsSetting,
  trainable,
  zeros,
} from "./method-parts.ts";

const settings = {
  ...commonSettings,
  ...alphaSetting,
  targets: targetsSetting(["q_proj", "k_proj", "v_proj"]),
};
/** Settings of Tied LoRA, defaults filled in. */
export type TiedLoraConfig = MethodConfig<
  "tied-lora",
  typeof settings & Omit<typeof commonSettings, "targets"> & typeof alphaSetting
>;

const outputs = (pools: readonly Pool[]): number => pools.reduce((sum, { out }) => sum + out, 0);

/** The pools that a layer has; their outputs lie one after the other in its v. */
const poolsOf = (pools: readonly Pool[], layer: number): readonly Pool[] =>
  pools.filter(({ layers }) => layers.includes(layer));

/** Tied LoRA, as the head of this file describes it. */
export const tiedLora = defineMethod<TiedLoraConfig>("tied-lora", settings, {
  summary: "One trained pair of factors for all layers, with scaling vectors of their own.",
  example: { rank: 3 },
  check(config, shapes) {
    const pools = allPools(config, shapes);
    const [first] = pools;
    const other = pools.find(({ in: width }) => width !== first?.in);
    if (other !== undefined)
      throw new MosError(
        "bad_config",
        `targets: ${other.linear} has ${other.in} inputs and ${first?.linear} has ${first?.in}, so they cannot share one A; train them in separate adapters`,
      );
  },
  tensors(config, shapes) {
    const { rank } = config;
    const pools = allPools(config, shapes);
    const [{ in: width }] = pools as [Pool];
    const out = outputs(pools);
    const layers = [...new Set(pools.flatMap((pool) => pool.layers))].sort((a, b) => a - b);
    const own = layers.map((layer) => {
      const ofLayer = outputs(poolsOf(pools, layer));
      return [
        trainable(`${layer}.u`, [rank], filled(rank, 1)),
        trainable(`${layer}.v`, [ofLayer], filled(ofLayer, 1)),
      ];
    });
    return [
      trainable("A", [rank, width], kaiming(rank * width, width)),
      trainable("B", [out, rank], zeros(out * rank)),
      ...own.flat(),
    ];
  },
  factors(config, { shapes, view }) {
    const { rank } = config;
    const pools = allPools(config, shapes);
    let shared: readonly Value[] | undefined;
    /** Bᵀ [r, out of the pool], cut once for all layers. */
    const columns = (name: string): Value => {
      shared ??= split(transpose(view.value("B"), [1, 0]), { axis: 1, sizes: pools.map(({ out }) => out) });
      return shared[pools.findIndex((pool) => pool.name === name)] as Value;
    };
    return ({ layer, pool: { name, out } }) => {
      const before = poolsOf(pools, layer);
      const from = outputs(
        before.slice(
          0,
          before.findIndex((pool) => pool.name === name),
        ),
      );
      const v = slice(view.value(`${layer}.v`), { axis: 0, from, to: from + out });
      return {
        a: mul(reshape(view.value(`${layer}.u`), [rank, 1]), view.value("A")),
        b: mul(columns(name), v),
        scale: alphaScale(config),
      };
    };
  },
  hasLinearFactors: false,
  folder: {
    peftType: "TIED_LORA",
    settings: { alpha: "lora_alpha" },
  },
});
