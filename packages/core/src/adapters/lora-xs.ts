// L layers · r rank. LoRA-XS (Bałazy et al., 2024): the update is B R A with A = Vᵀ and B = U Σ, the largest singular values of the
// base's own matrix with their vectors. They are frozen and the same for all adapters of a base; R [r, r] is trained.

import { matmul, transpose } from "mixture-of-shards-graph";
import { MosError } from "#common";
import { describePool, listTargets, type SingularFactors, type TargetModule } from "#models";
import type { TensorSpec, Widths } from "./method.ts";
import {
  allPools,
  alphaScale,
  alphaSetting,
  commonSettings,
  defineMethod,
  type MethodConfig,
  rankSetting,
  trainable,
  zeros,
} from "./method-parts.ts";

const settings = {
  ...commonSettings,
  ...alphaSetting,
  rank: rankSetting({ standard: 32 }),
};
/** Settings of LoRA-XS, defaults filled in. */
export type LoraXsConfig = MethodConfig<
  "lora-xs",
  typeof settings & Omit<typeof commonSettings, "rank"> & typeof alphaSetting
>;

const nameOf = ({ layer, linear }: TargetModule, part: "A" | "B" | "R"): string =>
  `${linear}.${layer}.${part}`;

/** LoRA-XS, as the head of this file describes it. */
export const loraXs = defineMethod<LoraXsConfig>("lora-xs", settings, {
  summary: "Only a small square matrix per layer is trained, between frozen factors of the base itself.",
  example: { rank: 4 },
  check(config, shapes) {
    for (const { name, in: width, out } of allPools(config, shapes)) {
      const most = Math.min(width, out);
      if (config.rank > most)
        throw new MosError(
          "bad_config",
          `rank ${config.rank} is more than the ${most} singular values of ${describePool(name)}; use a rank of at most ${most}`,
        );
    }
  },
  tensors(config, { singular, ...shapes }) {
    const { rank } = config;
    const modules = listTargets(shapes, config.targets);
    const base = (): SingularFactors => {
      if (singular !== undefined) return singular;
      throw new MosError(
        "bad_config",
        "LoRA-XS needs the weights of its base, of which only the shapes are known; pass shapes from toBaseShapes",
      );
    };
    const tensorsOf = (target: TargetModule, widths: Widths): readonly TensorSpec[] => {
      /** Bᵀ [r, out] is kept, as it is used. */
      const factor = (part: "A" | "B", width: number): TensorSpec => ({
        name: nameOf(target, part),
        shape: [rank, width],
        role: "seeded",
        dtype: "float32",
        initialize: () => base().get(target, rank)[part === "A" ? "a" : "b"],
        prepare: () => base().prepare(modules, rank),
      });
      const trained = trainable(nameOf(target, "R"), [rank, rank], zeros(rank * rank));
      return [factor("A", widths.in), factor("B", widths.out), trained];
    };
    return allPools(config, shapes).flatMap(({ linear, layers, ...widths }) =>
      layers.flatMap((layer) => tensorsOf({ layer, linear }, widths)),
    );
  },
  factors:
    (config, { view }) =>
    ({ layer, pool: { linear } }) => {
      const target = { layer, linear };
      const product = {
        core: transpose(view.value(nameOf(target, "R")), [1, 0]),
        shared: view.value(nameOf(target, "B")),
      };
      const b = matmul(product.core, product.shared); // (B R)ᵀ
      return { a: view.value(nameOf(target, "A")), b, scale: alphaScale(config), product };
    },
  folder: {
    peftType: "LORA_XS",
    settings: { alpha: "lora_alpha" },
  },
});
