// L layers · r rank. LoRA (Hu et al., 2022): every site has an A and a B of its own.
import { z } from "zod";
import { transpose } from "#graph";
import { type LinearName, modulePath } from "#nn";
import type { AdapterMethod, TensorSpec } from "./method.ts";
import { commonFields } from "./schema.ts";
import { kaiming, scaleOf, widthsOf } from "./widths.ts";

const schema = z.strictObject({ method: z.literal("lora"), ...commonFields });
export type LoraConfig = Readonly<z.output<typeof schema>>;

const nameOf = (linear: LinearName, layer: number, side: "A" | "B"): string => `${linear}.${layer}.${side}`;

export const lora: AdapterMethod<LoraConfig> = {
  schema,
  example: schema.parse({ method: "lora", rank: 2 }),
  check({ targets }, geometry) {
    for (const name of targets) widthsOf(geometry, name);
  },
  tensors({ targets, rank }, geometry) {
    return targets.flatMap((linear) => {
      const { in: width, out } = widthsOf(geometry, linear);
      return Array.from({ length: geometry.layers }, (_, layer): TensorSpec[] => [
        {
          name: nameOf(linear, layer, "A"),
          shape: [rank, width],
          role: "trainable",
          dtype: "float32",
          initialize: kaiming(rank * width, width),
        },
        {
          name: nameOf(linear, layer, "B"),
          shape: [out, rank],
          role: "trainable",
          dtype: "float32",
          initialize: () => new Float32Array(out * rank),
        },
      ]).flat();
    });
  },
  factors(config, { view }) {
    return ({ layer, linear }) =>
      config.targets.includes(linear)
        ? {
            a: view.value(nameOf(linear, layer, "A")),
            b: transpose(view.value(nameOf(linear, layer, "B")), [1, 0]),
            scale: scaleOf(config),
          }
        : undefined;
  },
  folder: {
    peftType: "LORA",
    isKnownToPeft: true,
    settings: {},
    constants: { use_rslora: false, use_dora: false, fan_in_fan_out: false },
    tensorName: (name) => {
      const [linear, layer, side] = name.split(".") as [LinearName, string, "A" | "B"];
      return `base_model.model.${modulePath({ layer: Number(layer), linear })}.lora_${side}.weight`;
    },
  },
};
