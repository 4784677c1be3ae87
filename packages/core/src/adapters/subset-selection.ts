// L layers · e equivalent rank · r rank. Pure sharing with subset selection (MoS paper, table 1): each layer uses r of
// the e · L shared pairs, drawn once without replacement; the same pairs for A and for B.

import { gatherRows, transpose } from "mixture-of-shards-graph";
import { MosError, type Random } from "#common";
import {
  alphaScale,
  alphaSetting,
  commonSettings,
  defineMethod,
  equivalentRankSetting,
  type MethodConfig,
  pairTensors,
} from "./method-parts.ts";

const settings = {
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

/** Subset selection, as the head of this file describes it. */
export const subsetSelection = defineMethod<SubsetSelectionConfig>("subset-selection", settings, {
  summary: "Each layer picks its own vectors from the shared pools.",
  example: { rank: 3, equivalentRank: 2 },
  check(config, shapes) {
    const pairs = config.equivalentRank * shapes.layers;
    if (config.rank > pairs)
      throw new MosError(
        "bad_config",
        `rank ${config.rank} is more than the ${pairs} shared pairs of ${shapes.layers} layers × equivalent rank ${config.equivalentRank}; use a rank of at most ${pairs}`,
      );
  },
  tensors: ({ targets, rank, equivalentRank }, { layers, widths }) =>
    targets.flatMap((linear) => {
      const choice = { layers, rank, pairs: equivalentRank * layers };
      return [
        ...pairTensors({ layers, widths }, { linear, pairs: choice.pairs }),
        {
          name: `${linear}.I`,
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
    ({ layer, linear }) => {
      const { rank } = config;
      const chosen = view.indices(`${linear}.I`).slice(layer * rank, (layer + 1) * rank);
      return {
        a: gatherRows(view.value(`${linear}.A`), chosen),
        b: gatherRows(transpose(view.value(`${linear}.B`), [1, 0]), chosen),
        scale: alphaScale(config),
      };
    },
  routing: ({ targets, equivalentRank }, { layers }) =>
    targets.map((linear) => ({
      linear,
      side: "A and B",
      unit: "pair",
      table: `${linear}.I`,
      shared: equivalentRank * layers,
      private: 0,
    })),
  folder: {
    peftType: "SUBSET_SELECTION",
    settings: { alpha: "lora_alpha", equivalentRank: "equivalent_rank" },
  },
});
