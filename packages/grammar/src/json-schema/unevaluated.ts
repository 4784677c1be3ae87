import { either } from "#grammar";
import { intersectArrays } from "./arrays.ts";
import type { Place } from "./budget.ts";
import type { Fields } from "./fields.ts";
import { intersectObjects, type ObjectContext, regionsOf } from "./objects.ts";
import type { SchemaReader } from "./reader.ts";
import { unsupported } from "./schema-errors.ts";
import type { ShapeAlgebra } from "./shape-algebra.ts";
import {
  ANY_ARRAY,
  ANY_OBJECT,
  type ArrayShape,
  EVERY_NAME,
  type ObjectShape,
  type Region,
  type Shape,
  type Term,
  TRUE,
} from "./shapes.ts";

/** Schemas of an `anyOf` that are combined in all ways, since each that matches evaluates members. */
const MAX_COMBINED = 6;
/** Items that are told apart by index. */
const MAX_ITEMS = 1000;

/** `unevaluatedProperties` and `unevaluatedItems`, by what each shape notes of the schemas that it comes from. */
export class Unevaluated {
  readonly #algebra: ShapeAlgebra;
  readonly #objects: ObjectContext;

  constructor(algebra: ShapeAlgebra, objects: ObjectContext) {
    this.#algebra = algebra;
    this.#objects = objects;
  }

  /** The shapes of all sets of the schemas: a value that matches several has members evaluated by all of them. */
  subsets(shapes: readonly Shape[], place: Place): readonly Shape[] {
    if (shapes.length > MAX_COMBINED)
      throw unsupported(
        `has more than ${MAX_COMBINED} schemas, in a schema with "unevaluatedProperties" or "unevaluatedItems"`,
        place,
      );
    let combined: readonly Shape[] = [];
    for (const shape of shapes)
      combined = [
        ...combined,
        shape,
        ...combined.map((other) => this.#algebra.intersect(other, shape, place)),
      ];
    return combined;
  }

  apply(shape: Shape, fields: Fields, reader: SchemaReader): Shape {
    const items = fields.schema("unevaluatedItems");
    const members = fields.schema("unevaluatedProperties");
    const item = items && reader.child(fields.node, items);
    const member = members && reader.child(fields.node, members);
    return {
      ...shape,
      arrays:
        item === undefined
          ? shape.arrays
          : shape.arrays.map((one) => this.#items(one, item)).filter((one) => one !== undefined),
      objects:
        member === undefined
          ? shape.objects
          : shape.objects.map((one) => this.#members(one, member)).filter((one) => one !== undefined),
    };
  }

  #items(shape: ArrayShape, item: Term): ArrayShape | undefined {
    const { count, values } = shape.evaluated ?? { count: 0, values: [] };
    const all = { count: Number.POSITIVE_INFINITY, values: [] };
    if (count > MAX_ITEMS) return { ...shape, evaluated: all };
    const prefix = Array.from({ length: count }, () => TRUE);
    const other = { ...ANY_ARRAY, prefix, rest: this.#objects.terms.or(item, ...values) };
    const result = intersectArrays(shape, other, this.#objects.terms);
    return result && { ...result, evaluated: all };
  }

  #members(shape: ObjectShape, member: Term): ObjectShape | undefined {
    const { all, names, languages } = shape.evaluated ?? {
      all: false,
      names: new Set<string>(),
      languages: [],
    };
    const evaluated = { all: true, names: new Set<string>(), languages: [] };
    if (all) return { ...shape, evaluated };
    const properties = new Map(Array.from(names, (name) => [name, TRUE] as const));
    const other: ObjectShape = { ...ANY_OBJECT, properties, regions: unevaluatedRegions(languages, member) };
    const result = intersectObjects(shape, other, this.#objects);
    return result && { ...result, evaluated };
  }
}

const unevaluatedRegions = (languages: readonly Region["names"][], value: Term): readonly Region[] =>
  languages.length === 0 ? [{ names: EVERY_NAME, value }] : regionsOf(either(...languages), TRUE, value);
