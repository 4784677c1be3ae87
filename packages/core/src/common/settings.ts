// A setting is declared once, as a zod schema with texts about it, in the module that uses it. The check of a library call,
// the option of a command, the field of a request and the tables of the documents all come from that declaration.

import { MosError } from "mixture-of-shards-graph/common";
import { z } from "zod";
import { readFileSync } from "#platform";
import { unknownName } from "./similar-name.ts";

/** One setting, made by `setting`. Its output includes undefined where it may be left out and has no default. */
export type Setting<Value = unknown> = z.ZodType<Value>;
/** Settings by name: the shape of a zod object. */
export type Settings = Readonly<Record<string, Setting>>;
/** Values of settings, defaults filled in. */
export type SettingValues<S extends Settings> = { readonly [K in keyof S]: z.output<S[K]> };
/** Values as given: missing ones have their defaults. */
export type SettingInput<S extends Settings> = { readonly [K in keyof S]?: z.output<S[K]> | undefined };

/** `maxActiveJobs` is `max_active_jobs`. */
export const snakeCase = (name: string): string =>
  name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** Texts about a setting, which its schema does not have. */
interface About {
  /** Effect of the option, in half a sentence; for a flag that is on by default, the effect of switching it off. */
  readonly help: string;
  /** Name of the value in help texts: the `n` of `--steps <n>`. */
  readonly placeholder?: string;
  /** Text of the default: `5GB` for 5e9, or a description if it is not a constant. */
  readonly defaultText?: string;
  /** True if most users need it: help shows it first. */
  readonly common?: boolean;
  /** True for an object that the command line takes as the path of a JSON file. */
  readonly file?: boolean;
  /** Name in a form, where the setting's own says too little. */
  readonly label?: string;
  /** Heading of the help. */
  readonly group?: string;
}

/** Not zod's global registry, all of which is printed into JSON schemas. */
const texts = z.registry<Partial<About>>();

/** A setting of the values that a schema accepts. Its description is a noun phrase for messages: "a probability". */
export function setting<S extends z.ZodType>(
  check: S,
  about: About & { readonly default: z.output<S> },
): z.ZodDefault<S>;
export function setting<S extends z.ZodType>(check: S, about: About & { readonly required: true }): S;
export function setting<S extends z.ZodType>(check: S, about: About): z.ZodOptional<S>;
export function setting(
  check: z.ZodType,
  { default: standard, required, ...about }: About & { readonly default?: unknown; readonly required?: true },
): z.ZodType {
  if (standard !== undefined) return check.default(() => standard).register(texts, about);
  return (required ? check.clone() : check.optional()).register(texts, about);
}

/** Yes or no, and no by default. Its option is `--name`, or `--no-name` where it is on by default. */
export const flag = (about: About & { readonly default?: boolean }): z.ZodDefault<z.ZodBoolean> =>
  setting(z.boolean(), { default: false, ...about });

/** A size in bytes. On the command line it may have a unit. */
export const bytes = (min = 0) =>
  z.int().min(min).meta({ description: "a whole number of bytes", unit: "byte" });

/** A text that matches a pattern, and what texts do: "a name without blanks". */
export const matching = (pattern: RegExp, what: string) => z.string().regex(pattern, what).describe(what);

/** One or more values, all different. */
export const distinct = <S extends z.ZodType>(element: S) =>
  z
    .array(element)
    .min(1)
    .refine((values) => new Set(values).size === values.length)
    .meta({ uniqueItems: true })
    .readonly();

/** The schema of a value that was given, without its default. */
const checkOf = (schema: Setting): Setting =>
  schema instanceof z.ZodDefault || schema instanceof z.ZodOptional ? (schema.unwrap() as Setting) : schema;

/** The same setting with other texts or another default. */
export function adjust<
  S extends Setting,
  const Change extends Partial<About> & { readonly default?: Exclude<z.output<S>, undefined> },
>(
  schema: S,
  { default: standard, ...change }: Change,
): Change extends { readonly default: unknown } ? z.ZodType<Exclude<z.output<S>, undefined>> : S {
  const adjusted = standard === undefined ? schema.clone() : checkOf(schema).default(() => standard);
  // whether there is a default is known here, not to the compiler
  return adjusted.register(texts, { ...texts.get(schema), ...change }) as never;
}

/** The innermost schema, which a command line is read for: that of the first method where methods differ. */
function plain(schema: z.core.$ZodType): z.core.$ZodType {
  if (schema instanceof z.ZodReadonly) return plain(schema.unwrap());
  if (schema instanceof z.ZodPipe) return plain(schema.in);
  return schema instanceof z.ZodUnion ? plain(schema.options[0] ?? z.unknown()) : schema;
}

