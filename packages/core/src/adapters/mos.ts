// L layers · e equivalent rank · r rank · l shards per vector · p private rank · w shard width, d_in / l or d_out / l.
// Mixture of Shards (Wang et al., ICLR 2025): every vector of A and B is put together from l shards of pools that all
// layers share; the last p ranks of a layer come from shards that it owns. The routing is drawn once and never trained.

import { gatherRows, reshape, split, type Value } from "mixture-of-shards-graph";
import { z } from "zod";
import { flag, MosError, type Random, randomStream, setting } from "#common";
import { describePool, type Pool } from "#models";
import type { LayerShapes, TensorSpec } from "./method.ts";
import {
  allPools,
  alphaScale,
  alphaSetting,
  commonSettings,
  defineMethod,
  equivalentRankSetting,
  kaiming,
  type MethodConfig,
  shardCounts,
  trainable,
  zeros,
} from "./method-parts.ts";

const settings = {
  ...commonSettings,
  ...alphaSetting,
  ...equivalentRankSetting,
  shardsPerVector: setting(z.int().min(1).max(65_536), {
    default: 4,
    placeholder: "l",
    help: "shards per vector",
  }),
  privateRank: setting(z.int().min(0).max(4096), {
    default: 1,
    placeholder: "p",
    help: "ranks private to each layer, 0 to e",
  }),
  pairDissociation: flag({
    default: true,
    help: "route B with the same indices as A",
  }),
};
/** Settings of Mixture of Shards, defaults filled in. */
export type MosConfig = MethodConfig<
  "mos",
  typeof settings & typeof commonSettings & typeof alphaSetting & typeof equivalentRankSetting
>;

const invalid = (message: string): MosError => new MosError("bad_config", message);

/** Settings against each other. */
function checkSettings({ rank: r, equivalentRank: e, privateRank: p }: MosConfig): void {
  if (p > e)
    throw invalid(
      `private rank ${p} is more than the equivalent rank ${e}; a layer cannot own more than its budget. Use a private rank of 0 to ${e}`,
    );
  if (r < e)
    throw invalid(
      `rank ${r} is less than the equivalent rank ${e}; MoS assembles at least as many ranks as it has budget for. Use a rank of ${e} or more`,
    );
  if (p === e && r !== e)
    throw invalid(
      `private rank ${p} leaves nothing to share (equivalent rank ${e}), so rank ${r} cannot be filled; use rank ${e}, which is LoRA, or a private rank below ${e}`,
    );
}

/** The layers of each pool must share as many ranks as one of them uses. */
function checkPools(
  { rank: r, equivalentRank: e, privateRank: p, targets }: MosConfig,
  shapes: LayerShapes,
): void {
  for (const { name, layers } of allPools({ targets }, shapes)) {
    const count = layers.length;
    const shared = count * (e - p);
    if (r - p <= shared) continue;
    const few = count === shapes.layers ? "" : ` that have ${describePool(name)}`;
    const budget = few === "" ? "" : `, or an equivalent rank of at least ${p + Math.ceil((r - p) / count)}`;
    throw invalid(
      `rank ${r} needs ${r - p} shared ranks, but ${count} layers${few} × (equivalent rank ${e} − private rank ${p}) share only ${shared}; use a rank of at most ${shared + p}${budget}`,
    );
  }
}

/** l must cut every vector into equal shards. */
function checkShards({ shardsPerVector: l, targets }: MosConfig, shapes: LayerShapes): void {
  const pools = allPools({ targets }, shapes);
  const widths = pools.flatMap(({ name, in: width, out }) => [
    { name: describePool(name), side: "in", width },
    { name: describePool(name), side: "out", width: out },
  ]);
  const bad = widths.find(({ width }) => width % l !== 0);
  if (bad === undefined) return;
  const usable = shardCounts(pools);
  throw invalid(
    `${bad.name}: its d_${bad.side} of ${bad.width} does not split into ${l} shards; shards per vector can be ${usable.join(", ")} for these targets`,
  );
}

const poolLayout = (
  { rank: r, equivalentRank: e, privateRank: p, shardsPerVector: l }: MosConfig,
  layers: number,
) => ({
  /** Rows that all layers share come first. */
  shared: layers * (e - p) * l,
  rows: layers * e * l,
  /** (r−p)·l shared places of a layer, then its own ones. */
  places: r * l,
  own: p * l,
});

/** [L, r·l]: for each layer the head of a random permutation of the shared rows, then its own rows in order. */
function drawRouting(config: MosConfig, layers: number, random: Random): Int32Array {
  const { shared, places, own } = poolLayout(config, layers);
  const table = new Int32Array(layers * places);
  for (let k = 0; k < layers; k++) {
    table.set(random.permutation(shared).subarray(0, places - own), k * places);
    for (let i = 0; i < own; i++) table[(k + 1) * places - own + i] = shared + k * own + i;
  }
  return table;
}

