import { decimalOf } from "./decimal.ts";
import { isJsonObject } from "./documents.ts";
import { point } from "./numbers.ts";
import { ANY_ARRAY, ANY_OBJECT, EVERY_NAME, FALSE, NO_SHAPE, type Shape } from "./shapes.ts";
import type { Terms } from "./terms.ts";

/** The shape of one JSON value. */
export function valueShape(value: unknown, terms: Terms): Shape {
  if (value === null) return { ...NO_SHAPE, hasNull: true };
  if (typeof value === "boolean") return { ...NO_SHAPE, booleans: [value] };
  if (typeof value === "number" && Number.isFinite(value))
    return { ...NO_SHAPE, numbers: [point(decimalOf(value))] };
  if (typeof value === "string") return { ...NO_SHAPE, strings: { type: "values", values: [value] } };
  if (Array.isArray(value)) {
    const prefix = value.map((item) => terms.value(item));
    const { length } = value;
    return { ...NO_SHAPE, arrays: [{ ...ANY_ARRAY, prefix, rest: FALSE, min: length, max: length }] };
  }
  if (!isJsonObject(value)) return NO_SHAPE;
  const entries = Object.entries(value);
  const object = {
    ...ANY_OBJECT,
    properties: new Map(entries.map(([name, member]) => [name, terms.value(member)] as const)),
    regions: [{ names: EVERY_NAME, value: FALSE }],
    required: new Set(Object.keys(value)),
  };
  return { ...NO_SHAPE, objects: [object] };
}
