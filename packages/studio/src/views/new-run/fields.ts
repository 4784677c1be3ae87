// The settings of a job as fields of a form, made of the schema that the server publishes: none of them is named here.

/** A setting that a form can show. */
export interface SettingField {
  readonly name: string;
  readonly kind: "integer" | "number" | "flag" | "choice" | "text" | "list" | "object";
  /** Values of a choice or of a list. */
  readonly choices: readonly string[];
  readonly minimum: number | undefined;
  readonly maximum: number | undefined;
  /** Bounds that are no values themselves. */
  readonly above: number | undefined;
  readonly below: number | undefined;
  readonly help: string;
  /** What holds where nothing is given, in words; "" where that is nothing. */
  readonly standard: string;
  /** Methods that have it; undefined for every one. */
  readonly methods: readonly string[] | undefined;
}

type Json = Readonly<Record<string, unknown>>;

const isObject = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const at = (value: unknown, ...path: readonly string[]): unknown =>
  path.reduce((found: unknown, name) => (isObject(found) ? found[name] : undefined), value);

const numberAt = (schema: Json, name: string): number | undefined => {
  const value = schema[name];
  return typeof value === "number" ? value : undefined;
};

const textsOf = (value: unknown): readonly string[] =>
  Array.isArray(value) ? value.filter((one) => typeof one === "string") : [];

/** More than anybody would type is no bound that is worth saying. */
const LARGEST_BOUND = 1e12;

/** The alternatives of a schema: some methods take more of a setting than others. */
const alternatives = (schema: Json): readonly Json[] =>
  Array.isArray(schema["anyOf"]) ? schema["anyOf"].filter(isObject) : [schema];

const KINDS: Readonly<Record<string, SettingField["kind"]>> = {
  integer: "integer",
  number: "number",
  boolean: "flag",
  string: "text",
  array: "list",
  object: "object",
};

interface Described {
  readonly help: string;
  readonly standard: string;
  readonly scope: string;
}

/** "false: mos: do it otherwise; default: true" in its parts. */
function readDescription(text: string): Described {
  const [effect = "", ...rest] = text.split("; default: ");
  const standard = rest.join("; default: ");
  const flag = effect.startsWith("false: ") ? "false: " : "";
  const [, scope = ""] = /^((?:all but )?[a-z-]+(?:, [a-z-]+)*): /.exec(effect.slice(flag.length)) ?? [];
  const help = scope === "" ? effect : flag + effect.slice(flag.length + scope.length + 2);
  return { help, standard, scope };
}

function methodsOf(scope: string, methods: readonly string[]): readonly string[] | undefined {
  if (scope === "") return undefined;
  const others = scope.startsWith("all but ");
  const named = scope.replace("all but ", "").split(", ");
  if (!named.every((name) => methods.includes(name))) return undefined;
  return others ? methods.filter((name) => !named.includes(name)) : named;
}

function bound(
  shapes: readonly Json[],
  name: string,
  choose: (...all: number[]) => number,
): number | undefined {
  const found = shapes.map((shape) => numberAt(shape, name));
  if (found.some((value) => value === undefined)) return undefined;
  const value = choose(...found.flatMap((one) => one ?? []));
  return Math.abs(value) < LARGEST_BOUND ? value : undefined;
}

function toField(name: string, schema: Json, methods: readonly string[]): SettingField | undefined {
  const shapes = alternatives(schema);
  const [first] = shapes;
  const kind = KINDS[String(first?.["type"])];
  if (first === undefined || kind === undefined) return undefined;
  const lists = shapes.flatMap((shape) => textsOf(shape["enum"] ?? at(shape, "items", "enum")));
  const choices = [...new Set(lists)];
  const text = schema["description"];
  const { help, standard, scope } = readDescription(typeof text === "string" ? text : "");
  return {
    name,
    kind: kind === "text" && choices.length > 0 ? "choice" : kind,
    choices,
    minimum: bound(shapes, "minimum", Math.min),
    maximum: bound(shapes, "maximum", Math.max),
    above: bound(shapes, "exclusiveMinimum", Math.min),
    below: bound(shapes, "exclusiveMaximum", Math.max),
    help,
    standard,
    methods: methodsOf(scope, methods),
  };
}

