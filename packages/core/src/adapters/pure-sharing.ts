// L layers · r pairs. Pure sharing (MoS paper, table 1): every layer uses the same A and B of its linear type. With
// r = e · L it has as many trainable parameters as LoRA of rank e.
import { transpose } from "mixture-of-shards-graph";
import type { AdapterMethod } from "./method.ts";
import {
  alphaScale,
  alphaSetting,
  checkTargets,
  commonSettings,
  configSchema,
  type MethodConfig,
  ownTensorName,
  pairTensors,
  poolRank,
} from "./method-parts.ts";

const settings = {
  ...commonSettings,
  ...poolRank,
  ...alphaSetting,
};
const schema = configSchema("pure-sharing", settings);
/** Settings of pure sharing, defaults filled in. */
export type PureSharingConfig = MethodConfig<
  "pure-sharing",
  typeof poolRank & Omit<typeof commonSettings, "rank"> & typeof alphaSetting
>;

/** Pure sharing, as the head of this file describes it. */
export const pureSharing: AdapterMethod<PureSharingConfig> = {
  summary: "All layers share one pair of large factors.",
  settings,
  schema,
  example: schema.parse({ method: "pure-sharing", rank: 6 }),
  check: checkTargets,
  tensors: ({ targets, rank }, shapes) =>
    targets.flatMap((linear) => pairTensors(shapes, { linear, pairs: rank })),
  factors:
    (config, { view }) =>
    ({ linear }) =>
      config.targets.includes(linear)
        ? {
            a: view.value(`${linear}.A`),
            b: transpose(view.value(`${linear}.B`), [1, 0]),
            scale: alphaScale(config),
          }
        : undefined,
  hasLinearFactors: true,
  folder: {
    peftType: "PURE_SHARING",
    isKnownToPeft: false,
    settings: { alpha: "lora_alpha" },
    constants: {},
    tensorName: ownTensorName,
  },
};
