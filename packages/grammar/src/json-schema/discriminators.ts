import type { ObjectShape, Shape } from "./shapes.ts";
import type { Signatures } from "./signatures.ts";

/** The values that required members may have, where they are few scalars, by name. */
type Discriminators = ReadonlyMap<string, ReadonlySet<unknown>>;

/** What tells the objects of a shape from others; undefined where it has other values, too. */
export function discriminatorsOf(shape: Shape, signatures: Signatures): Discriminators | undefined {
  const { hasNull, booleans, numbers, strings, arrays, objects } = shape;
  const isOther = hasNull || booleans.length + numbers.length + arrays.length > 0;
  if (isOther || strings.type !== "values" || strings.values.length > 0) return undefined;
  const [first, ...others] = objects.map((object) => valuesOf(object, signatures));
  return first && others.reduce(merge, first);
}

function valuesOf({ required, properties }: ObjectShape, signatures: Signatures): Discriminators {
  const known = new Map<string, ReadonlySet<unknown>>();
  for (const name of required) {
    const value = properties.get(name);
    const values = value === undefined ? undefined : signatures.valuesOf(value);
    if (values !== undefined) known.set(name, values);
  }
  return known;
}

/** What tells the objects of both shapes from others. */
function merge(a: Discriminators, b: Discriminators): Discriminators {
  const both = new Map<string, ReadonlySet<unknown>>();
  for (const [name, values] of a) {
    const more = b.get(name);
    if (more !== undefined) both.set(name, new Set([...values, ...more]));
  }
  return both;
}

/** Whether no object belongs to both, as some member that both demand has no value in common. */
export function exclude(a: Discriminators | undefined, b: Discriminators | undefined): boolean {
  if (a === undefined || b === undefined) return false;
  for (const [name, values] of a) {
    const others = b.get(name);
    if (others !== undefined && ![...values].some((value) => others.has(value))) return true;
  }
  return false;
}