/** A table from a file must route as `drawRouting` can: distinct shared rows, then exactly the layer's own. */
function routingFlaw(config: MosConfig, layers: number, table: Int32Array): string | undefined {
  const { shared, places, own } = poolLayout(config, layers);
  for (let k = 0; k < layers; k++) {
    const row = table.subarray(k * places, (k + 1) * places);
    const chosen = row.subarray(0, places - own);
    const outside = chosen.find((index) => index < 0 || index >= shared);
    if (outside !== undefined) return `layer ${k} uses shared shard ${outside}, but there are ${shared}`;
    if (new Set(chosen).size !== chosen.length) return `layer ${k} uses a shared shard twice`;
    const foreign = row.subarray(places - own).find((index, i) => index !== shared + k * own + i);
    if (foreign !== undefined) return `layer ${k} uses shard ${foreign} where its own should be`;
  }
  return undefined;
}

/** Without pair dissociation the tables of A and B are one. */
function pairFlaw(table: Int32Array, partner: Int32Array | Float32Array | undefined): string | undefined {
  const place = table.findIndex((index, i) => index !== partner?.[i]);
  return place < 0
    ? undefined
    : `entry ${place} is ${table[place]}, but A's table has ${partner?.[place]}, and pair_dissociation is false`;
}

function poolTensors(
  config: MosConfig,
  { name, in: width, out, layers: owners }: Pool,
): readonly TensorSpec[] {
  const layers = owners.length;
  const { rows, places } = poolLayout(config, layers);
  const l = config.shardsPerVector;
  const table = (side: "a" | "b"): TensorSpec => ({
    flaw: (data, before) =>
      routingFlaw(config, layers, data) ??
      (side === "a" || config.pairDissociation ? undefined : pairFlaw(data, before.get(`${name}.I_a`)?.data)),
    name: `${name}.I_${side}`,
    shape: [layers, places],
    role: "frozen",
    dtype: "int32",
    below: rows,
    // −pd: B is routed as A is, from the same stream
    initialize: (random) =>
      drawRouting(
        config,
        layers,
        side === "b" && !config.pairDissociation ? randomStream(config.seed, `${name}.I_a`) : random,
      ),
  });
  return [
    // the fan-in is that of the whole vector, not of a shard
    trainable(`${name}.A_pool`, [rows, width / l], kaiming((rows * width) / l, width)),
    trainable(`${name}.B_pool`, [rows, out / l], zeros((rows * out) / l)),
    table("a"),
    table("b"),
  ];
}

/** Mixture of Shards, as the head of this file describes it. */
export const mos = defineMethod<MosConfig>("mos", settings, {
  summary:
    "Mixture of Shards: layers assemble their factors from shared and private shards, for LoRA's quality at a fraction of its size.",
  example: { rank: 3, equivalentRank: 2, shardsPerVector: 2, privateRank: 1 },
  check(config, shapes) {
    checkSettings(config);
    checkShards(config, shapes);
    checkPools(config, shapes);
  },
  tensors: (config, shapes) => allPools(config, shapes).flatMap((pool) => poolTensors(config, pool)),
  factors(config, { view }) {
    const assembled = new Map<string, readonly Value[]>();
    /** The factor of every layer of a pool, gathered at once: row j is the join of its l shards. */
    const assemble = ({ name, layers: { length: layers } }: Pool, side: "A" | "B"): readonly Value[] => {
      const key = `${name}.${side}`;
      const found = assembled.get(key);
      if (found !== undefined) return found;
      const pool = view.value(`${key}_pool`);
      const width = (pool.shape[1] as number) * config.shardsPerVector;
      const shards = gatherRows(pool, view.indices(`${name}.I_${side === "A" ? "a" : "b"}`)); // [L·r·l, w]
      const joined = reshape(shards, [layers * config.rank, width]); //                            [L·r, d]
      const parts = split(joined, { axis: 0, sizes: Array.from({ length: layers }, () => config.rank) });
      assembled.set(key, parts);
      return parts;
    };
    return ({ pool, index }) => ({
      a: assemble(pool, "A")[index] as Value,
      b: assemble(pool, "B")[index] as Value,
      scale: alphaScale(config),
    });
  },
  routing: (config, shapes) =>
    allPools(config, shapes).flatMap(({ name, layers }) => {
      const { shared, rows } = poolLayout(config, layers.length);
      return (["A", "B"] as const).map((side) => ({
        linear: name,
        side,
        unit: "shard" as const,
        table: `${name}.I_${side.toLowerCase()}`,
        shared,
        private: rows - shared,
      }));
    }),
  folder: {
    peftType: "MOS",
    settings: {
      alpha: "lora_alpha",
      equivalentRank: "equivalent_rank",
      shardsPerVector: "shards_per_vector",
      privateRank: "private_rank",
      pairDissociation: "pair_dissociation",
    },
  },
});
