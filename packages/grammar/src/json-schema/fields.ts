import type { Place } from "./budget.ts";
import { childPointer, isJsonObject, type JsonObject, type SchemaNode } from "./documents.ts";
import { badSchema, unsupported } from "./errors.ts";

/** A child of a schema, with its path from there. */
export interface ChildSchema {
  readonly path: readonly (string | number)[];
  readonly schema: unknown;
}

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

  number(keyword: string): number | undefined {
    const value = this.get(keyword);
    if (value === undefined || (typeof value === "number" && Number.isFinite(value))) return value;
    throw badSchema(`must be a number, not ${describe(value)}`, this.place(keyword));
  }

  /** A whole number that is not negative. */
  count(keyword: string): number | undefined {
    const value = this.number(keyword);
    if (value === undefined || (Number.isInteger(value) && value >= 0)) return value;
    throw badSchema(`must be a whole number from 0 on, not ${value}`, this.place(keyword));
  }

  boolean(keyword: string): boolean {
    const value = this.get(keyword) ?? false;
    if (typeof value === "boolean") return value;
    throw badSchema(`must be true or false, not ${describe(value)}`, this.place(keyword));
  }

  string(keyword: string): string | undefined {
    const value = this.get(keyword);
    if (value === undefined || typeof value === "string") return value;
    throw badSchema(`must be a string, not ${describe(value)}`, this.place(keyword));
  }

  list(keyword: string): readonly unknown[] | undefined {
    const value = this.get(keyword);
    if (value === undefined || Array.isArray(value)) return value;
    throw badSchema(`must be a list, not ${describe(value)}`, this.place(keyword));
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
    const value = this.get(keyword);
    if (value === undefined) return [];
    if (isJsonObject(value)) return Object.entries(value);
    throw badSchema(`must be an object, not ${describe(value)}`, this.place(keyword));
  }

  /** Schemas by name. */
  named(keyword: string): readonly (readonly [string, ChildSchema])[] {
    return this.entries(keyword).map(([name, schema]) => [name, { path: [keyword, name], schema }] as const);
  }

  childPointer(path: readonly (string | number)[]): string {
    return childPointer(this.node.pointer, ...path);
  }
}

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
