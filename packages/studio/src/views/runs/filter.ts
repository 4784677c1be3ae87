// Which runs the reader wants to see.
import type { Run } from "#api";
import { hasWords } from "#core";

/** What is asked for. Words stand anywhere in a run's name, base, method, tenant or id. */
export interface RunFilter {
  readonly text: string;
  /** A status, or "" for any. */
  readonly status: string;
}

/** Nothing is left out. */
export const NO_FILTER: RunFilter = { text: "", status: "" };

/** Runs that fit, as they come. */
export const filterRuns = (runs: readonly Run[], { text, status }: RunFilter): readonly Run[] =>
  runs.filter(
    ({ name, model, method, tenant, id, ...run }) =>
      (status === "" || run.status === status) && hasWords(text, [name, model, method, tenant, id]),
  );

/** The statuses that there are, with how many runs have each; what runs comes first. */
export function countStatuses(runs: readonly Run[]): readonly (readonly [status: string, count: number])[] {
  const counts = new Map<string, number>();
  for (const { status } of runs) counts.set(status, (counts.get(status) ?? 0) + 1);
  return ORDER.flatMap((status) => {
    const count = counts.get(status);
    return count === undefined ? [] : [[status, count] as const];
  });
}

const ORDER: readonly Run["status"][] = [
  "running",
  "queued",
  "paused",
  "succeeded",
  "failed",
  "cancelled",
  "interrupted",
];
