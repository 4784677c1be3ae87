import { GrammarError, memo } from "#grammar";
import type { Budget, Place } from "./budget.ts";
import { type ContainerContext, objectsWithNames, readArray, readObject } from "./containers.ts";
import { decimalOf } from "./decimal.ts";
import { discriminatorsOf, exclude } from "./discriminators.ts";
import { isJsonObject, type SchemaNode } from "./documents.ts";
import { asName, Fields } from "./fields.ts";
import { Inhabitants } from "./inhabitants.ts";
import { point } from "./numbers.ts";
import type { ObjectContext } from "./objects.ts";
import { type ReaderContext, SchemaReader } from "./reader.ts";
import { badSchema, CyclicSchemaError, shorten, unsupported } from "./schema-errors.ts";
import { ShapeAlgebra } from "./shape-algebra.ts";
import {
  ANY_ARRAY,
  ANY_OBJECT,
  ANY_SHAPE,
  EVERY_NAME,
  FALSE,
  NO_SHAPE,
  type Shape,
  type Term,
  TRUE,
} from "./shapes.ts";
import { Signatures } from "./signatures.ts";
import { isAnyString, languageOf } from "./strings.ts";
import type { Terms } from "./terms.ts";
import { Unevaluated } from "./unevaluated.ts";

/** Finds the shapes that terms stand for: the first level of their values, with terms for what is inside. */
export class Expander {
  readonly terms: Terms;
  readonly reader: SchemaReader;
  readonly inhabitants: Inhabitants;
  readonly #budget: Budget;
  readonly #algebra: ShapeAlgebra;
  readonly #containers: ContainerContext;
  readonly #unevaluated: Unevaluated;
  readonly #signatures: Signatures;
  readonly #shapes = new Map<Term, Shape>();
  readonly #open = new Set<Term>();

  constructor(context: ReaderContext) {
    const { terms, languages, budget, document } = context;
    const signatures = new Signatures(terms);
    this.#signatures = signatures;
    const objects: ObjectContext = {
      terms,
      languages,
      budget,
      isSurelyEmpty: (term) => signatures.isEmpty(term),
    };
    this.terms = terms;
    this.#budget = budget;
    this.reader = new SchemaReader(context);
    this.#algebra = new ShapeAlgebra(objects);
    this.#containers = { reader: this.reader, objects, tracks: document.hasUnevaluated };
    this.#unevaluated = new Unevaluated(this.#algebra, objects);
    this.inhabitants = new Inhabitants((term) => this.expand(term), languages);
  }

