// r rank · u unshared rank · m chunks · w chunk width, ⌈d / m⌉. PRoLoRA (Wang et al., 2024): of a layer's r ranks the
// first u are as in LoRA; the others are m copies of one chunk side by side, copy c rotated by c along the ranks.

import { concat, gatherRows, reshape, slice, transpose, type Value } from "mixture-of-shards-graph";
import { z } from "zod";
import { MosError, setting } from "#common";
import type { Pool } from "#models";
import type { TensorSpec } from "./method.ts";
import {
  allPools,
  alphaScale,
  alphaSetting,
  commonSettings,
  defineMethod,
  kaiming,
  type MethodConfig,
  rankSetting,
  trainable,
  zeros,
} from "./method-parts.ts";

const settings = {
  ...commonSettings,
  ...alphaSetting,
  rank: rankSetting({ standard: 4 }),
  unsharedRank: setting(z.int().min(0).max(4096), {
    default: 1,
    placeholder: "u",
    help: "unshared ranks, 0 to r",
  }),
  chunks: setting(z.int().min(1).max(65_536), {
    default: 3,
    placeholder: "m",
    help: "copies of the shared chunk along the feature dimension",
  }),
};
/** Settings of PRoLoRA, defaults filled in. */
export type ProloraConfig = MethodConfig<
  "prolora",
  typeof settings & Omit<typeof commonSettings, "rank"> & typeof alphaSetting
>;

/** The tensors of a module. A part without ranks has none. */
function moduleTensors(
  { rank, unsharedRank: u, chunks }: ProloraConfig,
  { linear, in: width, out }: Pool,
  layer: number,
): readonly TensorSpec[] {
  const shared = rank - u;
  const [chunkIn, chunkOut] = [Math.ceil(width / chunks), Math.ceil(out / chunks)];
  const name = (part: string): string => `${linear}.${layer}.${part}`;
  const unshared = [
    trainable(name("A_unshared"), [u, width], kaiming(u * width, width)),
    trainable(name("B_unshared"), [out, u], zeros(out * u)),
  ];
  // the fan-in is that of the whole row, as it is used
  const chunk = [
    trainable(name("A_chunk"), [shared, chunkIn], kaiming(shared * chunkIn, width)),
    trainable(name("B_chunk"), [chunkOut, shared], zeros(chunkOut * shared)),
  ];
  return [...(u > 0 ? unshared : []), ...(shared > 0 ? chunk : [])];
}

/** Row j of the result joins rows j, j + 1, …, j + m − 1 of the chunk [s, w] around its end, cut to the width: [s, d]. */
function copies(chunk: Value, { chunks, width }: { readonly chunks: number; readonly width: number }): Value {
  const [shared, chunkWidth] = chunk.shape as readonly [number, number];
  const rows = Int32Array.from(
    { length: shared * chunks },
    (_, place) => (Math.floor(place / chunks) + (place % chunks)) % shared,
  );
  const joined = reshape(gatherRows(chunk, rows), [shared, chunks * chunkWidth]);
  return slice(joined, { axis: 1, from: 0, to: width });
}

/** PRoLoRA, as the head of this file describes it. */
export const prolora = defineMethod<ProloraConfig>("prolora", settings, {
  summary: "Factors made of one chunk that is repeated and rotated, with a few ranks unshared.",
  example: { rank: 4, unsharedRank: 1, chunks: 2 },
  check(config, shapes) {
    const { rank, unsharedRank, chunks } = config;
    if (unsharedRank > rank)
      throw new MosError(
        "bad_config",
        `unshared rank ${unsharedRank} is more than the rank ${rank}; use an unshared rank of 0 to ${rank}`,
      );
    for (const { name, in: into, out } of allPools(config, shapes))
      for (const width of [into, out])
        if (chunks > width)
          throw new MosError(
            "bad_config",
            `${chunks} chunks are more than the width ${width} of ${name}; use at most ${width}`,
          );
  },
  tensors: (config, shapes) =>
    allPools(config, shapes).flatMap((pool) =>
      pool.layers.flatMap((layer) => moduleTensors(config, pool, layer)),
    ),
  factors:
    (config, { view }) =>
    ({ layer, pool: { linear, in: width, out } }) => {
      const { rank, unsharedRank: u, chunks } = config;
      const part = (name: string): Value => view.value(`${linear}.${layer}.${name}`);
      const turned = (name: string): Value => transpose(part(name), [1, 0]);
      const a = u > 0 ? [part("A_unshared")] : [];
      const b = u > 0 ? [turned("B_unshared")] : [];
      if (u < rank) {
        a.push(copies(part("A_chunk"), { chunks, width }));
        b.push(copies(turned("B_chunk"), { chunks, width: out }));
      }
      return { a: concat(a, 0), b: concat(b, 0), scale: alphaScale(config) };
    },
  folder: {
    peftType: "PROLORA",
    settings: { alpha: "lora_alpha", unsharedRank: "unshared_rank", chunks: "chunks" },
  },
});
