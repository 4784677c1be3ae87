// OpenAI's strict subset of JSON Schema.
import { isRecord } from "mixture-of-shards-core/common";
import { childPointer, FORMATS, GrammarError } from "mixture-of-shards-grammar";

type JsonObject = Readonly<Record<string, unknown>>;

const MAX_PROPERTIES = 5000;
const MAX_LEVELS = 10;
const MAX_CHARACTERS = 120_000;
const MAX_ENUM_VALUES = 1000;
/** An enum with more values than this may have so many characters. */
const LARGE_ENUM = 250;
const MAX_LARGE_ENUM_CHARACTERS = 15_000;

/** Keywords that combine schemas in ways which the subset does not have. */
const NOT_PERMITTED: readonly string[] =
  "allOf oneOf not if then else dependentRequired dependentSchemas dependencies patternProperties propertyNames unevaluatedProperties".split(
    " ",
  );

type Path = readonly (string | number)[];

interface Visit {
  readonly schema: JsonObject;
  readonly path: Path;
  /** Objects and arrays around it. */
  readonly level: number;
}

/** What a whole schema may have only so much of. */
const noTotals = () => ({ properties: 0, characters: 0, enumValues: 0 });

/**
 * Checks a schema against the subset that OpenAI's `strict` demands: every object lists all its properties as required and allows no
 * others. Returns an error of code "bad_grammar" in the words of OpenAI's service, to which callers add the name of the format, or
 * undefined.
 */
export function checkStrict(schema: unknown): GrammarError | undefined {
  if (!isRecord(schema)) return refuse([], undefined, "schema must be an object.");
  const type = schema["type"];
  if (type !== "object" || "anyOf" in schema)
    return refuse([], "type", `schema must be a JSON Schema of 'type: "object"', got ${shownType(schema)}.`);
  const totals = noTotals();
  const stack: Visit[] = [{ schema, path: [], level: 1 }];
  const seen = new Set<unknown>();
  for (let visit = stack.pop(); visit !== undefined; visit = stack.pop()) {
    if (seen.has(visit.schema)) continue;
    seen.add(visit.schema);
    const error = checkSchema(visit) ?? checkTotals(visit, totals);
    if (error !== undefined) return error;
    // the first problem in the order of the text is the one that is named
    stack.push(...listChildren(visit).reverse());
  }
  return undefined;
}

const shownType = (schema: JsonObject): string =>
  "anyOf" in schema ? "'anyOf'" : `'type: ${JSON.stringify(schema["type"] ?? "None")}'`;

/** A path as the service writes it: a tuple of Python. */
const context = (path: Path): string =>
  path.length === 1 ? `('${path[0]}',)` : `(${path.map((step) => `'${step}'`).join(", ")})`;

function refuse(path: Path, keyword: string | undefined, reason: string): GrammarError {
  const message = path.length === 0 && keyword === "type" ? reason : `In context=${context(path)}, ${reason}`;
  return new GrammarError("bad_grammar", message, { pointer: childPointer("", ...path), keyword });
}

function checkSchema({ schema, path, level }: Visit): GrammarError | undefined {
  const keyword = NOT_PERMITTED.find((name) => name in schema);
  if (keyword !== undefined) return refuse(path, keyword, `'${keyword}' is not permitted.`);
  if (level > MAX_LEVELS)
    return refuse(path, undefined, `the schema is nested more than ${MAX_LEVELS} levels deep.`);
  const { type, format } = schema;
  const isTyped = ["type", "$ref", "anyOf", "enum", "const"].some((name) => name in schema);
  if (!isTyped) return refuse(path, "type", "schema must have a 'type' key.");
  if (typeof format === "string" && !FORMATS.includes(format))
    return refuse([...path, "format"], "format", `'${format}' is not a valid format.`);
  const types: readonly unknown[] = Array.isArray(type) ? type : [type];
  if (types.includes("array") && !("items" in schema) && !("prefixItems" in schema))
    return refuse(path, "items", "array schema missing items.");
  return types.includes("object") || "properties" in schema
    ? checkObject({ schema, path, level })
    : undefined;
}

function checkObject({ schema, path }: Visit): GrammarError | undefined {
  if (schema["additionalProperties"] !== false)
    return refuse(
      path,
      "additionalProperties",
      "'additionalProperties' is required to be supplied and to be false.",
    );
  const { properties = {}, required = [] } = schema;
  const names = isRecord(properties) ? Object.keys(properties) : [];
  const listed: readonly unknown[] = Array.isArray(required) ? required : [];
  const missing = names.find((name) => !listed.includes(name));
  if (missing !== undefined)
    return refuse(
      path,
      "required",
      `'required' is required to be supplied and to be an array including every key in properties. Missing '${missing}'.`,
    );
  const extra = listed.find((name) => typeof name !== "string" || !names.includes(name));
  return extra === undefined
    ? undefined
    : refuse(path, "required", `Extra required key '${String(extra)}' supplied.`);
}

function checkTotals({ schema, path }: Visit, totals: ReturnType<typeof noTotals>): GrammarError | undefined {
  const { properties, enum: list, const: constant, $defs } = schema;
  const names = isRecord(properties) ? Object.keys(properties) : [];
  const definitions = isRecord($defs) ? Object.keys($defs) : [];
  const values: readonly unknown[] = Array.isArray(list) ? list : [];
  const constants = constant === undefined ? [] : [constant];
  const enumCharacters = countCharacters(values);
  totals.properties += names.length;
  totals.enumValues += values.length;
  totals.characters += countCharacters([...names, ...definitions, ...constants]) + enumCharacters;
  if (values.length > LARGE_ENUM && enumCharacters > MAX_LARGE_ENUM_CHARACTERS)
    return refuse(
      path,
      "enum",
      `enum has ${values.length} values of ${enumCharacters} characters together, but the limit is ${MAX_LARGE_ENUM_CHARACTERS}.`,
    );
  const limits = [
    ["properties", totals.properties, MAX_PROPERTIES],
    ["enum values", totals.enumValues, MAX_ENUM_VALUES],
    ["characters in names, enum and const values", totals.characters, MAX_CHARACTERS],
  ] as const;
  const over = limits.find(([, count, limit]) => count > limit);
  return over && refuse([], undefined, `schema has more than ${over[2]} ${over[0]}.`);
}

const countCharacters = (values: readonly unknown[]): number =>
  values.reduce<number>((sum, value) => sum + (typeof value === "string" ? value.length : 0), 0);

function listChildren({ schema, path, level }: Visit): Visit[] {
  const children: Visit[] = [];
  const add = (value: unknown, inside: Path, at: number): void => {
    if (isRecord(value)) children.push({ schema: value, path: [...path, ...inside], level: at });
  };
  for (const keyword of ["properties", "$defs", "definitions"]) {
    const named = schema[keyword];
    const at = keyword === "properties" ? level + 1 : 1;
    if (!isRecord(named)) continue;
    for (const [name, value] of Object.entries(named)) add(value, [keyword, name], at);
  }
  add(schema["items"], ["items"], level + 1);
  for (const keyword of ["prefixItems", "anyOf"]) {
    const list: unknown = schema[keyword];
    const at = keyword === "anyOf" ? level : level + 1;
    if (Array.isArray(list)) for (const [index, value] of list.entries()) add(value, [keyword, index], at);
  }
  return children;
}
