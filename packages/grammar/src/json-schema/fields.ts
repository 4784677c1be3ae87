import type { Place } from "./budget.ts";
import {
  type ChildSchema,
  childPointer,
  isJsonObject,
  type JsonObject,
  type SchemaNode,
} from "./documents.ts";
import { badSchema, unsupported } from "./schema-errors.ts";

/** The keywords of a schema, checked as they are read. Missing ones are undefined. */
export class Fields {
  readonly node: SchemaNode;
  readonly #schema: JsonObject;

  constructor(node: SchemaNode) {
    this.node = node;
    this.#schema = node.schema;
  }

  has(keyword: string): boolean {
    return Object.hasOwn(this.#schema, keyword) && this.#schema[keyword] !== undefined;
  }

  get(keyword: string): unknown {
    return this.has(keyword) ? this.#schema[keyword] : undefined;
  }

  place(keyword: string): Place {
    return { pointer: this.node.pointer, keyword };
  }

  #typed<T>(keyword: string, isType: (value: unknown) => value is T, expected: string): T | undefined {
    const value = this.get(keyword);
    if (value === undefined || isType(value)) return value;
    throw badSchema(`must be ${expected}, not ${describe(value)}`, this.place(keyword));
  }

  number(keyword: string): number | undefined {
    return this.#typed(keyword, isNumber, "a number");
  }

  /** A whole number that is not negative. */
  count(keyword: string): number | undefined {
    const value = this.number(keyword);
    if (value === undefined || (Number.isInteger(value) && value >= 0)) return value;
    throw badSchema(`must be a whole number from 0 on, not ${value}`, this.place(keyword));
  }

  boolean(keyword: string): boolean {
    if (this.get(keyword) === null) return false;
    return this.#typed(keyword, (value) => typeof value === "boolean", "true or false") ?? false;
  }

  string(keyword: string): string | undefined {
    return this.#typed(keyword, (value) => typeof value === "string", "a string");
  }

  list(keyword: string): readonly unknown[] | undefined {
    return this.#typed(keyword, (value) => Array.isArray(value), "a list");
  }

  /** Names, such as those of `required`, which draft 3 has as a boolean. */
  names(keyword: string): readonly string[] {
    const value = this.get(keyword);
    if (keyword === "required" && typeof value === "boolean")
      throw unsupported(
        "is a boolean, as in draft 3; list the names in the schema of the object",
        this.place(keyword),
      );
    return this.list(keyword)?.map((name) => asName(name, this.place(keyword))) ?? [];
  }

  /** The schema of a keyword, or the schemas of a list or an object. */
  schema(keyword: string): ChildSchema | undefined {
    const schema = this.get(keyword);
    return schema === undefined ? undefined : { path: [keyword], schema };
  }

  schemas(keyword: string): readonly ChildSchema[] {
    const list = this.list(keyword) ?? [];
    if (this.has(keyword) && list.length === 0) throw badSchema("must not be empty", this.place(keyword));
    return list.map((schema, index) => ({ path: [keyword, index], schema }));
  }

  entries(keyword: string): readonly (readonly [string, unknown])[] {
    return Object.entries(this.#typed(keyword, isJsonObject, "an object") ?? {});
  }

  /** Schemas by name. */
  named(keyword: string): readonly (readonly [string, ChildSchema])[] {
    return this.entries(keyword).map(([name, schema]) => [name, { path: [keyword, name], schema }] as const);
  }

  childPointer(path: readonly (string | number)[]): string {
    return childPointer(this.node.pointer, ...path);
  }
}

const isNumber = (value: unknown): value is number => Number.isFinite(value);

export function asName(value: unknown, place: Place): string {
  if (typeof value === "string") return value;
  throw badSchema(`must list names, not ${describe(value)}`, place);
}

/** A value in a message. */
export function describe(value: unknown): string {
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object" && value !== null) return "an object";
  const text = typeof value === "string" ? JSON.stringify(value) : String(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
