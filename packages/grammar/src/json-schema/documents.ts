import type { Budget } from "./budget.ts";
import { SUBSCHEMAS } from "./keywords.ts";
import { badSchema, unsupported } from "./schema-errors.ts";

/** A JSON object. */
export type JsonObject = Readonly<Record<string, unknown>>;

export const isJsonObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** A schema that is an object, at its place in the document. */
export interface SchemaNode {
  readonly id: number;
  readonly schema: JsonObject;
  /** JSON pointer from the root of the document. */
  readonly pointer: string;
  readonly resource: Resource;
  /** Resources through which references have led here, for `$dynamicRef`; empty where the document has none. */
  readonly scope: readonly Resource[];
}

/** A schema at its place, before it is known whether it is well formed. */
export interface Location {
  readonly schema: unknown;
  readonly pointer: string;
  readonly resource: Resource;
}

/** A schema with an identifier of its own, to which references within it are relative. */
export interface Resource {
  readonly base: string;
  readonly pointer: string;
  readonly schema: unknown;
  readonly anchors: Map<string, Location>;
  readonly dynamicAnchors: Map<string, Location>;
}

const ROOT = "json-schema://root/";

const escapeToken = (token: string): string => token.replaceAll("~", "~0").replaceAll("/", "~1");
export const childPointer = (pointer: string, ...tokens: readonly (string | number)[]): string =>
  `${pointer}${tokens.map((token) => `/${escapeToken(String(token))}`).join("")}`;

/** A schema with the resources and anchors in it. */
export class SchemaDocument {
  readonly root: Location;
  /** Whether the meaning of a schema depends on the way that led to it. */
  hasDynamicAnchors = false;
  /** Whether some schema asks which members or items others have evaluated. */
  hasUnevaluated = false;
  recursiveAnchors = 0;
  readonly #resources = new Map<string, Resource>();
  readonly #byObject = new Map<unknown, Resource>();

  constructor(schema: unknown, budget: Budget) {
    const outermost = this.#addResource({ schema, pointer: "", base: ROOT });
    this.#scan({ schema, pointer: "", resource: outermost }, budget);
    this.root = { schema, pointer: "", resource: this.resourceOf(schema, outermost) };
  }

  /** The resource that a schema begins, or the one that it is in. */
  resourceOf(schema: unknown, outer: Resource): Resource {
    return this.#byObject.get(schema) ?? outer;
  }

  /** The schema to which a reference leads. */
  resolve(reference: string, from: SchemaNode, keyword: string): Location {
    const place = { pointer: from.pointer, keyword };
    const url = resolveUrl(reference, from.resource.base);
    if (url === undefined) throw badSchema(`is no URI reference: ${JSON.stringify(reference)}`, place);
    const [base = "", fragment = ""] = url.split("#", 2);
    const resource = this.#resources.get(base);
    if (resource === undefined)
      throw unsupported(
        `refers to another document, ${JSON.stringify(reference)}; put its schema into "$defs"`,
        place,
      );
    const text = decodeFragment(fragment);
    const found =
      text === "" || text.startsWith("/")
        ? (this.#follow(resource, text) ?? this.#follow(this.root.resource, text))
        : resource.anchors.get(text);
    if (found === undefined)
      throw badSchema(`refers to ${JSON.stringify(reference)}, which is not in the schema`, place);
    return found;
  }

  #follow(start: Resource, path: string): Location | undefined {
    let { schema, pointer } = start;
    let resource = start;
    if (path === "") return { schema, pointer, resource };
    for (const token of path.slice(1).split("/")) {
      const key = token.replaceAll("~1", "/").replaceAll("~0", "~");
      if (typeof schema !== "object" || schema === null || !Object.hasOwn(schema, key)) return undefined;
      schema = Reflect.get(schema, key);
      pointer = childPointer(pointer, key);
      resource = this.resourceOf(schema, resource);
    }
    return { schema, pointer, resource };
  }

  #addResource({ schema, pointer, base }: { schema: unknown; pointer: string; base: string }): Resource {
    const resource = { schema, pointer, base, anchors: new Map(), dynamicAnchors: new Map() };
    this.#resources.set(base, resource);
    this.#byObject.set(schema, resource);
    return resource;
  }

  /** Finds identifiers and anchors, without recursion since schemas may be deep. */
  #scan(start: Location, budget: Budget): void {
    const seen = new Set<unknown>();
    const stack: Location[] = [start];
    for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
      const { schema } = next;
      if (!isJsonObject(schema) || seen.has(schema)) continue;
      seen.add(schema);
      budget.spend(1);
      const location = this.#identify(schema, next);
      for (const [keyword, value] of Object.entries(schema))
        for (const child of listSubschemas(keyword, value))
          stack.push({
            ...location,
            schema: child.schema,
            pointer: childPointer(next.pointer, keyword, ...child.path),
          });
    }
  }

  #identify(schema: JsonObject, location: Location): Location {
    let { resource } = location;
    const id = schema["$id"] ?? schema["id"];
    const url = typeof id === "string" ? resolveUrl(id, resource.base) : undefined;
    const [base = "", fragment = ""] = url?.split("#", 2) ?? [];
    if (url !== undefined && base !== resource.base) {
      resource = this.#addResource({ schema, pointer: location.pointer, base });
      // the root is also known by the base that it has without an identifier
      if (location.pointer === "") this.#resources.set(ROOT, resource);
    }
    const here = { ...location, schema, resource };
    if (fragment !== "") resource.anchors.set(decodeFragment(fragment), here);
    const { $anchor: anchor, $dynamicAnchor: dynamicAnchor } = schema;
    if (typeof anchor === "string") resource.anchors.set(anchor, here);
    if (typeof dynamicAnchor === "string") {
      resource.anchors.set(dynamicAnchor, here);
      resource.dynamicAnchors.set(dynamicAnchor, here);
      this.hasDynamicAnchors = true;
    }
    if (schema["$recursiveAnchor"] === true) this.recursiveAnchors++;
    if ("unevaluatedItems" in schema || "unevaluatedProperties" in schema) this.hasUnevaluated = true;
    return here;
  }
}

/** A child of a schema, with its path from there. */
export interface ChildSchema {
  readonly path: readonly (string | number)[];
  readonly schema: unknown;
}

function listSubschemas(keyword: string, value: unknown): readonly ChildSchema[] {
  if (SUBSCHEMAS.list.has(keyword) && Array.isArray(value))
    return value.map((schema: unknown, index) => ({ schema, path: [index] }));
  if (SUBSCHEMAS.map.has(keyword) && isJsonObject(value))
    return Object.entries(value).map(([name, schema]) => ({ schema, path: [name] }));
  return SUBSCHEMAS.one.has(keyword) ? [{ schema: value, path: [] }] : [];
}

function resolveUrl(reference: string, base: string): string | undefined {
  try {
    return new URL(reference, base).href;
  } catch {
    return undefined;
  }
}

function decodeFragment(fragment: string): string {
  try {
    return decodeURIComponent(fragment);
  } catch {
    return fragment;
  }
}
