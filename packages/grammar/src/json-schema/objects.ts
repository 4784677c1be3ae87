import { not } from "#grammar";
import type { Budget, Place } from "./budget.ts";
import type { Languages } from "./languages.ts";
import {
  ANY_OBJECT,
  EVERY_NAME,
  type EvaluatedNames,
  FALSE,
  type ObjectShape,
  type Region,
  type Term,
  TRUE,
} from "./shapes.ts";
import { smaller } from "./strings.ts";
import type { Terms } from "./terms.ts";

/** What the algebra of objects works with. */
export interface ObjectContext {
  readonly terms: Terms;
  readonly languages: Languages;
  readonly budget: Budget;
  /** Whether a set of values is surely empty, without looking deeper than one schema. */
  readonly isSurelyEmpty: (term: Term) => boolean;
}

/** The values that a member of this name may have. */
export function memberValue(shape: ObjectShape, name: string, languages: Languages): Term {
  const declared = shape.properties.get(name);
  if (declared !== undefined) return declared;
  for (const { names, value } of shape.regions) if (languages.matches(names, name)) return value;
  return FALSE;
}

/** The objects of both shapes; undefined if there are surely none. */
export function intersectObjects(
  a: ObjectShape,
  b: ObjectShape,
  context: ObjectContext,
): ObjectShape | undefined {
  if (a === ANY_OBJECT || a === b) return b;
  if (b === ANY_OBJECT) return a;
  const { terms, languages, budget } = context;
  budget.spend(a.properties.size + b.properties.size + 1);
  const properties = new Map<string, Term>();
  for (const [name, value] of a.properties)
    properties.set(name, terms.and(value, memberValue(b, name, languages)));
  for (const [name, value] of b.properties)
    if (!properties.has(name)) properties.set(name, terms.and(memberValue(a, name, languages), value));
  return objectOf(
    {
      properties,
      regions: intersectRegions(a.regions, b.regions, context),
      required: b.required.size === 0 ? a.required : new Set([...a.required, ...b.required]),
      min: Math.max(a.min, b.min),
      max: smaller(a.max, b.max),
      witnesses: [...new Set([...a.witnesses, ...b.witnesses])],
      evaluated: mergeEvaluated(a.evaluated, b.evaluated),
    },
    context,
  );
}

function mergeEvaluated(a?: EvaluatedNames, b?: EvaluatedNames): EvaluatedNames | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return {
    all: a.all || b.all,
    names: new Set([...a.names, ...b.names]),
    languages: [...a.languages, ...b.languages],
  };
}

/** Regions of the names that two lists of regions tell apart. */
function intersectRegions(
  a: readonly Region[],
  b: readonly Region[],
  { terms, languages, budget }: ObjectContext,
): readonly Region[] {
  budget.spend(a.length * b.length);
  const regions: Region[] = [];
  for (const one of a)
    for (const other of b) {
      const names = languages.intersect(one.names, other.names);
      if (names !== undefined) regions.push({ names, value: terms.and(one.value, other.value) });
    }
  return regions;
}

/** Regions by which the names of a language have one value, and all others another. */
export const regionsOf = (names: Region["names"], value: Term, other: Term): readonly Region[] => [
  { names, value },
  { names: not(names), value: other },
];

/** The shape, or undefined if it has surely no objects. */
export function objectOf(shape: ObjectShape, context: ObjectContext): ObjectShape | undefined {
  const { required, max, witnesses } = shape;
  if (max !== null && (required.size > max || shape.min > max)) return undefined;
  for (const name of required)
    if (context.isSurelyEmpty(memberValue(shape, name, context.languages))) return undefined;
  if (witnesses.some((witness) => context.isSurelyEmpty(witness.value))) return undefined;
  const isClosed = shape.regions.every(({ value }) => value === FALSE);
  if (!isClosed) return shape;
  const possible = [...shape.properties.values()].filter((value) => value !== FALSE).length;
  return possible < shape.min ? undefined : shape;
}

/** All other objects, as shapes of which each breaks one of the rules. */
export function complementObject(
  shape: ObjectShape,
  context: ObjectContext,
  place: Place,
): readonly ObjectShape[] {
  const { terms, budget } = context;
  const { properties, regions, required, min, max, witnesses } = shape;
  budget.spend(properties.size + regions.length + required.size, place);
  const others: ObjectShape[] = [];
  const memberOf = (name: string, value: Term, isRequired: boolean): ObjectShape => ({
    ...ANY_OBJECT,
    properties: new Map([[name, value]]),
    required: isRequired ? new Set([name]) : ANY_OBJECT.required,
  });
  for (const [name, value] of properties)
    if (value !== TRUE) others.push(memberOf(name, terms.not(value, place), true));
  for (const name of required) others.push(memberOf(name, FALSE, false));
  if (min > 0) others.push({ ...ANY_OBJECT, max: min - 1 });
  if (max !== null) others.push({ ...ANY_OBJECT, min: max + 1 });
  for (const { names, value } of regions) {
    if (value === TRUE) continue;
    const undeclared = context.languages.without(names, [...properties.keys()]);
    const witness = { names: undeclared, value: terms.not(value, place) };
    others.push({ ...ANY_OBJECT, witnesses: [witness] });
  }
  for (const { names, value } of witnesses)
    others.push({
      ...ANY_OBJECT,
      regions:
        names === EVERY_NAME
          ? [{ names, value: terms.not(value, place) }]
          : regionsOf(names, terms.not(value, place), TRUE),
    });
  return others.map((other) => objectOf(other, context)).filter((other) => other !== undefined);
}
