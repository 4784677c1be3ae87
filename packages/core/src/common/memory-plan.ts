// Memory plans: the parts of a job's peak memory, and the refusal of a job that does not fit.

import { MosError } from "mixture-of-shards-graph/common";
import type { FreeMemory } from "./free-memory.ts";
import { snakeCase } from "./settings.ts";
import { describeBytes } from "./units.ts";

/** Peak memory of a job. */
export interface MemoryPlan {
  readonly parts: readonly { readonly name: string; readonly bytes: number }[];
  /** Their sum. */
  readonly bytes: number;
  /** True if parts are missing, because those listed do not fit by themselves. */
  readonly isPartial?: boolean;
}

/** A plan of the parts that take anything. */
export function memoryPlan(parts: Readonly<Record<string, number>>): MemoryPlan {
  const entries = Object.entries(parts).filter(([, bytes]) => bytes > 0);
  return {
    parts: entries.map(([name, bytes]) => ({ name, bytes })),
    bytes: entries.reduce((sum, [, bytes]) => sum + bytes, 0),
  };
}

/** "base 3.90 GB, activations 1.20 GB". */
export const describePlan = ({ parts }: MemoryPlan): string =>
  parts.map(({ name, bytes }) => `${name} ${describeBytes(bytes)}`).join(", ");

/** Share of what is free that a plan may take: the peak can be a little above the plan. */
const USABLE = 0.97;

/** Bytes that a plan may take. Memory that the process has already is part of it. */
export const usableMemory = ({ bytes, resident }: FreeMemory): number => USABLE * (bytes + resident);

/** Tests whether a plan fits in memory. */
export const fitsMemory = ({ bytes }: MemoryPlan, free: FreeMemory): boolean => bytes <= usableMemory(free);

const LIMITS: Readonly<Record<FreeMemory["limit"], string>> = {
  machine: "",
  cgroup: " under this process's memory limit",
  option: " by --memory-limit",
};

/** The first way whose plan fits, or else the one that takes least. */
export function chooseWay<Way extends object>(
  ways: readonly Way[],
  planOf: (way: Way) => MemoryPlan,
  free?: FreeMemory,
): Way & { readonly plan: MemoryPlan } {
  let least: (Way & { readonly plan: MemoryPlan }) | undefined;
  for (const way of ways) {
    const found = { ...way, plan: planOf(way) };
    if (free === undefined || fitsMemory(found.plan, free)) return found;
    if (least === undefined || found.plan.bytes < least.plan.bytes) least = found;
  }
  if (least === undefined) throw new MosError("bad_config", "there is nothing to plan");
  return least;
}

/** Settings that could make a job fit. */
interface Remedies<Change> {
  /** Lists of changes of one kind, each of which takes less than the one before. */
  readonly changes: readonly (readonly Change[])[];
  /** Throws MosError "unsupported" for a change that is impossible. */
  readonly planOf: (change: Change) => MemoryPlan;
  readonly free: FreeMemory;
}

/** The first change of each list that fits; or else the first of the last list that fits together with all others at their least. */
function findRemedies<Change extends object>({ changes, planOf, free }: Remedies<Change>): readonly string[] {
  const impossible = new Set<Change>();
  const fitting = (change: Change): string | undefined => {
    try {
      const plan = planOf(change);
      return fitsMemory(plan, free) ? `${flags(change)} (${describeBytes(plan.bytes)})` : undefined;
    } catch (error) {
      if (!(error instanceof MosError && error.code === "unsupported")) throw error;
      impossible.add(change);
      return undefined;
    }
  };
  const first = (list: readonly Change[]): readonly string[] => {
    for (const change of list) {
      const found = fitting(change);
      if (found !== undefined) return [found];
    }
    return [];
  };
  const alone = changes.flatMap(first);
  if (alone.length > 0) return alone;
  const possible = changes.map((list) => list.filter((change) => !impossible.has(change)));
  const others: Change = Object.assign({}, ...possible.slice(0, -1).map((list) => list.at(-1)));
  return first([others, ...(possible.at(-1) ?? []).map((change) => ({ ...others, ...change }))]);
}

/** "--base-dtype int4 --max-length 512". */
const flags = (change: object): string =>
  Object.entries(change)
    .map(([name, value]) => {
      const flag = `--${snakeCase(name).replaceAll("_", "-")}`;
      return value === undefined ? `no ${flag}` : `${flag} ${value}`;
    })
    .join(" ");

/**
 * Checks that a plan fits in memory.
 *
 * @param job `what` is the subject of the message: "training llama-7b".
 * @throws MosError "memory" with the parts of the plan, what is free, and what would fit.
 */
export function assertMemory<Change extends object>(
  plan: MemoryPlan,
  { what, ...job }: Remedies<Change> & { readonly what: string },
): void {
  const { free } = job;
  if (fitsMemory(plan, free)) return;
  const found = findRemedies(job);
  const total = free.bytes + free.resident;
  const reserve = plan.bytes <= total ? `, ${Math.round(100 * (1 - USABLE))} % of which are reserved` : "";
  throw new MosError(
    "memory",
    `${what} needs ${plan.isPartial === true ? "more than" : "about"} ${describeBytes(plan.bytes)} (${describePlan(plan)}), ` +
      `and ${describeBytes(total)} are free${LIMITS[free.limit]}${reserve}; ` +
      (found.length === 0 ? "no setting would fit here" : `what would fit: ${found.join(", or ")}`),
  );
}
