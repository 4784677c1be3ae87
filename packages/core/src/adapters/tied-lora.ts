// L layers · r rank. Tied LoRA (Renduchintala et al., 2024): q, k and v of all layers share one A [r, in] and one B
// [d_q + d_k + d_v, r]; a layer trains a vector u over the ranks and a vector v over the outputs.

import { mul, reshape, slice, split, transpose, type Value } from "mixture-of-shards-graph";
import { MosError } from "#common";
import type { LinearName } from "#models";
import type { LayerShapes } from "./method.ts";
import {
  alphaScale,
  alphaSetting,
  commonSettings,
  defineMethod,
  filled,
  kaiming,
  type MethodConfig,
  targetsSetting,
  targetWidths,
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

/** Outputs of each target; they lie one after the other in B and v. */
const outputWidths = (targets: readonly LinearName[], shapes: LayerShapes): readonly number[] =>
  targets.map((name) => targetWidths(shapes, name).out);

const inputWidth = ([first = "q_proj"]: readonly LinearName[], shapes: LayerShapes): number =>
  targetWidths(shapes, first).in;

const total = (sizes: readonly number[]): number => sizes.reduce((a, b) => a + b, 0);

/** Tied LoRA, as the head of this file describes it. */
export const tiedLora = defineMethod<TiedLoraConfig>("tied-lora", settings, {
  summary: "One trained pair of factors for all layers, with scaling vectors of their own.",
  example: { rank: 3 },
  check({ targets }, shapes) {
    const width = inputWidth(targets, shapes);
    const other = targets.find((name) => targetWidths(shapes, name).in !== width);
    if (other !== undefined)
      throw new MosError(
        "bad_config",
        `targets: ${other} has ${targetWidths(shapes, other).in} inputs and ${targets[0]} has ${width}, so they cannot share one A; train them in separate adapters`,
      );
  },
  tensors({ targets, rank }, shapes) {
    const [width, out] = [inputWidth(targets, shapes), total(outputWidths(targets, shapes))];
    const own = Array.from({ length: shapes.layers }, (_, layer) => [
      trainable(`${layer}.u`, [rank], filled(rank, 1)),
      trainable(`${layer}.v`, [out], filled(out, 1)),
    ]);
    return [
      trainable("A", [rank, width], kaiming(rank * width, width)),
      trainable("B", [out, rank], zeros(out * rank)),
      ...own.flat(),
    ];
  },
  factors(config, { shapes, view }) {
    const { targets, rank } = config;
    const sizes = outputWidths(targets, shapes);
    let shared: readonly Value[] | undefined;
    /** Bᵀ [r, out of the target], cut once for all layers. */
    const columns = (target: number): Value => {
      shared ??= split(transpose(view.value("B"), [1, 0]), { axis: 1, sizes });
      return shared[target] as Value;
    };
    return ({ layer, linear }) => {
      const target = targets.indexOf(linear);
      const from = total(sizes.slice(0, target));
      const v = slice(view.value(`${layer}.v`), { axis: 0, from, to: from + (sizes[target] as number) });
      return {
        a: mul(reshape(view.value(`${layer}.u`), [rank, 1]), view.value("A")),
        b: mul(columns(target), v),
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
