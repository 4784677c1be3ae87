// What is computed of runs: which are wanted, where their settings differ, how long they took.
import type { Run } from "#api";
import { formatValue, hasWords, labelOf, nowInSeconds } from "#core";

/** Seconds from its start to its end, or to now. */
export function durationOf({ status, created_at, finished_at }: Run, now = nowInSeconds()): number | null {
  if (finished_at !== null) return Math.max(0, finished_at - created_at);
  return status === "running" ? Math.max(0, now - created_at) : null;
}

/** Nothing is left out. */
export const NO_FILTER = { text: "", status: "" };

/** Runs that fit, as they come. Words stand anywhere in a run's name, base, method, tenant or id; a status "" is any. */
export const filterRuns = (runs: readonly Run[], { text, status }: typeof NO_FILTER): readonly Run[] =>
  runs.filter(
    ({ name, model, method, tenant, id, ...run }) =>
      (status === "" || run.status === status) && hasWords(text, [name, model, method, tenant, id]),
  );

const countBy = <T>(items: readonly T[], key: (item: T) => string): ReadonlyMap<string, number> => {
  const counts = new Map<string, number>();
  for (const item of items) counts.set(key(item), (counts.get(key(item)) ?? 0) + 1);
  return counts;
};

const ORDER = ["running", "queued", "paused", "succeeded", "failed", "cancelled", "interrupted"];

/** The statuses that there are, with how many runs have each; what runs comes first. */
export function countStatuses(runs: readonly Run[]): readonly (readonly [status: string, count: number])[] {
  const counts = countBy(runs, ({ status }) => status);
  return ORDER.flatMap((status) => {
    const count = counts.get(status);
    return count === undefined ? [] : [[status, count] as const];
  });
}

/** The settings that any of the runs has, in the order in which they have them, and whether not all have the same value. */
export function compareSettings(runs: readonly Run[]) {
  // base, method and tenant are settings to who compares
  const all: readonly Run["settings"][] = runs.map(({ model, method, tenant, settings }) => ({
    model,
    method,
    tenant,
    ...settings,
  }));
  const names = new Set(all.flatMap((settings) => Object.keys(settings)));
  return [...names].map((name) => {
    const values = all.map((settings) =>
      formatValue(Object.hasOwn(settings, name) ? settings[name] : undefined),
    );
    return { name: labelOf(name), values, isDifferent: values.some((value) => value !== values[0]) };
  });
}

/** Names of runs that tell them apart: one that several have is followed by the end of its id. */
export function distinctNames(runs: readonly Pick<Run, "id" | "name">[]): readonly string[] {
  const counts = countBy(runs, ({ name }) => name);
  return runs.map(({ id, name }) => ((counts.get(name) ?? 0) > 1 ? `${name} (${id.slice(-6)})` : name));
}