type Kind = "integer" | "number" | "bytes" | "flag" | "choice" | "text" | "list" | "object";

function kindOf(schema: z.core.$ZodType): Kind {
  if (schema instanceof z.ZodNumber && schema.meta()?.["unit"] === "byte") return "bytes";
  if (schema instanceof z.ZodNumber) return schema.isInt ? "integer" : "number";
  if (schema instanceof z.ZodBoolean) return "flag";
  if (schema instanceof z.ZodEnum) return "choice";
  if (schema instanceof z.ZodArray) return "list";
  return schema instanceof z.ZodString ? "text" : "object";
}

/** A list of any texts grows by each use of its option; the values of others are typed with commas between them. */
const isListOfTexts = (schema: z.core.$ZodType): schema is z.ZodArray =>
  schema instanceof z.ZodArray &&
  plain(schema.element) instanceof z.ZodString &&
  schema.meta()?.["uniqueItems"] !== true;

const PLACEHOLDERS: Readonly<Record<Kind | "names", string>> = {
  integer: "n",
  number: "x",
  bytes: "size",
  flag: "",
  choice: "name",
  text: "text",
  list: "list",
  names: "names",
  object: "json",
};

/** What a schema and its texts say of a setting. */
export function settingInfo(schema: Setting = z.unknown()) {
  const check = checkOf(schema);
  const form = plain(check);
  const kind = kindOf(form);
  const element = form instanceof z.ZodArray ? plain(form.element) : form;
  const choices = element instanceof z.ZodEnum ? element.options.map(String) : undefined;
  const isRepeated = isListOfTexts(form);
  const about = texts.get(schema) ?? {};
  return {
    about,
    kind,
    help: about.help ?? "",
    placeholder:
      about.placeholder ?? PLACEHOLDERS[isRepeated ? "text" : kind === "list" && choices ? "names" : kind],
    isRequired: check === schema,
    isCommon: about.common ?? false,
    /** True if each use of the option adds one entry to a list. */
    isRepeated,
    group: about.group,
    defaultText: about.defaultText,
    default: schema instanceof z.ZodDefault ? schema.def.defaultValue : undefined,
    /** All values of a choice, or the names that a list may hold. */
    choices,
    /** Checks a value that was given. */
    check,
    /** The end of an error message: "a whole number, 1 or more". */
    get expected(): string {
      return expected(check);
    },
    /** The same for what was typed: "a size of 1B or more, such as 2GB". */
    get expectedText(): string {
      return describeText(toJson(check), about.file);
    },
    /** Parses a value of the command line without checking it; gives NaN or undefined for text that is no such value. */
    read: (text: string): unknown => readText(text, form, about.file),
  };
}
/** What a schema and its texts say of a setting. */
export type SettingInfo = ReturnType<typeof settingInfo>;

function readText(text: string, form: z.core.$ZodType, isFile = false): unknown {
  switch (kindOf(form)) {
    case "integer":
      return /^-?\d[\d_]*$/.test(text) ? Number(text.replaceAll("_", "")) : Number.NaN;
    case "number":
      return text.trim() === "" ? Number.NaN : Number(text);
    case "bytes":
      return readBytes(text);
    case "flag":
      return text === "true";
    case "list": {
      if (isListOfTexts(form) || !(form instanceof z.ZodArray)) return [text];
      const element = plain(form.element);
      return text.split(",").map((part) => readText(part.trim(), element));
    }
    case "object":
      return readJson(text, isFile);
    default:
      return text;
  }
}

/** `2GB`, `500 MB`, `1.5GiB`; without a unit the bytes themselves. */
function readBytes(text: string): number {
  const [, digits, prefix = " ", binary] =
    /^(\d+(?:\.\d+)?) ?(?:(?:([kmgt])(i)?)?b)?$/i.exec(text.trim()) ?? [];
  if (digits === undefined) return Number.NaN;
  const power = " kmgt".indexOf(prefix.toLowerCase());
  return Math.round(Number(digits) * (binary === undefined ? 1000 : 1024) ** power);
}

/** Undefined for a file that is missing, and for text that is not JSON. */
function readJson(text: string, isFile: boolean): unknown {
  try {
    return JSON.parse(isFile ? readFileSync(text, "utf8") : text);
  } catch {
    return undefined;
  }
}

type Json = z.core.JSONSchema.JSONSchema;

const toJson = (schema: z.core.$ZodType): Json =>
  z.toJSONSchema(schema, { io: "input", unrepresentable: "any" });

