// Memory plans: the parts of a job's peak memory, and the refusal of a job that does not fit.

import { MosError } from "./error.ts";
import type { FreeMemory } from "./free-memory.ts";
import { describeBytes } from "./units.ts";

/** A part of what a job takes. */
interface MemoryPart {
  /** "base", "activations". */
  readonly name: string;
  readonly bytes: number;
}

/** Peak memory of a job. */
export interface MemoryPlan {
  readonly parts: readonly MemoryPart[];
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

/** A remedy in words, if its plan fits: "--base-dtype int4 (3.9 GB)". */
export const remedyText = (options: string, plan: MemoryPlan | undefined): readonly string[] =>
  plan === undefined ? [] : [`${options} (${describeBytes(plan.bytes)})`];

/** Share of what is free that a plan may take: the peak can be a little above the plan. */
const USABLE = 0.97;

/** Tests whether a plan fits in memory. Memory that the process has already is part of the plan. */
export const fitsMemory = ({ bytes }: MemoryPlan, free: FreeMemory): boolean =>
  bytes <= USABLE * (free.bytes + free.resident);

const LIMITS: Readonly<Record<FreeMemory["limit"], string>> = {
  machine: "",
  cgroup: " under this process's memory limit",
  option: " by --memory-limit",
};

/** Available memory, and the parts of the message for a plan that does not fit. */
interface AssertMemoryOptions {
  /** Subject of the message: "training llama-7b". */
  readonly what: string;
  readonly free: FreeMemory;
  /** Settings that would fit: "--base-dtype int4 (3.90 GB)". Called only if the plan does not fit. */
  readonly remedies: () => readonly string[];
}

/**
 * Checks that a plan fits in memory.
 *
 * @throws MosError "memory" with the parts of the plan, what is free, and what would fit.
 */
export function assertMemory(plan: MemoryPlan, { what, free, remedies }: AssertMemoryOptions): void {
  if (fitsMemory(plan, free)) return;
  const found = remedies();
  const total = free.bytes + free.resident;
  const reserve = plan.bytes <= total ? `, ${Math.round(100 * (1 - USABLE))} % of which are reserved` : "";
  throw new MosError(
    "memory",
    `${what} needs ${plan.isPartial === true ? "more than" : "about"} ${describeBytes(plan.bytes)} (${describePlan(plan)}), ` +
      `and ${describeBytes(total)} are free${LIMITS[free.limit]}${reserve}; ` +
      (found.length === 0 ? "no setting would fit here" : `what would fit: ${found.join(", or ")}`),
  );
}
