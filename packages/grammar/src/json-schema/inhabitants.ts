import { itemAt } from "./arrays.ts";
import type { Languages } from "./languages.ts";
import { listRange, type NumberRange } from "./numbers.ts";
import { memberValue } from "./objects.ts";
import { CyclicSchemaError } from "./schema-errors.ts";
import type { ArrayShape, ObjectShape, Shape, Term } from "./shapes.ts";
import { languageOf } from "./strings.ts";

/** Terms that one question looks into; further ones are taken to have values. */
const MAX_TERMS = 400;
/** Numbers of a range that are tried one by one. */
const MAX_TRIED = 1000;

/** Tells whether terms have any value at all. */
export class Inhabitants {
  readonly #expand: (term: Term) => Shape;
  readonly #languages: Languages;
  readonly #known = new Map<Term, boolean>();

  constructor(expand: (term: Term) => Shape, languages: Languages) {
    this.#expand = expand;
    this.#languages = languages;
  }

  /** Whether a term has a value; true, too, where that is too hard to tell. */
  has(term: Term): boolean {
    const known = this.#known.get(term);
    if (known !== undefined) return known;
    const needs = this.#collect(term);
    const inhabited = new Set<Term>();
    const isInhabited = (one: Term): boolean =>
      inhabited.has(one) || (this.#known.get(one) ?? !needs.has(one));
    for (let hasChanged = true; hasChanged; ) {
      hasChanged = false;
      for (const [one, alternatives] of needs) {
        if (inhabited.has(one) || !alternatives.some((needed) => needed.every(isInhabited))) continue;
        inhabited.add(one);
        hasChanged = true;
      }
    }
    for (const one of needs.keys()) this.#known.set(one, inhabited.has(one));
    return this.#known.get(term) ?? true;
  }

  /** For each term that may matter: alternatives, each with the terms that must have values for it to have one. */
  #collect(start: Term): Map<Term, readonly (readonly Term[])[]> {
    const needs = new Map<Term, readonly (readonly Term[])[]>();
    const stack = [start];
    for (let term = stack.pop(); term !== undefined && needs.size < MAX_TERMS; term = stack.pop()) {
      if (needs.has(term) || this.#known.has(term)) continue;
      const alternatives = this.#alternatives(term);
      needs.set(term, alternatives);
      for (const needed of alternatives) stack.push(...needed);
    }
    return needs;
  }

  #alternatives(term: Term): readonly (readonly Term[])[] {
    const shape = this.#tryExpand(term);
    if (shape === undefined || this.#hasScalar(shape)) return [[]];
    return [
      ...shape.arrays.map(neededItems),
      ...shape.objects.map((object) => neededMembers(object, this.#languages)),
    ];
  }

  /** The shape; undefined where the question came up while it is being found, so that the answer must do without. */
  #tryExpand(term: Term): Shape | undefined {
    try {
      return this.#expand(term);
    } catch (error) {
      if (error instanceof CyclicSchemaError) return undefined;
      throw error;
    }
  }

  #hasScalar({ hasNull, booleans, numbers, strings }: Shape): boolean {
    if (hasNull || booleans.length > 0 || numbers.some(hasNumber)) return true;
    if (strings.type === "values") return strings.values.length > 0;
    return !this.#languages.isNothing(languageOf(strings));
  }
}

const hasNumber = (range: NumberRange): boolean => listRange(range, MAX_TRIED)?.length !== 0;

function neededItems(shape: ArrayShape): readonly Term[] {
  const count = Math.min(shape.min, shape.prefix.length + 1);
  const items = Array.from({ length: count }, (_, index) => itemAt(shape, index));
  return [...items, ...shape.contains.filter(({ min }) => min > 0).map(({ value }) => value)];
}

const neededMembers = (shape: ObjectShape, languages: Languages): readonly Term[] => [
  ...Array.from(shape.required, (name) => memberValue(shape, name, languages)),
  ...shape.witnesses.map(({ value }) => value),
];
