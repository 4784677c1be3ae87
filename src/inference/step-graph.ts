// R rows · S new tokens of each · L layers · K key heads · D head width

import { add, concat, type Dim, embed, leaf, matmul, reshape, split, type Value } from "#graph";
import { llama, llamaHead, ropeFrequencies, weightLeaves } from "#models";
import { type LinearHook, rotationTables, withBias } from "#nn";
import type { BaseWeights } from "./base-weights.ts";
import { cachedAttention, type Fresh } from "./cached-attention.ts";
import { GROUPS, type GroupSite, groupKey, groupOfSite } from "./groups.ts";

export interface StepGraphOptions {
  /** Positions that can occur. */
  readonly positions: number;
  /** Whether rows have adapter slots. */
  readonly slots: boolean;
}

/** The leaves of a group's slots: A [R, parts · r, in] and scale · Bᵀ [R, parts · r, out], block by block of the parts. */
export const slotNames = (site: GroupSite): { readonly a: string; readonly b: string } => ({
  a: `slot.${groupKey(site)}.a`,
  b: `slot.${groupKey(site)}.b`,
});

/** x [R, S, in] times a group's matrix, each row with the factors of its own slot. */
export function groupProduct(x: Value, site: GroupSite, { weights, slots }: GroupOptions): Value {
  const y = weights.product(site)(x); // [R, S, Σ out]
  if (!slots) return y;
  const { in: width, out } = weights.widths[site.group];
  const names = slotNames(site);
  const rank: Dim = `rank.${site.group}`;
  const a = leaf(names.a, ["rows", rank, width]);
  const b = leaf(names.b, ["rows", rank, out]);
  return add(y, matmul(matmul(x, a, { transposeB: true }), b));
}

export interface GroupOptions {
  readonly weights: BaseWeights;
  readonly slots: boolean;
}

/** The model asks for one linear layer after the other; those of a group are computed with the first of them. */
function groupedLinear(options: GroupOptions): LinearHook {
  const parts = new Map<string, readonly Value[]>();
  return (x, site, { bias }) => {
    const group = groupOfSite(site);
    const key = groupKey(group);
    const members = GROUPS[group.group];
    if (site.linear === members[0])
      parts.set(
        key,
        split(groupProduct(x, group, options), { axis: 2, sizes: options.weights.widths[group.group].outs }),
      );
    const part = parts.get(key)?.[members.indexOf(site.linear)] as Value;
    return withBias(part, bias);
  };
}

/**
 * The program of a step: `logits` [wanted, V] at the flat places `wanted` of [R, S], and `fresh` [R, 2·L·K, S, D], the
 * rotated keys of all layers and then their values, for the host to write into its cache.
 */
export function stepGraph(
  weights: BaseWeights,
  { positions, slots }: StepGraphOptions,
): Readonly<Record<string, Value>> {
  const { config } = weights;
  const fresh: Fresh = { keys: [], values: [] };
  const grid: readonly Dim[] = ["rows", "tokens"];
  // linear layers come from the groups, so their own leaves are reached by nothing
  const values = new Map([...weightLeaves(config), ...weights.values]);
  const hidden = llama(config, {
    ids: leaf("ids", grid, "int32"),
    positions: leaf("positions", grid, "int64"),
    layout: grid,
    rotation: rotationTables({ frequencies: ropeFrequencies(config), positions }),
    weights: values,
    linear: groupedLinear({ weights, slots }),
    attend: cachedAttention(config, { rows: "rows", fresh }),
  });
  const { norm } = llamaHead(config, values);
  const wanted = embed(reshape(hidden, ["places", config.hiddenSize]), leaf("wanted", ["wanted"], "int32"));
  return { logits: weights.head(norm(wanted)), fresh: concat([...fresh.keys, ...fresh.values], 1) };
}
