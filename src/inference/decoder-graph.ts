// B rows · S new tokens · N = B · S · M places of the cache · H query heads · K key heads · G = H / K · D head width
import {
  add,
  concat,
  type Dim,
  embed,
  leaf,
  linear,
  lowRankLinear,
  matmul,
  reshape,
  type Value,
} from "#graph";
import { type LlamaConfig, llama, llamaHead, ropeFrequencies } from "#models";
import { type LinearHook, rotationTables, type Site, withBias } from "#nn";
import { cachedAttention, type Fresh } from "./cached-attention.ts";

export interface DecoderGraphOptions {
  readonly weights: ReadonlyMap<string, Value>;
  /** B */
  readonly rows: number;
  /** Positions that can occur. */
  readonly positions: number;
  /** The rank of the adapter slots; 0 builds a graph without adapters. */
  readonly slotRank: number;
  /** Whether a linear layer has a slot. */
  readonly adapted: (site: Site) => boolean;
}

/**
 * The leaves of a slot: factors A [B, r, in] and scale · Bᵀ [B, r, out] of every row's own adapter; with one row only
 * [r, in] and [r, out].
 */
export const slotNames = ({ layer, linear: name }: Site): { readonly a: string; readonly b: string } => ({
  a: `slot.${layer}.${name}.a`,
  b: `slot.${layer}.${name}.b`,
});

/** y = x Wᵀ + (x Aᵀ) B for x [B, S, in], every row with its own factors; of one row x is [S, in]. */
const slotLinear =
  ({ rows, slotRank, adapted }: DecoderGraphOptions): LinearHook =>
  (x, site, { weight, bias }) => {
    if (slotRank === 0 || !adapted(site)) return withBias(linear(x, weight), bias);
    const [out, width] = weight.shape as readonly [number, number];
    const names = slotNames(site);
    const batch = rows === 1 ? [] : [rows];
    const a = leaf(names.a, [...batch, slotRank, width]);
    const b = leaf(names.b, [...batch, slotRank, out]);
    // plain matrices need one operator less
    if (rows === 1) return withBias(lowRankLinear(x, weight, { a, b, scale: 1 }), bias);
    const branch = matmul(matmul(x, a, { transposeB: true }), b); // [B, S, out]
    return withBias(add(linear(x, weight), branch), bias);
  };

/**
 * The program of one decoding step: `logits` [wanted, V] at the flat places `wanted`, and `fresh` [B, 2·L·K, S, D], the
 * rotated keys of all layers and then their values, for the host to write into its cache.
 */
export function decoderGraph(
  config: LlamaConfig,
  options: DecoderGraphOptions,
): Readonly<Record<string, Value>> {
  const fresh: Fresh = { keys: [], values: [] };
  const { rows } = options;
  const grid: readonly Dim[] = [rows, "tokens"];
  const hidden = llama(config, {
    ids: leaf("ids", grid, "int32"),
    positions: leaf("positions", grid, "int64"),
    layout: rows === 1 ? ["tokens"] : grid,
    rotation: rotationTables({ frequencies: ropeFrequencies(config), positions: options.positions }),
    weights: options.weights,
    linear: slotLinear(options),
    attend: cachedAttention(config, { rows, fresh }),
  });
  const { norm, head } = llamaHead(config, options.weights);
  const wanted = embed(reshape(hidden, ["places", config.hiddenSize]), leaf("wanted", ["wanted"], "int32"));
  return { logits: linear(norm(wanted), head), fresh: concat([...fresh.keys, ...fresh.values], 1) };
}
