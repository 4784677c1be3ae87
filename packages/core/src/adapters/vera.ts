// L layers · r rank. VeRA (Kopiczko et al., 2024): random A_0 and B_0, frozen and shared by all layers of a linear type;
// a layer trains only a vector d over the ranks and a vector b over the outputs. A_0 and B_0 come from the seed and are
// not saved, so a file holds L · Σ (r + d_out) parameters. PEFT slices one pair for all types instead, another method.

import { mul, reshape, transpose } from "mixture-of-shards-graph";
import type { Pool } from "#models";
import type { TensorSpec } from "./method.ts";
import {
  allPools,
  commonSettings,
  defineMethod,
  filled,
  type MethodConfig,
  rankSetting,
  trainable,
  uniform,
  zeros,
} from "./method-parts.ts";

const settings = {
  ...commonSettings,
  rank: rankSetting({ standard: 256, max: 65_536 }),
};
/** Settings of VeRA, defaults filled in. */
export type VeraConfig = MethodConfig<"vera", typeof settings & Omit<typeof commonSettings, "rank">>;

/** Initial value of d in the paper. */
const START = 0.1;

/** Uniform with Kaiming's bound √(6 / fan-in). */
function projection(name: string, rows: number, fanIn: number): TensorSpec {
  const bound = Math.sqrt(6 / fanIn);
  const initialize = uniform(rows * fanIn, bound);
  return { name, shape: [rows, fanIn], role: "seeded", dtype: "float32", bound, initialize };
}

function vectorTensors(rank: number, { name, linear, in: width, out, layers }: Pool): readonly TensorSpec[] {
  const own = layers.map((layer) => [
    trainable(`${linear}.${layer}.d`, [rank], filled(rank, START)),
    trainable(`${linear}.${layer}.b`, [out], zeros(out)),
  ]);
  return [projection(`${name}.A`, rank, width), projection(`${name}.B`, out, rank), ...own.flat()];
}

/** VeRA, as the head of this file describes it. */
export const vera = defineMethod<VeraConfig>("vera", settings, {
  summary: "Fixed random factors for all layers, of which only scaling vectors are trained.",
  example: { rank: 5 },
  tensors: (config, shapes) => allPools(config, shapes).flatMap((pool) => vectorTensors(config.rank, pool)),
  factors:
    ({ rank }, { view }) =>
    ({ layer, pool: { name, linear } }) => {
      const [d, b] = [view.value(`${linear}.${layer}.d`), view.value(`${linear}.${layer}.b`)];
      return {
        a: mul(reshape(d, [rank, 1]), view.value(`${name}.A`)),
        b: mul(transpose(view.value(`${name}.B`), [1, 0]), b), // [r, out], b along the outputs
        scale: 1,
      };
    },
  folder: {
    peftType: "VERA_BY_TYPE",
    settings: {},
  },
});
