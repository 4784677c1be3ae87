import { memo, only } from "#grammar";
import type { JsonObject } from "./documents.ts";
import { assertionsOf } from "./keywords.ts";
import type { Term } from "./shapes.ts";
import type { Terms } from "./terms.ts";

/** What can be said of a term without looking into it. */
interface Signature {
  /** Bits of the types of its values. */
  readonly types: number;
  /** Its values, where all are scalars and known. */
  readonly values?: ReadonlySet<unknown> | undefined;
  /** Scalars that are none of its values. */
  readonly excluded?: ReadonlySet<unknown> | undefined;
}

const BITS = { null: 1, boolean: 2, number: 4, integer: 4, string: 8, array: 16, object: 32 };
const COMPOUND = BITS.array | BITS.object;
const ALL = 63;

const bitOf = (type: string): number => (Object.hasOwn(BITS, type) ? BITS[type as keyof typeof BITS] : 0);

/**
 * Tells of some terms that they are empty, such as the values of a property which two schemas tell apart by different constants.
 * Alternatives that exclude each other vanish early by it.
 */
export class Signatures {
  readonly #terms: Terms;
  readonly #known = new Map<Term, Signature>();

  constructor(terms: Terms) {
    this.#terms = terms;
  }

  isEmpty(term: Term): boolean {
    const { types, values, excluded } = this.#of(term);
    if (types === 0) return true;
    if (values === undefined) return false;
    for (const value of values) if ((typeBit(value) & types) !== 0 && !excluded?.has(value)) return false;
    return true;
  }

  /** Values of a term, where they are scalars and known; it has no others. */
  valuesOf(term: Term): ReadonlySet<unknown> | undefined {
    return this.#of(term).values;
  }

  #of(term: Term): Signature {
    return memo(this.#known, term, () => this.#compute(term));
  }

  #compute(term: Term): Signature {
    const content = this.#terms.content(term);
    switch (content.type) {
      case "false":
        return { types: 0 };
      case "value":
        return ofValues([content.value]);
      case "schema":
        return ofSchema(content.node.schema);
      case "and":
        return content.terms.map((one) => this.#of(one)).reduce(intersect);
      case "or":
        return content.terms.map((one) => this.#of(one)).reduce(unite);
      case "not":
        return this.#opposite(content.term);
      default:
        return { types: ALL };
    }
  }

  #opposite(term: Term): Signature {
    const content = this.#terms.content(term);
    const isExact =
      content.type === "value" || (content.type === "schema" && listsOnlyValues(content.node.schema));
    const { types, values } = this.#of(term);
    if (isExact && values !== undefined) return { types: ALL, excluded: values };
    if (content.type === "schema" && listsOnlyTypes(content.node.schema)) return { types: ALL & ~types };
    return { types: ALL };
  }
}

const typeBit = (value: unknown): number =>
  value === null ? BITS.null : Array.isArray(value) ? BITS.array : bitOf(typeof value);

function ofValues(values: readonly unknown[]): Signature {
  const types = values.reduce<number>((bits, value) => bits | typeBit(value), 0);
  return (types & COMPOUND) === 0 ? { types, values: new Set(values) } : { types };
}

function ofSchema(schema: JsonObject): Signature {
  const { type, const: constant, enum: list } = schema;
  const names: readonly unknown[] =
    type === undefined ? Object.keys(BITS) : Array.isArray(type) ? type : [type];
  let signature: Signature = {
    types: names.reduce<number>((bits, name) => bits | (typeof name === "string" ? bitOf(name) : 0), 0),
  };
  if (constant !== undefined) signature = intersect(signature, ofValues([constant]));
  return Array.isArray(list) ? intersect(signature, ofValues(list)) : signature;
}

const listsOnlyValues = (schema: JsonObject): boolean => {
  const assertion = only(assertionsOf(schema));
  return assertion === "const" || assertion === "enum";
};

const listsOnlyTypes = (schema: JsonObject): boolean =>
  assertionsOf(schema).join() === "type" && !JSON.stringify(schema["type"]).includes("integer");

function intersect(a: Signature, b: Signature): Signature {
  const [fewer, other] = a.values === undefined ? [b, a] : [a, b];
  const values =
    fewer.values && new Set([...fewer.values].filter((value) => other.values?.has(value) ?? true));
  const excluded =
    a.excluded && b.excluded ? new Set([...a.excluded, ...b.excluded]) : (a.excluded ?? b.excluded);
  return { types: a.types & b.types, values, excluded };
}

function unite(a: Signature, b: Signature): Signature {
  const types = a.types | b.types;
  if (a.values === undefined || b.values === undefined) return { types };
  if (a.excluded !== undefined || b.excluded !== undefined) return { types };
  return { types, values: new Set([...a.values, ...b.values]) };
}
