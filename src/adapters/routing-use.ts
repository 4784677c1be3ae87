import type { Adapter } from "./create.ts";
import type { RoutingTable } from "./method.ts";
import { methodOf } from "./methods.ts";

/** How often the rows of one pool are used. */
export interface RoutingUse extends Omit<RoutingTable, "table"> {
  /** Entry n: how many of the shared rows are used n times, over all layers. The last entry is not 0. */
  readonly usedTimes: readonly number[];
  /** Uses of a shared row on average. */
  readonly meanUses: number;
  /** The shared row that is used most, the first one of equals. */
  readonly mostUsed: { readonly row: number; readonly times: number };
  /** Private rows as a share of the pool. */
  readonly privateShare: number;
}

function useOf({ table, ...routing }: RoutingTable, { tensors }: Adapter): RoutingUse {
  const uses = new Int32Array(routing.shared);
  for (const row of tensors.get(table)?.data ?? [])
    if (row < routing.shared) uses[row] = (uses[row] ?? 0) + 1;
  const times = uses.reduce((most, count) => Math.max(most, count), 0);
  const usedTimes = Array.from({ length: times + 1 }, () => 0);
  for (const count of uses) usedTimes[count] = (usedTimes[count] ?? 0) + 1;
  return {
    ...routing,
    usedTimes,
    meanUses: routing.shared === 0 ? 0 : uses.reduce((sum, count) => sum + count, 0) / routing.shared,
    mostUsed: { row: Math.max(0, uses.indexOf(times)), times },
    privateShare: routing.private / (routing.shared + routing.private),
  };
}

/** The use of every pool of a method that routes; none for the others. */
export const routingUse = (adapter: Adapter): readonly RoutingUse[] =>
  methodOf(adapter.config)
    .routing(adapter.geometry)
    .map((table) => useOf(table, adapter));