/** The fields of a job's `mos`, from the server's OpenAPI document; none where that has no such settings. */
export function readFields(document: unknown): readonly SettingField[] {
  const settings = at(document, "components", "schemas", "MosSettings", "properties");
  if (!isObject(settings)) return [];
  const methods = textsOf(at(settings, "adapter", "enum"));
  return Object.entries(settings).flatMap(([name, schema]) => {
    const field = isObject(schema) ? toField(name, schema, methods) : undefined;
    return field === undefined ? [] : [field];
  });
}

/** Whether a method has a setting. */
export const hasField = ({ methods }: SettingField, method: string): boolean =>
  methods === undefined || methods.includes(method);

/** A typed value, or what is expected instead. */
export type Parsed = { readonly value: unknown } | { readonly problem: string };

const readJson = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
};

/** The range that a number may have, as a sentence ends: "from 1 to 8". */
export function rangeOf({ minimum, maximum, above, below }: SettingField): string {
  const low = minimum === undefined ? (above === undefined ? "" : `above ${above}`) : `from ${minimum}`;
  const high = maximum === undefined ? (below === undefined ? "" : `below ${below}`) : `to ${maximum}`;
  if (minimum !== undefined && high === "") return `${minimum} or more`;
  return [low, high].filter((part) => part !== "").join(" ");
}

const isWithin = (value: number, { minimum, maximum, above, below }: SettingField): boolean =>
  (minimum === undefined || value >= minimum) &&
  (maximum === undefined || value <= maximum) &&
  (above === undefined || value > above) &&
  (below === undefined || value < below);

function parseNumber(text: string, field: SettingField): Parsed {
  const value = Number(text);
  const isNumber =
    text !== "" && (field.kind === "number" ? Number.isFinite(value) : Number.isSafeInteger(value));
  if (isNumber && isWithin(value, field)) return { value };
  const what = field.kind === "number" ? "a number" : "a whole number";
  return { problem: `Enter ${what} ${rangeOf(field)}`.trimEnd() };
}

function parseList(text: string, { choices }: SettingField): Parsed {
  const value = text
    .split(",")
    .map((one) => one.trim())
    .filter((one) => one !== "");
  const isKnown = choices.length === 0 || value.every((one) => choices.includes(one));
  return isKnown && value.length > 0 ? { value } : { problem: `Choose from ${choices.join(", ")}` };
}

/** The value of a field that is not empty. */
export function parseField(text: string, field: SettingField): Parsed {
  switch (field.kind) {
    case "integer":
    case "number":
      return parseNumber(text.trim(), field);
    case "flag":
      return { value: text === "true" };
    case "choice":
      return field.choices.includes(text)
        ? { value: text }
        : { problem: `Choose ${field.choices.join(" or ")}` };
    case "list":
      return parseList(text, field);
    case "object": {
      const value = readJson(text);
      return isObject(value) ? { value } : { problem: 'Enter a JSON object, such as {"name": true}' };
    }
    case "text":
      return { value: text };
  }
}

/** A value as its field shows it, so that `parseField` gives it again. */
export function showValue(value: unknown): string {
  if (Array.isArray(value)) return value.map(String).join(", ");
  return isObject(value) ? JSON.stringify(value) : String(value);
}

/** What holds for a method where nothing is given: its part of "8; 64 for pure-sharing; 256 for vera". */
export function standardFor({ standard }: SettingField, method: string): string {
  const [first = "", ...others] = standard.split("; ");
  const own = others.find((part) => part.split(" for ").at(-1)?.split(", ").includes(method));
  return own?.split(" for ")[0] ?? first;
}
