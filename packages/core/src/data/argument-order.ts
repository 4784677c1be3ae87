// The keys of a call's arguments in the order of the tool's schema, in which a constrained answer writes them.
import { isRecord, refer } from "#common";

/** JSON whose numbers keep their spelling: 1.0 stays 1.0. */
type Json = string | { readonly items: readonly Json[] } | { readonly members: readonly Member[] };
type Member = readonly [key: string, value: Json];

const TOKEN = /"(?:[^"\\]|\\.)*"?|[{}[\]:,]|[^\s{}[\]:,"]+/g;

/** Reads JSON that is known to be well formed. */
function read(json: string): Json {
  const tokens = json.match(TOKEN) ?? [];
  let next = 0;
  const value = (): Json => {
    const token = tokens[next++] ?? "";
    if (token.startsWith('"')) return JSON.stringify(JSON.parse(token)); // in the shortest spelling
    if (token === "[") return { items: listUntil("]", value) };
    if (token !== "{") return token;
    return {
      members: listUntil("}", (): Member => {
        const key = JSON.stringify(JSON.parse(tokens[next] ?? ""));
        next += 2; // with its colon
        return [key, value()];
      }),
    };
  };
  const listUntil = <T>(end: string, element: () => T): readonly T[] => {
    const list: T[] = [];
    while (next < tokens.length && tokens[next] !== end) {
      list.push(element());
      if (tokens[next] === ",") next++;
    }
    next++;
    return list;
  };
  return value();
}

/** Writes JSON as chat templates do. */
function write(value: Json): string {
  if (typeof value === "string") return value;
  return "items" in value
    ? `[${value.items.map(write).join(", ")}]`
    : `{${value.members.map(([key, one]) => `${key}: ${write(one)}`).join(", ")}}`;
}

/** Deeper schemas are not followed: one may refer to itself. */
const MAX_DEPTH = 32;

interface Context {
  readonly root: unknown;
  readonly depth: number;
}

/** The schema that a value is described by: references are followed, and of alternatives the first that fits is taken. */
function resolve(schema: unknown, value: Json, { root, depth }: Context): Readonly<Record<string, unknown>> {
  if (!isRecord(schema) || depth > MAX_DEPTH) return {};
  const context = { root, depth: depth + 1 };
  const { $ref, anyOf, oneOf } = schema;
  if (typeof $ref === "string") return resolve(refer($ref, root), value, context);
  const alternatives = Array.isArray(anyOf) ? anyOf : Array.isArray(oneOf) ? oneOf : undefined;
  if (alternatives === undefined) return schema;
  const resolved = alternatives.map((one) => resolve(one, value, context));
  return resolved.find((one) => fits(one, value)) ?? schema;
}

function fits({ type, properties, required }: Readonly<Record<string, unknown>>, value: Json): boolean {
  if (typeof value === "string") return false;
  if ("items" in value) return type === "array";
  const keys = value.members.map(([key]) => nameOf(key));
  const isKnown = !isRecord(properties) || keys.every((key) => Object.hasOwn(properties, key));
  const isWhole = !Array.isArray(required) || required.every((key) => keys.includes(String(key)));
  return (type === "object" || isRecord(properties)) && isKnown && isWhole;
}

const nameOf = (key: string): string => String(JSON.parse(key));

function order(value: Json, given: unknown, context: Context): Json {
  if (typeof value === "string") return value;
  const { properties, required, items, additionalProperties } = resolve(given, value, context);
  const deeper = { ...context, depth: context.depth + 1 };
  if ("items" in value) return { items: value.items.map((one) => order(one, items, deeper)) };
  const known = isRecord(properties) ? properties : {};
  const names = [...Object.keys(known), ...(Array.isArray(required) ? required.map(String) : [])];
  const place = ([key]: Member): number => {
    const at = names.indexOf(nameOf(key));
    return at < 0 ? names.length : at;
  };
  const members = value.members.toSorted((a, b) => place(a) - place(b));
  return {
    members: members.map(([key, one]) => {
      const name = nameOf(key);
      return [key, order(one, Object.hasOwn(known, name) ? known[name] : additionalProperties, deeper)];
    }),
  };
}

/**
 * Arguments, JSON of an object, with the keys of each object as its schema lists them: its properties, then what it requires
 * beside them, then the rest as it stood.
 */
export const inSchemaOrder = (json: string, schema: unknown): string =>
  write(order(read(json), schema, { root: schema, depth: 0 }));
