// L layers · r pairs. Pure sharing with random scaling (MoS paper, table 1): each layer scales the shared rows of A by
// numbers of its own, which are drawn once and never trained.

import { mul, reshape, slice, transpose } from "mixture-of-shards-graph";
import { z } from "zod";
import { MosError, setting } from "#common";
import type { TensorSpec } from "./method.ts";
import {
  alphaScale,
  alphaSetting,
  commonSettings,
  defineMethod,
  type MethodConfig,
  pairTensors,
  poolRank,
} from "./method-parts.ts";

const settings = {
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
  typeof settings & Omit<typeof commonSettings, "rank"> & typeof poolRank & typeof alphaSetting
>;

/** s, [L, r] */
const scales = (
  { rank, scaleMean, scaleDeviation }: RandomScalingConfig,
  { linear, layers }: { readonly linear: string; readonly layers: number },
): TensorSpec => ({
  name: `${linear}.scale`,
  shape: [layers, rank],
  role: "frozen",
  dtype: "float32",
  initialize: (random) =>
    Float32Array.from({ length: layers * rank }, () => scaleMean + scaleDeviation * random.normal()),
});

/** Random scaling, as the head of this file describes it. */
export const randomScaling = defineMethod<RandomScalingConfig>("random-scaling", settings, {
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
    config.targets.flatMap((linear) => [
      ...pairTensors(shapes, { linear, pairs: config.rank }),
      scales(config, { linear, layers: shapes.layers }),
    ]),
  factors:
    (config, { view }) =>
    ({ layer, linear }) => {
      const own = slice(view.value(`${linear}.scale`), { axis: 0, from: layer, to: layer + 1 }); // [1, r]
      return {
        a: mul(reshape(own, [config.rank, 1]), view.value(`${linear}.A`)),
        b: transpose(view.value(`${linear}.B`), [1, 0]),
        scale: alphaScale(config),
      };
    },
  folder: {
    peftType: "RANDOM_SCALING",
    settings: { alpha: "lora_alpha", scaleMean: "scale_mean", scaleDeviation: "scale_deviation" },
  },
});
