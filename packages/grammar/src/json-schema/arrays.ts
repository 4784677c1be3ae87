import type { Budget, Place } from "./budget.ts";
import { cannotNegate } from "./schema-errors.ts";
import {
  ANY_ARRAY,
  type ArrayShape,
  type Contained,
  type EvaluatedItems,
  FALSE,
  type Term,
  TRUE,
} from "./shapes.ts";
import { smaller } from "./strings.ts";
import type { Terms } from "./terms.ts";

/** Indices that a shape of arrays describes one by one. */
const MAX_PREFIX = 10_000;

export const itemAt = (shape: ArrayShape, index: number): Term => shape.prefix[index] ?? shape.rest;

/** The arrays of both shapes; undefined if there are surely none. */
export function intersectArrays(a: ArrayShape, b: ArrayShape, terms: Terms): ArrayShape | undefined {
  const length = Math.max(a.prefix.length, b.prefix.length);
  return arrayOf({
    prefix: Array.from({ length }, (_, index) => terms.and(itemAt(a, index), itemAt(b, index))),
    rest: terms.and(a.rest, b.rest),
    min: Math.max(a.min, b.min),
    max: smaller(a.max, b.max),
    contains: [...new Set([...a.contains, ...b.contains])],
    isUnique: a.isUnique || b.isUnique,
    evaluated: mergeEvaluated(a.evaluated, b.evaluated),
  });
}

function mergeEvaluated(a?: EvaluatedItems, b?: EvaluatedItems): EvaluatedItems | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return { count: Math.max(a.count, b.count), values: [...new Set([...a.values, ...b.values])] };
}

/** The shape without what has no effect; undefined if it has surely no arrays. */
export function arrayOf(shape: ArrayShape): ArrayShape | undefined {
  const { contains } = shape;
  if (contains.some(({ value, min }) => value === FALSE && min > 0)) return undefined;
  const all = contains.filter(({ value }) => value === TRUE);
  const min = Math.max(shape.min, ...all.map((one) => (one.min === 0 ? 0 : one.from + one.min)));
  const max = leastMax(shape, all);
  if (max !== null && min > max) return undefined;
  return {
    ...shape,
    prefix: max === null ? shape.prefix : shape.prefix.slice(0, max),
    rest: max !== null && max <= shape.prefix.length ? FALSE : shape.rest,
    min,
    max,
    contains: contains.filter((one) => one.value !== TRUE && one.value !== FALSE && isRestrictive(one)),
    isUnique: shape.isUnique && (max === null || max > 1),
  };
}

const isRestrictive = ({ min, max }: Contained): boolean => min > 0 || max !== null;

/** The maximum of items, also by those that allow no value and by `contains` of any item. */
function leastMax({ prefix, rest, max }: ArrayShape, all: readonly Contained[]): number | null {
  const end = prefix.indexOf(FALSE);
  const ends = [
    max,
    end < 0 ? null : end,
    rest === FALSE ? prefix.length : null,
    ...all.map((one) => (one.max === null ? null : one.from + one.max)),
  ];
  return ends.reduce(smaller);
}

/** All other arrays, as shapes of which each breaks one of the rules. */
export function complementArray(
  shape: ArrayShape,
  { terms, budget, place }: { terms: Terms; budget: Budget; place: Place },
): readonly ArrayShape[] {
  if (shape.isUnique) throw cannotNegate("uniqueItems", place);
  const { prefix, rest, min, max } = shape;
  if (prefix.length > MAX_PREFIX) throw cannotNegate("prefixItems", place);
  budget.spend(prefix.length, place);
  const any = (count: number): readonly Term[] => Array.from({ length: count }, () => TRUE);
  const others: ArrayShape[] = [];
  if (min > 0) others.push({ ...ANY_ARRAY, max: min - 1 });
  if (max !== null) others.push({ ...ANY_ARRAY, min: max + 1 });
  for (const [index, item] of prefix.entries()) {
    if (item === TRUE) continue;
    others.push({ ...ANY_ARRAY, prefix: [...any(index), terms.not(item, place)], min: index + 1 });
  }
  const hasRest = max === null || max > prefix.length;
  if (hasRest && rest !== TRUE) {
    const witness = { from: prefix.length, value: terms.not(rest, place), min: 1, max: null };
    others.push({ ...ANY_ARRAY, contains: [witness] });
  }
  for (const one of shape.contains) {
    if (one.min > 0) others.push({ ...ANY_ARRAY, contains: [{ ...one, min: 0, max: one.min - 1 }] });
    if (one.max !== null) others.push({ ...ANY_ARRAY, contains: [{ ...one, min: one.max + 1, max: null }] });
  }
  return others.map(arrayOf).filter((other) => other !== undefined);
}
