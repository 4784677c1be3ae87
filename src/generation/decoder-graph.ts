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
  softmax,
  splitDynamic,
  type Value,
} from "#graph";
import { type AttentionHook, type LlamaConfig, llama, llamaHead, ropeFrequencies } from "#models";
import { type LinearHook, rotationTables, type Site, withBias } from "#nn";

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

/** New keys and values of all layers, collected while the graph is built. */
interface Fresh {
  readonly keys: Value[];
  readonly values: Value[];
}

/**
 * Attention over the cache and over the new tokens, whose scores meet only in the softmax: the cache is read where it
 * lies and never copied.
 */
function cachedAttention(
  { heads, keyValueHeads: K, headDim: D }: LlamaConfig,
  { rows, fresh }: { readonly rows: number; readonly fresh: Fresh },
): AttentionHook {
  const pastMask = leaf("past_mask", [rows, 1, 1, "past"]);
  const newMask = leaf("new_mask", [rows, 1, "grouped", "tokens"]);
  const sizes = leaf("key_counts", [2], "int64");
  return ({ q, k, v, layer }) => {
    fresh.keys.push(k);
    fresh.values.push(v);
    const pastK = leaf(`past.${layer}.k`, [rows, K, "past", D]);
    const pastV = leaf(`past.${layer}.v`, [rows, K, "past", D]);
    const grouped = reshape(q, [rows, K, "grouped", D]); // [B, K, G·S, D]
    const scores = (keys: Value, mask: Value): Value =>
      add(matmul(grouped, keys, { transposeB: true, alpha: 1 / Math.sqrt(D) }), mask);
    const p = softmax(concat([scores(pastK, pastMask), scores(k, newMask)], 3)); // [B, K, G·S, M + S]
    const [onPast, onNew] = splitDynamic(p, sizes, ["past", "tokens"]) as readonly [Value, Value];
    return reshape(add(matmul(onPast, pastV), matmul(onNew, v)), [rows, heads, "tokens", D]);
  };
}

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
