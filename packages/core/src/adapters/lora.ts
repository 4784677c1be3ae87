// L layers · r rank. LoRA (Hu et al., 2022): every module has an A and a B of its own.

import { transpose } from "mixture-of-shards-graph";
import { type LinearName, modulePath } from "#models";
import {
  allPools,
  alphaScale,
  alphaSetting,
  commonSettings,
  defineMethod,
  kaiming,
  type MethodConfig,
  trainable,
  zeros,
} from "./method-parts.ts";

const settings = {
  ...commonSettings,
  ...alphaSetting,
};
/** Settings of LoRA, defaults filled in. */
export type LoraConfig = MethodConfig<"lora", typeof commonSettings & typeof alphaSetting>;

const factorName = (linear: LinearName, layer: number, side: "A" | "B"): string =>
  `${linear}.${layer}.${side}`;

/** LoRA, as the head of this file describes it. */
export const lora = defineMethod<LoraConfig, typeof settings>("lora", settings, {
  summary: "Every layer has its own pair of low-rank factors: the reference, and the largest.",
  example: { rank: 2 },
  tensors: (config, shapes) =>
    allPools(config, shapes).flatMap(({ linear, in: width, out, layers }) =>
      layers.flatMap((layer) => [
        trainable(factorName(linear, layer, "A"), [config.rank, width], kaiming(config.rank * width, width)),
        trainable(factorName(linear, layer, "B"), [out, config.rank], zeros(out * config.rank)),
      ]),
    ),
  factors:
    (config, { view }) =>
    ({ layer, pool: { linear } }) => ({
      a: view.value(factorName(linear, layer, "A")),
      b: transpose(view.value(factorName(linear, layer, "B")), [1, 0]),
      scale: alphaScale(config),
    }),
  folder: {
    peftType: "LORA",
    isKnownToPeft: true,
    settings: { alpha: "lora_alpha" },
    constants: { use_rslora: false, use_dora: false, fan_in_fan_out: false },
    tensorName: (name) => {
      const [linear, layer, side] = name.split(".") as [LinearName, string, "A" | "B"];
      return `base_model.model.${modulePath({ layer: Number(layer), linear })}.lora_${side}.weight`;
    },
  },
});
