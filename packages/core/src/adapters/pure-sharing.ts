// L layers · r pairs. Pure sharing (MoS paper, table 1): every layer uses the same A and B of its linear type. With
// r = e · L it has as many trainable parameters as LoRA of rank e.
import { transpose } from "mixture-of-shards-graph";
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
  tensors: ({ targets, rank }, shapes) =>
    targets.flatMap((linear) => pairTensors(shapes, { linear, pairs: rank })),
  factors:
    (config, { view }) =>
    ({ linear }) => ({
      a: view.value(`${linear}.A`),
      b: transpose(view.value(`${linear}.B`), [1, 0]),
      scale: alphaScale(config),
    }),
  folder: {
    peftType: "PURE_SHARING",
    settings: { alpha: "lora_alpha" },
  },
});
