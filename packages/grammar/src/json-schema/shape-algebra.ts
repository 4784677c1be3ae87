import { complementArray, intersectArrays } from "./arrays.ts";
import type { Budget, Place } from "./budget.ts";
import type { Languages } from "./languages.ts";
import { ANY_NUMBER, complementRange, intersectRanges, type NumberRange } from "./numbers.ts";
import { complementObject, intersectObjects, type ObjectContext } from "./objects.ts";
import {
  ANY_ARRAY,
  ANY_OBJECT,
  ANY_SHAPE,
  type ArrayShape,
  NO_SHAPE,
  type ObjectShape,
  type Shape,
} from "./shapes.ts";
import { complementStrings, intersectStrings, uniteStrings } from "./strings.ts";
import type { Terms } from "./terms.ts";

/** Intersection, union and complement of shapes. */
export class ShapeAlgebra {
  readonly #terms: Terms;
  readonly #languages: Languages;
  readonly #budget: Budget;
  readonly #objects: ObjectContext;

  constructor(objects: ObjectContext) {
    this.#terms = objects.terms;
    this.#languages = objects.languages;
    this.#budget = objects.budget;
    this.#objects = objects;
  }

  intersect(a: Shape, b: Shape, place?: Place): Shape {
    if (a === ANY_SHAPE || a === b) return b;
    if (b === ANY_SHAPE) return a;
    this.#budget.spend(1, place);
    return {
      hasNull: a.hasNull && b.hasNull,
      booleans: a.booleans.filter((value) => b.booleans.includes(value)),
      numbers: this.#products(a.numbers, b.numbers, { combine: intersectRanges, place }),
      strings: intersectStrings(a.strings, b.strings, this.#languages),
      arrays: this.#products(a.arrays, b.arrays, {
        combine: (x, y) => intersectArrays(x, y, this.#terms),
        place,
      }),
      objects: this.#products(a.objects, b.objects, {
        combine: (x, y) => intersectObjects(x, y, this.#objects),
        place,
      }),
    };
  }

  unite(shapes: readonly Shape[], place?: Place): Shape {
    const [only = NO_SHAPE, ...others] = shapes;
    if (others.length === 0) return only;
    this.#budget.spend(shapes.length, place);
    const numbers = new Set(shapes.flatMap((shape) => shape.numbers));
    const arrays = new Set(shapes.flatMap((shape) => shape.arrays));
    const objects = new Set(shapes.flatMap((shape) => shape.objects));
    this.#budget.checkAlternatives(Math.max(arrays.size, objects.size), place);
    return {
      hasNull: shapes.some((shape) => shape.hasNull),
      booleans: [true, false].filter((value) => shapes.some(({ booleans }) => booleans.includes(value))),
      numbers: [...numbers],
      strings: uniteStrings(shapes.map((shape) => shape.strings)),
      arrays: [...arrays],
      objects: [...objects],
    };
  }

  /** All other values. The place is that of the keyword which is refused if they cannot be described. */
  complement(shape: Shape, place: Place): Shape {
    const { numbers, arrays, objects } = shape;
    return {
      hasNull: !shape.hasNull,
      booleans: [true, false].filter((value) => !shape.booleans.includes(value)),
      numbers: this.#complementAll<NumberRange>(numbers, {
        any: ANY_NUMBER,
        complement: complementRange,
        combine: intersectRanges,
        place,
      }),
      strings: complementStrings(shape.strings),
      arrays: this.#complementAll<ArrayShape>(arrays, {
        any: ANY_ARRAY,
        complement: (one) => complementArray(one, { terms: this.#terms, budget: this.#budget, place }),
        combine: (x, y) => intersectArrays(x, y, this.#terms),
        place,
      }),
      objects: this.#complementAll<ObjectShape>(objects, {
        any: ANY_OBJECT,
        complement: (one) => complementObject(one, this.#objects, place),
        combine: (x, y) => intersectObjects(x, y, this.#objects),
        place,
      }),
    };
  }

  #products<T>(
    a: readonly T[],
    b: readonly T[],
    { combine, place }: { combine: (x: T, y: T) => T | undefined; place: Place | undefined },
  ): readonly T[] {
    this.#budget.spend(a.length * b.length, place);
    const products = a.flatMap((x) => b.map((y) => combine(x, y))).filter((one) => one !== undefined);
    this.#budget.checkAlternatives(products.length, place);
    return products;
  }

  #complementAll<T>(
    all: readonly T[],
    {
      any,
      complement,
      ...options
    }: {
      any: T;
      complement: (one: T) => readonly T[];
      combine: (x: T, y: T) => T | undefined;
      place: Place;
    },
  ): readonly T[] {
    return all.reduce<readonly T[]>((left, one) => this.#products(left, complement(one), options), [any]);
  }
}