/** The values that a schema accepts, or those so deep in its lists, as the end of an error message: "a whole number, 1 or more". */
export function expected(schema: z.core.$ZodType, depth = 0): string {
  let json = toJson(schema);
  for (let level = 0; level < depth && json.items !== undefined; level++) json = json.items as Json;
  return describe(json);
}

function describe({ type, description, items, anyOf, propertyNames, ...json }: Json): string {
  if (anyOf !== undefined) return [...new Set(anyOf.map((one) => describe(one as Json)))].join(" or ");
  if (json.enum !== undefined) return `one of ${json.enum.join(", ")}`;
  switch (type) {
    case "integer":
      return describeRange(description ?? "a whole number", json);
    case "number":
      return describeRange(description ?? "a number", json);
    case "boolean":
      return "true or false";
    case "array":
      return description ?? describeList(items as Json);
    case "object":
      if (description !== undefined) return `an object: ${description}`;
      return propertyNames === undefined ? "an object" : "an object, name to value";
    default:
      return description ?? "a string";
  }
}

const describeList = (items: Json): string =>
  items.enum === undefined ? "a list of strings" : `a list of one or more of ${items.enum.join(", ")}`;

/** Zod bounds every whole number, which is not worth saying. */
const bound = (value = Number.POSITIVE_INFINITY): number | undefined =>
  Math.abs(value) < Number.MAX_SAFE_INTEGER ? value : undefined;

function describeRange(what: string, json: Json): string {
  const [min, max] = [bound(json.minimum), bound(json.maximum)];
  const { exclusiveMinimum: above, exclusiveMaximum: below } = json;
  if (above !== undefined) return `${what} above ${above}${max === undefined ? "" : ` and up to ${max}`}`;
  if (below !== undefined && min !== undefined) return `${what} from ${min} to below ${below}`;
  if (min !== undefined)
    return max === undefined ? `${what}, ${min} or more` : `${what} from ${min} to ${max}`;
  return max === undefined ? what : `${what} up to ${max}`;
}

/** The same of text that is typed. */
function describeText(json: Json, isFile = false): string {
  const { type, description, items, uniqueItems } = json;
  if (json["unit"] === "byte") return `a size of ${json.minimum}B or more, such as 500MB, 2GB or 1.5GiB`;
  if (type === "object" && isFile) return `the path of a JSON file with ${description}`;
  if (type === "object") return 'a JSON object such as {"name": true}';
  if (type !== "array") return describe(json);
  const element = items as Json;
  if (element.enum !== undefined)
    return `one or more of ${element.enum.join(", ")}, with commas between them`;
  if (element.type === "string" && !uniqueItems) return describe(json);
  return `${describe(element)}; or several ${uniqueItems ? "different " : ""}ones, with commas between them`;
}

/** The given values that belong to these settings, without undefined ones. */
export function pick<S extends Settings>(settings: S, values: SettingInput<S>): SettingInput<S> {
  return Object.fromEntries(
    Object.entries(values).filter(([name, value]) => name in settings && value !== undefined),
  ) as SettingInput<S>;
}

/** A value as a person would write it, truncated to a number of characters. */
export function show(value: unknown, maxLength = Number.POSITIVE_INFINITY): string {
  if (value === undefined) return "nothing";
  if (typeof value === "number" || typeof value === "bigint") return String(value);
  const text = JSON.stringify(value) ?? `a ${typeof value}`;
  return text.length > maxLength ? `${text.slice(0, maxLength)}…` : text;
}

/**
 * Checks settings and fills in their defaults.
 *
 * @throws MosError `bad_option` with the name of the setting, what was given, and what would be accepted.
 */
export function parseSettings<S extends Settings>(
  settings: S,
  given: Readonly<Record<string, unknown>>,
): SettingValues<S> {
  const parsed = z.strictObject(settings).safeParse(given);
  if (parsed.success) return parsed.data as SettingValues<S>;
  const [issue] = parsed.error.issues;
  if (issue?.code === "unrecognized_keys") {
    const [first = ""] = issue.keys;
    throw unknownName(`${first}: unknown setting`, first, Object.keys(settings));
  }
  const [name = "", ...inside] = issue?.path.map(String) ?? [];
  const value = Object.entries(given).find(([key]) => key === name)?.[1];
  const setting = settings[name] ?? z.unknown();
  throw new MosError(
    "bad_option",
    `${name}: ${show(value)} is invalid; give ${expected(setting, inside.length)}`,
  );
}

/** The entries that have a value. */
export function omitUndefined<T extends object>(
  values: T,
): { readonly [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
