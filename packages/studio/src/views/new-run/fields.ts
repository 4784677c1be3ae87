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
  /** Where the name says too little. */
  readonly label: string | undefined;
  /** What holds where nothing is given, in words; "" where that is nothing. */
  readonly standard: string;
  /** Undefined for a setting of jobs alone. */
  readonly option: string | undefined;
  /** Texts of the methods that have it; undefined for a setting of the run. */
  readonly methods: Extension["methods"];
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

/** What a method says of a setting that it has. */
interface MethodTexts {
  readonly help?: string;
  readonly default?: string;
}

/** What the server says of a field beside its schema. */
interface Extension extends MethodTexts {
  /** The option of `mos train`: `--steps`; `--no-packing` for a flag that is on by default. */
  readonly option?: string;
  readonly label?: string;
  readonly methods?: Readonly<Record<string, MethodTexts>>;
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

function toField(name: string, schema: Json): SettingField | undefined {
  const shapes = alternatives(schema);
  const [first] = shapes;
  const kind = KINDS[String(first?.["type"])];
  if (first === undefined || kind === undefined) return undefined;
  const lists = shapes.flatMap((shape) => textsOf(shape["enum"] ?? at(shape, "items", "enum")));
  const choices = [...new Set(lists)];
  const { "x-mos": extension = {}, description: help = "" } = schema as {
    readonly "x-mos"?: Extension;
    readonly description?: string;
  };
  return {
    name,
    kind: kind === "text" && choices.length > 0 ? "choice" : kind,
    choices,
    minimum: bound(shapes, "minimum", Math.min),
    maximum: bound(shapes, "maximum", Math.max),
    above: bound(shapes, "exclusiveMinimum", Math.min),
    below: bound(shapes, "exclusiveMaximum", Math.max),
    help,
    label: extension.label,
    standard: extension.default ?? "",
    option: extension.option,
    methods: extension.methods,
  };
}

/** The fields of a job's `mos`, from the server's OpenAPI document; none where that has no such settings. */
export function readFields(document: unknown): readonly SettingField[] {
  const settings = at(document, "components", "schemas", "MosSettings", "properties");
  if (!isObject(settings)) return [];
  return Object.entries(settings).flatMap(([name, schema]) => {
    const field = isObject(schema) ? toField(name, schema) : undefined;
    return field === undefined ? [] : [field];
  });
}

/** A field as a method has it; undefined where it has not. */
export function fieldOf(field: SettingField, method: string): SettingField | undefined {
  if (field.methods === undefined) return field;
  const own = field.methods[method];
  return own && { ...field, help: own.help ?? field.help, standard: own.default ?? field.standard };
}

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
