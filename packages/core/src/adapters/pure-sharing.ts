// L layers · r pairs. Pure sharing (MoS paper, table 1): every layer uses the same A and B of its linear type. With
// r = e · L it has as many trainable parameters as LoRA of rank e. Random scaling and subset selection are the same, and tell
// layers apart.

import { gatherRows, mul, reshape, slice, transpose } from "mixture-of-shards-graph";
import { z } from "zod";
import { MosError, type Random, setting } from "#common";
import { describePool, type Pool } from "#models";
import type { TensorSpec } from "./method.ts";
import {
  allPools,
  alphaScale,
  alphaSetting,
  commonSettings,
  defineMethod,
  equivalentRankSetting,
  kaiming,
  type MethodConfig,
  trainable,
  zeros,
} from "./method-parts.ts";

/** The rank of a pool that all layers share: as many pairs as e · L. */
const poolRank = {
  rank: setting(z.int().min(1).max(65_536), {
    default: 64,
    placeholder: "r",
    help: "number of vector pairs shared by all layers",
  }),
};

/**
 * The pool that pure sharing and its variants have for one linear type: an A [r, in] and a B [out, r] that all layers
 * use. A pair is a row of A with its column of B.
 */
const pairTensors = ({ name, in: width, out }: Pool, pairs: number): readonly TensorSpec[] => [
  trainable(`${name}.A`, [pairs, width], kaiming(pairs * width, width)),
  trainable(`${name}.B`, [out, pairs], zeros(out * pairs)),
];

const settings = {
  ...commonSettings,
  ...poolRank,
  ...alphaSetting,
};
/** Settings of pure sharing, defaults filled in. */
export type PureSharingConfig = MethodConfig<
  "pure-sharing",
  typeof poolRank & Omit<typeof commonSettings, "rank"> & typeof alphaSetting
>;

/** Pure sharing, as the head of this file describes it. */
export const pureSharing = defineMethod<PureSharingConfig>("pure-sharing", settings, {
  summary: "All layers share one pair of large factors.",
  example: { rank: 6 },
  tensors: (config, shapes) => allPools(config, shapes).flatMap((pool) => pairTensors(pool, config.rank)),
  factors:
    (config, { view }) =>
    ({ pool: { name } }) => ({
      a: view.value(`${name}.A`),
      b: transpose(view.value(`${name}.B`), [1, 0]),
      scale: alphaScale(config),
    }),
  folder: {
    peftType: "PURE_SHARING",
    settings: { alpha: "lora_alpha" },
  },
});

// Random scaling: each layer scales the shared rows of A by numbers of its own, which are drawn once and never trained.

const scalingSettings = {
  ...commonSettings,
  ...poolRank,
  ...alphaSetting,
  scaleMean: setting(z.number().min(-1000).max(1000), { default: 1, help: "mean of the random scales" }),
  scaleDeviation: setting(z.number().min(0).max(1000), {
    default: 0.3,
    help: "standard deviation of the random scales",
  }),
};
/** Settings of random scaling, defaults filled in. */
export type RandomScalingConfig = MethodConfig<
  "random-scaling",
  typeof scalingSettings & Omit<typeof commonSettings, "rank"> & typeof poolRank & typeof alphaSetting
>;

/** s, [L, r] */
const scales = (
  { rank, scaleMean, scaleDeviation }: RandomScalingConfig,
  { name, layers: { length: layers } }: Pool,
): TensorSpec => ({
  name: `${name}.scale`,
  shape: [layers, rank],
  role: "frozen",
  dtype: "float32",
  initialize: (random) =>
    Float32Array.from({ length: layers * rank }, () => scaleMean + scaleDeviation * random.normal()),
});

