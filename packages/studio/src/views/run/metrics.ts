// What a run measured, as far as this page keeps it: new rows are added, and of very many the outline stays.
import type { JsonOf } from "#api";
import { thinned } from "#chart";

/** Columns of measurements. */
export type Metrics = JsonOf<"/v1/runs/{id}/metrics">;

/** Rows that the page keeps at most. An hour on a fast run would otherwise fill its memory. */
export const MAX_ROWS = 24_000;

/** No measurements. */
export const NO_METRICS: Metrics = {
  object: "run.metrics",
  training: { step: [], loss: [], learning_rate: [], gradient_norm: [], tokens_per_second: [] },
  validation: { step: [], loss: [] },
  last_step: 0,
};

type Columns = { readonly step: readonly number[] } & Readonly<Record<string, readonly (number | null)[]>>;

/** Rows of steps behind those that are known. */
function append<C extends Columns>(known: C, fresh: C): C {
  const last = known.step.at(-1) ?? -1;
  const from = fresh.step.findIndex((step) => step > last);
  if (from < 0) return known;
  // an objective's own columns begin with its first measurement
  const rows = (column: readonly (number | null)[] | undefined, count: number) =>
    column ?? Array.from({ length: count }, () => null);
  const entries = Object.keys({ ...known, ...fresh }).map((name) => [
    name,
    [...rows(known[name], known.step.length), ...rows(fresh[name]?.slice(from), fresh.step.length - from)],
  ]);
  return limit(Object.fromEntries(entries) as C);
}

/** At most MAX_ROWS: of more, half as many that have the extremes of every column. */
function limit<C extends Columns>(columns: C): C {
  if (columns.step.length <= MAX_ROWS) return columns;
  const { step, ...others } = columns;
  const values = Object.values(others);
  const rows = thinned(step, values, Math.floor(MAX_ROWS / 2 / (2 * values.length + 1)));
  const entries = Object.entries(columns).map(([name, column]) => [
    name,
    rows.map((row) => column[row] ?? null),
  ]);
  return Object.fromEntries(entries) as C;
}

/** What held-out measurements have before the names of training's. */
const HELD_OUT = "eval_";

/** Columns of an objective's own, of training and held out, by the names that the data give them. */
export function ownCurves({ training, validation }: Metrics) {
  const own = (columns: Columns, usual: Columns): ReadonlyMap<string, Columns[string]> =>
    new Map(
      Object.entries(columns)
        .filter(([name]) => !(name in usual))
        .map(([name, column]) => [name.startsWith(HELD_OUT) ? name.slice(HELD_OUT.length) : name, column]),
    );
  const [learnt, heldOut] = [own(training, NO_METRICS.training), own(validation, NO_METRICS.validation)];
  return [...new Set([...learnt.keys(), ...heldOut.keys()])]
    .sort()
    .map((name) => ({ name, training: learnt.get(name), validation: heldOut.get(name) }));
}

/**
 * Adds what was measured since. `fresh` begins with the last known step: that step's evaluation may have come after it. A run
 * that went back, as one resumed from an earlier checkpoint does, has other measurements: undefined asks for all of them.
 */
export function merged(known: Metrics, fresh: Metrics): Metrics | undefined {
  if (fresh.last_step < known.last_step) return undefined;
  const training = append(known.training, fresh.training);
  const validation = append(known.validation, fresh.validation);
  // nothing new: what is drawn stays as it is
  if (training === known.training && validation === known.validation) return known;
  return { ...fresh, training, validation };
}
