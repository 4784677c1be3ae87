// What a run measured, as far as this page keeps it: new rows are added, and a part that is looked at closely has rows of its own.
import type { JsonOf } from "#api";
import type { Range } from "#chart";

/** Columns of measurements. */
export type Metrics = JsonOf<"/v1/runs/{id}/metrics">;

/** Rows that the page keeps at most, twice as many as the server gives: an hour on a fast run would otherwise fill its memory. */
export const MAX_ROWS = 4000;

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
  return Object.fromEntries(entries) as C;
}

/** Rows before a step. */
function before<C extends Columns>(columns: C, step: number): C {
  const end = columns.step.findIndex((at) => at >= step);
  if (end < 0) return columns;
  const entries = Object.entries(columns).map(([name, column]) => [name, column.slice(0, end)]);
  return Object.fromEntries(entries) as C;
}

/** The measurements with those of a part of the steps in place of fewer rows. */
export function withDetail(known: Metrics, detail: Metrics, { min }: Range): Metrics {
  const joined = <C extends Columns>(all: C, part: C): C => append(append(before(all, min), part), all);
  return {
    ...known,
    training: joined(known.training, detail.training),
    validation: joined(known.validation, detail.validation),
  };
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
 * that went back, as one resumed from an earlier checkpoint does, has other measurements: undefined asks for all of them, as it
 * does for too many rows.
 */
export function merged(known: Metrics, fresh: Metrics): Metrics | undefined {
  if (fresh.last_step < known.last_step) return undefined;
  const training = append(known.training, fresh.training);
  const validation = append(known.validation, fresh.validation);
  if (Math.max(training.step.length, validation.step.length) > MAX_ROWS) return undefined;
  // nothing new: what is drawn stays as it is
  if (training === known.training && validation === known.validation) return known;
  return { ...fresh, training, validation };
}
