// Which runs the reader wants to see.
import type { Run } from "#api";

/** What is asked for. Words stand anywhere in a run's name, base, method, tenant or id. */
export interface RunFilter {
  readonly text: string;
  /** A status, or "" for any. */
  readonly status: string;
}

/** Nothing is left out. */
export const NO_FILTER: RunFilter = { text: "", status: "" };

const textOf = ({ name, model, method, tenant, id }: Run): string =>
  [name, model, method, tenant, id].join("\n").toLowerCase();

/** Runs that fit, as they come. */
export function filterRuns(runs: readonly Run[], { text, status }: RunFilter): readonly Run[] {
  const words = text
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== "");
  if (words.length === 0 && status === "") return runs;
  return runs.filter((run) => {
    if (status !== "" && run.status !== status) return false;
    const all = textOf(run);
    return words.every((word) => all.includes(word));
  });
}

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
