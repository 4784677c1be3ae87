import { itemAt } from "../src/json-schema/arrays.ts";
import { Budget, DEFAULT_LIMITS } from "../src/json-schema/budget.ts";
import { decimalOf } from "../src/json-schema/decimal.ts";
import { isJsonObject, type JsonObject, SchemaDocument } from "../src/json-schema/documents.ts";
import { Expander } from "../src/json-schema/expander.ts";
import { Languages } from "../src/json-schema/languages.ts";
import { includes } from "../src/json-schema/numbers.ts";
import { memberValue } from "../src/json-schema/objects.ts";
import type { ArrayShape, ObjectShape, Term } from "../src/json-schema/shapes.ts";
import { containsText } from "../src/json-schema/strings.ts";
import { Terms } from "../src/json-schema/terms.ts";

/** Says whether a value is among the shapes of a schema, in whatever order its members are. */
export class Membership {
  readonly #languages: Languages;
  readonly #expander: Expander;

  constructor(schema: unknown) {
    const budget = new Budget({ ...DEFAULT_LIMITS, time: 60_000, steps: 1e9 });
    this.#languages = new Languages(budget);
    const document = new SchemaDocument(schema, budget);
    this.#expander = new Expander({ document, languages: this.#languages, budget, terms: new Terms() });
  }

  has(value: unknown): boolean {
    return this.#has(this.#expander.reader.root(), value);
  }

  #has(term: Term, value: unknown): boolean {
    const shape = this.#expander.expand(term);
    if (value === null) return shape.hasNull;
    if (typeof value === "boolean") return shape.booleans.includes(value);
    if (typeof value === "number") return shape.numbers.some((range) => includes(range, decimalOf(value)));
    if (typeof value === "string")
      return containsText(shape.strings, { text: value, languages: this.#languages });
    if (Array.isArray(value)) return shape.arrays.some((array) => this.#hasArray(array, value));
    return isJsonObject(value) && shape.objects.some((object) => this.#hasObject(object, value));
  }

  #hasArray(shape: ArrayShape, items: readonly unknown[]): boolean {
    const { min, max, contains, isUnique } = shape;
    const isCounted = contains.every(({ from, value, ...limits }) => {
      const count = items.slice(from).filter((item) => this.#has(value, item)).length;
      return count >= limits.min && (limits.max === null || count <= limits.max);
    });
    return (
      isCounted &&
      items.length >= min &&
      (max === null || items.length <= max) &&
      (!isUnique || new Set(items.map((item) => JSON.stringify(item))).size === items.length) &&
      items.every((item, index) => this.#has(itemAt(shape, index), item))
    );
  }

  #hasObject(shape: ObjectShape, object: JsonObject): boolean {
    const names = Object.keys(object);
    return (
      names.length >= shape.min &&
      (shape.max === null || names.length <= shape.max) &&
      [...shape.required].every((name) => Object.hasOwn(object, name)) &&
      names.every((name) => this.#has(memberValue(shape, name, this.#languages), object[name])) &&
      shape.witnesses.every((witness) =>
        names.some(
          (name) => this.#languages.matches(witness.names, name) && this.#has(witness.value, object[name]),
        ),
      )
    );
  }
}