/** Random scaling, as described above. */
export const randomScaling = defineMethod<RandomScalingConfig>("random-scaling", scalingSettings, {
  summary: "Like pure sharing, with fixed random scales that tell layers apart.",
  example: { rank: 6 },
  check({ scaleMean, scaleDeviation }) {
    if (scaleMean === 0 && scaleDeviation === 0)
      throw new MosError(
        "bad_config",
        "scale mean 0 and scale deviation 0 make every scale 0, so nothing could be trained; give another mean or a deviation above 0",
      );
  },
  tensors: (config, shapes) =>
    allPools(config, shapes).flatMap((pool) => [...pairTensors(pool, config.rank), scales(config, pool)]),
  factors:
    (config, { view }) =>
    ({ index, pool: { name } }) => {
      const own = slice(view.value(`${name}.scale`), { axis: 0, from: index, to: index + 1 }); // [1, r]
      return {
        a: mul(reshape(own, [config.rank, 1]), view.value(`${name}.A`)),
        b: transpose(view.value(`${name}.B`), [1, 0]),
        scale: alphaScale(config),
      };
    },
  folder: {
    peftType: "RANDOM_SCALING",
    settings: { alpha: "lora_alpha", scaleMean: "scale_mean", scaleDeviation: "scale_deviation" },
  },
});

// Subset selection: each layer uses r of the e · L shared pairs, drawn once without replacement; the same pairs for A and for B.

const selectionSettings = {
  ...commonSettings,
  ...alphaSetting,
  ...equivalentRankSetting,
};
/** Settings of subset selection, defaults filled in. */
export type SubsetSelectionConfig = MethodConfig<
  "subset-selection",
  typeof commonSettings & typeof alphaSetting & typeof equivalentRankSetting
>;

/** Inputs of a choice of layers × rank pairs. */
interface Choice {
  readonly layers: number;
  readonly rank: number;
  readonly pairs: number;
}

function drawPairs({ layers, rank, pairs }: Choice, random: Random): Int32Array {
  const table = new Int32Array(layers * rank);
  for (let k = 0; k < layers; k++) table.set(random.permutation(pairs).subarray(0, rank), k * rank);
  return table;
}

/** A table from a file must choose as `drawPairs` can. */
function choiceFlaw({ layers, rank, pairs }: Choice, table: Int32Array): string | undefined {
  for (let k = 0; k < layers; k++) {
    const chosen = table.subarray(k * rank, (k + 1) * rank);
    const outside = chosen.find((index) => index < 0 || index >= pairs);
    if (outside !== undefined) return `layer ${k} uses pair ${outside}, but there are ${pairs}`;
    if (new Set(chosen).size !== rank) return `layer ${k} uses a pair twice`;
  }
  return undefined;
}

/** Subset selection, as described above. */
export const subsetSelection = defineMethod<SubsetSelectionConfig>("subset-selection", selectionSettings, {
  summary: "Each layer picks its own vectors from the shared pools.",
  example: { rank: 3, equivalentRank: 2 },
  check(config, shapes) {
    for (const { name, layers } of allPools(config, shapes)) {
      const pairs = config.equivalentRank * layers.length;
      if (config.rank > pairs)
        throw new MosError(
          "bad_config",
          `rank ${config.rank} is more than the ${pairs} shared pairs of ${layers.length} layers${layers.length === shapes.layers ? "" : ` that have ${describePool(name)}`} × equivalent rank ${config.equivalentRank}; use a rank of at most ${pairs}`,
        );
    }
  },
  tensors: (config, shapes) =>
    allPools(config, shapes).flatMap((pool) => {
      const { rank, equivalentRank } = config;
      const layers = pool.layers.length;
      const choice = { layers, rank, pairs: equivalentRank * layers };
      return [
        ...pairTensors(pool, choice.pairs),
        {
          name: `${pool.name}.I`,
          shape: [layers, rank],
          role: "frozen",
          dtype: "int32",
          below: choice.pairs,
          initialize: (random) => drawPairs(choice, random),
          flaw: (table) => choiceFlaw(choice, table),
        },
      ];
    }),
  factors:
    (config, { view }) =>
    ({ index, pool: { name } }) => {
      const { rank } = config;
      const chosen = view.indices(`${name}.I`).slice(index * rank, (index + 1) * rank);
      return {
        a: gatherRows(view.value(`${name}.A`), chosen),
        b: gatherRows(transpose(view.value(`${name}.B`), [1, 0]), chosen),
        scale: alphaScale(config),
      };
    },
  routing: (config, shapes) =>
    allPools(config, shapes).map(({ name, layers }) => ({
      linear: name,
      side: "A and B",
      unit: "pair",
      table: `${name}.I`,
      shared: config.equivalentRank * layers.length,
      private: 0,
    })),
  folder: {
    peftType: "SUBSET_SELECTION",
    settings: { alpha: "lora_alpha", equivalentRank: "equivalent_rank" },
  },
});
