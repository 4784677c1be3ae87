// L layers · r rank · d length of the vector · D numbers of a LoRA of rank r. Uni-LoRA (Li et al., 2025): every number of
// A and B of all layers is one of the d trained numbers, divided by the root of how often that one is used. So the map from d to D
// numbers keeps lengths. Which number stands where is a random permutation, drawn from the seed and not saved.

import { constant, gatherRows, mul, reshape, split, type Value } from "mixture-of-shards-graph";
import { z } from "zod";
import { MosError, setting } from "#common";
import type { LayerShapes, TensorSpec } from "./method.ts";
import {
  allPools,
  commonSettings,
  defineMethod,
  type MethodConfig,
  rankSetting,
  trainable,
  uniform,
} from "./method-parts.ts";

const settings = {
  ...commonSettings,
  rank: rankSetting({ standard: 16 }),
  vectorLength: setting(
    z
      .int()
      .min(1)
      .max(2 ** 28),
    {
      common: true,
      default: 65_536,
      placeholder: "d",
      label: "Trained numbers",
      help: "trained numbers of the whole adapter",
    },
  ),
};
/** Settings of Uni-LoRA, defaults filled in. */
export type UniLoraConfig = MethodConfig<"uni-lora", typeof settings & Omit<typeof commonSettings, "rank">>;

/** Bound of the vector's start, as in PEFT. Of zeros no gradient would be left: A and B are made of the same numbers. */
const START = 0.02;

/** The numbers of each factor in their order: A [r, in] and Bᵀ [r, out] of one layer after the other, pool by pool. */
const factorSizes = (config: UniLoraConfig, shapes: LayerShapes): readonly number[] =>
  allPools(config, shapes).flatMap(({ in: width, out, layers }) =>
    layers.flatMap(() => [config.rank * width, config.rank * out]),
  );

const total = (sizes: readonly number[]): number => sizes.reduce((a, b) => a + b, 0);

/** The place in the vector of each of the D numbers. Every place has ⌊D / d⌋ or ⌈D / d⌉ of them. */
const placesTable = (size: number, length: number): TensorSpec => ({
  name: "places",
  shape: [size],
  role: "seeded",
  dtype: "int32",
  below: length,
  initialize: (random) => new Int32Array(random.permutation(size)).map((n) => n % length),
});

/** Uni-LoRA, as the head of this file describes it. */
export const uniLora = defineMethod<UniLoraConfig>("uni-lora", settings, {
  summary: "All numbers of a LoRA are random groups of one trained vector, of any length.",
  example: { rank: 3, vectorLength: 50 },
  check(config, shapes) {
    const size = total(factorSizes(config, shapes));
    if (config.vectorLength > size)
      throw new MosError(
        "bad_config",
        `vector length ${config.vectorLength} is more than the ${size} numbers of a LoRA of rank ${config.rank}; use at most ${size}, or a higher rank`,
      );
  },
  tensors(config, shapes) {
    const { vectorLength: d } = config;
    return [trainable("vector", [d], uniform(d, START)), placesTable(total(factorSizes(config, shapes)), d)];
  },
  factors(config, { shapes, view }) {
    const { rank, vectorLength: d } = config;
    const modules = allPools(config, shapes).flatMap(({ name, layers }) =>
      layers.map((layer) => `${name}.${layer}`),
    );
    let parts: readonly Value[] | undefined;
    /** All factors, gathered at once. */
    const gathered = (): readonly Value[] => {
      const sizes = factorSizes(config, shapes);
      const size = total(sizes);
      const scales = Float32Array.from(
        { length: d },
        (_, place) => 1 / Math.sqrt(Math.ceil((size - place) / d)),
      );
      const scaled = reshape(mul(view.value("vector"), constant(scales)), [d, 1]);
      return split(reshape(gatherRows(scaled, view.indices("places")), [size]), { axis: 0, sizes });
    };
    return ({ layer, pool: { name, in: width, out } }) => {
      parts ??= gathered();
      const index = 2 * modules.indexOf(`${name}.${layer}`);
      return {
        a: reshape(parts[index] as Value, [rank, width]),
        b: reshape(parts[index + 1] as Value, [rank, out]),
        scale: 1,
      };
    };
  },
  folder: {
    peftType: "UNILORA_BY_SEED",
    settings: { vectorLength: "theta_d_length" },
  },
});