  /** The shape of a term. */
  expand(term: Term): Shape {
    return memo(this.#shapes, term, () => {
      this.#enter(term);
      try {
        return this.#compute(term);
      } finally {
        this.#open.delete(term);
      }
    });
  }

  #enter(term: Term): void {
    const content = this.terms.content(term);
    const pointer = content.type === "schema" ? content.node.pointer : "";
    if (this.#open.has(term)) throw new CyclicSchemaError({ pointer, keyword: "$ref" });
    if (this.#open.size > this.#budget.limits.depth)
      throw new GrammarError(
        "limit",
        `More than ${this.#budget.limits.depth} schemas apply to one value within each other, at ${shorten(pointer)}.`,
        { pointer },
      );
    this.#open.add(term);
  }

  #compute(term: Term): Shape {
    const content = this.terms.content(term);
    switch (content.type) {
      case "true":
        return ANY_SHAPE;
      case "false":
        return NO_SHAPE;
      case "value":
        return valueShape(content.value, this.terms);
      case "and":
        return content.terms.reduce(
          (shape, one) => this.#algebra.intersect(shape, this.expand(one)),
          ANY_SHAPE,
        );
      case "or":
        return this.#algebra.unite(content.terms.map((one) => this.expand(one)));
      case "not":
        return this.#algebra.complement(this.expand(content.term), content.place);
      case "schema":
        return this.#schema(content.node);
    }
  }

  #schema(node: SchemaNode): Shape {
    this.reader.checkKeywords(node);
    const fields = new Fields(node);
    let shape = this.#own(fields);
    for (const [keyword, read] of APPLICATORS) {
      if (!fields.has(keyword)) continue;
      const place = fields.place(keyword);
      shape = this.#algebra.intersect(shape, read(this, fields, keyword), place);
    }
    return this.#containers.tracks ? this.#unevaluated.apply(shape, fields, this.reader) : shape;
  }

  #own(fields: Fields): Shape {
    const types = this.reader.types(fields);
    const array = types.has("array") ? readArray(fields, this.#containers) : undefined;
    const object = types.has("object") ? readObject(fields, this.#containers) : undefined;
    return {
      ...this.reader.scalars(fields, types),
      arrays: array === undefined ? [] : [array],
      objects: object === undefined ? [] : [object],
    };
  }

  /** The shape of a schema inside another one that applies to the same value. */
  #inner(fields: Fields, keyword: string): Shape {
    const child = fields.schema(keyword);
    return child === undefined ? ANY_SHAPE : this.expand(this.reader.child(fields.node, child));
  }

  #children(fields: Fields, keyword: string): readonly Term[] {
    return fields.schemas(keyword).map((child) => this.reader.child(fields.node, child));
  }

  reference(fields: Fields, keyword: string): Shape {
    return this.expand(this.reader.reference(fields.node, keyword));
  }

  allOf(fields: Fields): Shape {
    return this.#children(fields, "allOf").reduce(
      (shape, term) => this.#algebra.intersect(shape, this.expand(term), fields.place("allOf")),
      ANY_SHAPE,
    );
  }

  anyOf(fields: Fields): Shape {
    const shapes = this.#children(fields, "anyOf").map((term) => this.expand(term));
    const place = fields.place("anyOf");
    if (!this.#containers.tracks) return this.#algebra.unite(shapes, place);
    return this.#algebra.unite(this.#unevaluated.subsets(shapes, place), place);
  }

  /** The values of exactly one of the schemas; the others are excluded where they have values in common. */
  oneOf(fields: Fields): Shape {
    const place = fields.place("oneOf");
    const all = this.#children(fields, "oneOf");
    const known = all.map((term) => discriminatorsOf(this.expand(term), this.#signatures));
    const overlapping = all.map((term, index) =>
      all.filter(
        (other, position) =>
          position !== index && !exclude(known[index], known[position]) && this.#overlap(term, other, place),
      ),
    );
    const shapes = all.map((term, index) => {
      const others = (overlapping[index] ?? []).map((other) => this.terms.not(other, place));
      return this.expand(this.terms.and(term, ...others));
    });
    return this.#algebra.unite(shapes, place);
  }

  #overlap(a: Term, b: Term, place: Place): boolean {
    this.#budget.spend(5, place);
    return this.inhabitants.has(this.terms.and(a, b));
  }

  not(fields: Fields): Shape {
    const child = fields.schema("not");
    const term = child === undefined ? FALSE : this.reader.child(fields.node, child);
    return this.expand(this.terms.not(term, fields.place("not")));
  }

  condition(fields: Fields): Shape {
    const condition = fields.schema("if");
    if (condition === undefined || (!fields.has("then") && !fields.has("else") && !this.#containers.tracks))
      return ANY_SHAPE;
    const term = this.reader.child(fields.node, condition);
    const place = fields.place("if");
    const met = this.#algebra.intersect(this.expand(term), this.#inner(fields, "then"), place);
    const otherwise = this.#inner(fields, "else");
    const unmet = this.#algebra.intersect(this.expand(this.terms.not(term, place)), otherwise, place);
    return this.#algebra.unite([met, unmet], place);
  }

  enumeration(fields: Fields): Shape {
    const values = fields.list("enum") ?? [];
    this.#budget.spend(values.length, fields.place("enum"));
    return this.#algebra.unite(
      values.map((value) => valueShape(value, this.terms)),
      fields.place("enum"),
    );
  }

  constant(fields: Fields): Shape {
    return valueShape(fields.get("const"), this.terms);
  }

  /** Objects whose names are the texts that a schema allows. */
  names(fields: Fields): Shape {
    const { strings } = this.#inner(fields, "propertyNames");
    if (isAnyString(strings)) return ANY_SHAPE;
    if (strings.type === "values") {
      // listed names are written in this order, each once
      const properties = new Map(strings.values.map((name) => [name, TRUE] as const));
      const regions = ANY_OBJECT.regions.map(({ names }) => ({ names, value: FALSE }));
      return { ...ANY_SHAPE, objects: [{ ...ANY_OBJECT, properties, regions }] };
    }
    return { ...ANY_SHAPE, objects: [objectsWithNames(languageOf(strings))] };
  }

  /** For each name: objects without such a member, or those which a schema or a list of names allows. */
  dependencies(fields: Fields, keyword: string): Shape {
    const place = fields.place(keyword);
    return fields.entries(keyword).reduce<Shape>((shape, [name, value]) => {
      const consequence = Array.isArray(value)
        ? requiring(value.map((one) => asName(one, place)))
        : this.#dependent(fields, { keyword, name, value });
      if (consequence === ANY_SHAPE) return shape;
      const present = this.#algebra.intersect(requiring([name]), consequence, place);
      const either = this.#algebra.unite([without(name), { ...NO_SHAPE, objects: present.objects }], place);
      return this.#algebra.intersect(shape, either, place);
    }, ANY_SHAPE);
  }

  #dependent(
    fields: Fields,
    { keyword, name, value }: { keyword: string; name: string; value: unknown },
  ): Shape {
    const place = fields.place(keyword);
    if (keyword === "dependentRequired")
      throw badSchema(`must list names for ${JSON.stringify(name)}`, place);
    if (typeof value === "string")
      throw unsupported("names a single property, as in draft 3; use a list", place);
    return this.expand(this.reader.child(fields.node, { path: [keyword, name], schema: value }));
  }
}

const requiring = (names: readonly string[]): Shape =>
  names.length === 0 ? ANY_SHAPE : { ...ANY_SHAPE, objects: [{ ...ANY_OBJECT, required: new Set(names) }] };

const without = (name: string): Shape => ({
  ...ANY_SHAPE,
  objects: [{ ...ANY_OBJECT, properties: new Map([[name, FALSE]]) }],
});

type Read = (expander: Expander, fields: Fields, keyword: string) => Shape;

const dependencies: Read = (expander, fields, keyword) => expander.dependencies(fields, keyword);
const reference: Read = (expander, fields, keyword) => expander.reference(fields, keyword);

/** Keywords that say something about the whole value, in the order in which they are applied. */
const APPLICATORS: readonly (readonly [keyword: string, Read])[] = [
  ["const", (expander, fields) => expander.constant(fields)],
  ["enum", (expander, fields) => expander.enumeration(fields)],
  ["$ref", reference],
  ["$dynamicRef", reference],
  ["$recursiveRef", reference],
  ["allOf", (expander, fields) => expander.allOf(fields)],
  ["propertyNames", (expander, fields) => expander.names(fields)],
  ["anyOf", (expander, fields) => expander.anyOf(fields)],
  ["oneOf", (expander, fields) => expander.oneOf(fields)],
  ["not", (expander, fields) => expander.not(fields)],
  ["if", (expander, fields) => expander.condition(fields)],
  ["dependentRequired", dependencies],
  ["dependentSchemas", dependencies],
  ["dependencies", dependencies],
];

/** The shape of one JSON value. */
function valueShape(value: unknown, terms: Terms): Shape {
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
