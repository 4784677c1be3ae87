// A setting is declared once, as data, in the module that uses it: its values, its default, and its effect. The
// check of a library call, the option of a command and the tables of the documents all come from that declaration.
import { z } from "zod";
import { readFileSync } from "#platform";
import { MosError } from "./error.ts";
import { unknownName } from "./similar-name.ts";

/** One setting. `Value` includes undefined where it may be left out and has no default. */
export interface Setting<Value = unknown> {
  readonly kind: "integer" | "number" | "bytes" | "flag" | "choice" | "text" | "list" | "object";
  /** Effect of the option, in half a sentence; for a flag that is on by default, the effect of switching it off. */
  readonly help: string;
  /** Name of the value in help texts: the `n` of `--steps <n>`. */
  readonly placeholder: string;
  /** The end of an error message: "give a whole number, 1 or more". */
  readonly expected: string;
  /** The same for what was typed, where that is not the value itself: "a size of 1B or more, such as 2GB". */
  readonly expectedText: string;
  readonly isRequired: boolean;
  /** True if most users need it: help shows it first. */
  readonly isCommon: boolean;
  readonly default: Value | undefined;
  /** Text of the default: `5GB` for 5e9, or a description if it is not a constant. */
  readonly defaultText: string | undefined;
  /** All values of a choice, or the names that a list may hold. */
  readonly choices: readonly string[] | undefined;
  /** True if each use of the option adds one entry to a list. */
  readonly isRepeated: boolean;
  /** Checks a value that was given. */
  readonly check: z.ZodType<Exclude<Value, undefined>>;
  /** The same with the default filled in. */
  readonly schema: z.ZodType<Value>;
  /** Parses a value of the command line without checking it; gives NaN or undefined for text that is no such value. */
  readonly read: (text: string) => unknown;
}

/** `maxActiveJobs` is `max_active_jobs`. */
export const snakeCase = (name: string): string =>
  name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** Settings by name. */
export type Settings = Readonly<Record<string, Setting>>;
/** The value of a setting, its default filled in. */
type SettingValue<S> = S extends Setting<infer Value> ? Value : never;
/** Values of settings, defaults filled in. */
export type SettingValues<S extends Settings> = { readonly [K in keyof S]: SettingValue<S[K]> };
/** Values as given: missing ones have their defaults. */
export type SettingInput<S extends Settings> = { readonly [K in keyof S]?: SettingValue<S[K]> | undefined };

interface About<Value> {
  readonly help: string;
  readonly placeholder?: string;
  readonly default?: Value;
  readonly defaultText?: string;
  readonly required?: boolean;
  readonly common?: boolean;
}
interface Bounds {
  readonly min?: number;
  readonly max?: number;
}
interface NumberBounds extends Bounds {
  /** Every number greater than this. */
  readonly above?: number;
  /** Every number less than this. */
  readonly below?: number;
  /** Description of the number in messages: "a probability". */
  readonly what?: string;
}

/** Type of a setting that has neither a default nor a value. */
type Absent<Options> = Options extends { readonly required: true } | { readonly default: unknown }
  ? never
  : undefined;

interface Form<Value> {
  readonly kind: Setting["kind"];
  readonly placeholder: string;
  readonly expected: string;
  readonly expectedText?: string;
  readonly choices?: readonly string[];
  readonly isRepeated?: boolean;
  readonly check: z.ZodType<Value>;
  readonly read: (text: string) => unknown;
}

function setting<Value, const Options extends About<Value>>(
  options: Options,
  { check, ...form }: Form<Value>,
): Setting<Value | Absent<Options>> {
  const { help, placeholder, default: standard, defaultText, required = false, common = false } = options;
  // zod takes readonly lists for defaults only as a function
  const schema =
    standard !== undefined ? check.default(() => standard as never) : required ? check : check.optional();
  const made = {
    ...form,
    check,
    help,
    placeholder: placeholder ?? form.placeholder,
    expectedText: form.expectedText ?? form.expected,
    choices: form.choices,
    isRepeated: form.isRepeated ?? false,
    isRequired: required,
    isCommon: common,
    default: standard,
    defaultText,
    schema,
  };
  // undefined is a value of it exactly where the schema is optional
  return made as Setting<unknown> as Setting<Value | Absent<Options>>;
}

/** The message of a zod schema: what would be accepted. */
const expected = (what: string) => ({ error: `give ${what}` });

const between = (what: string, { min, max }: Bounds): string =>
  min === undefined
    ? max === undefined
      ? what
      : `${what} up to ${max}`
    : max === undefined
      ? `${what}, ${min} or more`
      : `${what} from ${min} to ${max}`;

/** Whole numbers as text; underscores may group digits. */
const readInteger = (text: string): number =>
  /^-?\d[\d_]*$/.test(text) ? Number(text.replaceAll("_", "")) : Number.NaN;

const readNumber = (text: string): number => (text.trim() === "" ? Number.NaN : Number(text));

/** A whole number, both bounds included. */
export function integer<const Options extends About<number> & Bounds>(
  options: Options,
): Setting<number | Absent<Options>> {
  const { min = Number.MIN_SAFE_INTEGER, max = Number.MAX_SAFE_INTEGER } = options;
  const what = between("a whole number", options);
  const message = expected(what);
  return setting(options, {
    kind: "integer",
    placeholder: "n",
    expected: what,
    check: z.int(message).min(min, message).max(max, message),
    read: readInteger,
  });
}

const rangeText = ({ what = "a number", above, below, ...bounds }: NumberBounds): string => {
  if (above !== undefined)
    return bounds.max === undefined
      ? `${what} above ${above}`
      : `${what} above ${above} and up to ${bounds.max}`;
  if (below !== undefined && bounds.min !== undefined) return `${what} from ${bounds.min} to below ${below}`;
  return between(what, bounds);
};

/** A finite number in a range. */
export function number<const Options extends About<number> & NumberBounds>(
  options: Options,
): Setting<number | Absent<Options>> {
  const { min, max, above, below } = options;
  const what = rangeText(options);
  const message = expected(what);
  let check = z.number(message);
  if (min !== undefined) check = check.min(min, message);
  if (max !== undefined) check = check.max(max, message);
  if (above !== undefined) check = check.gt(above, message);
  if (below !== undefined) check = check.lt(below, message);
  return setting(options, { kind: "number", placeholder: "x", expected: what, check, read: readNumber });
}

const UNITS: Readonly<Record<string, number>> = {
  "": 1,
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
};

/** `2GB`, `500 MB`, `1.5GiB`; without a unit the bytes themselves. */
function readBytes(text: string): number {
  const [, digits = "", unit = ""] = /^(\d+(?:\.\d+)?) ?([kmgt]?i?b)?$/i.exec(text.trim()) ?? [];
  const factor = UNITS[unit.toLowerCase()];
  return digits === "" || factor === undefined ? Number.NaN : Math.round(Number(digits) * factor);
}

/** A size in bytes. On the command line it may have a unit. */
export function bytes<const Options extends About<number> & Bounds>(
  options: Options,
): Setting<number | Absent<Options>> {
  const { min = 0 } = options;
  const what = `a whole number of bytes, ${min} or more`;
  const message = expected(what);
  return setting(options, {
    kind: "bytes",
    placeholder: "size",
    expected: what,
    expectedText: `a size of ${min}B or more, such as 500MB, 2GB or 1.5GiB`,
    check: z.int(message).min(min, message),
    read: readBytes,
  });
}

/** Yes or no. Its option is `--name`, or `--no-name` where it is on by default. */
export const flag = ({ default: standard = false, ...about }: About<boolean>): Setting<boolean> =>
  setting(
    { ...about, default: standard },
    {
      kind: "flag",
      placeholder: "",
      expected: "true or false",
      check: z.boolean(expected("true or false")),
      read: (text) => text === "true",
    },
  );

/** One of some names. */
export function choice<const Name extends string, const Options extends About<Name>>(
  names: readonly Name[],
  options: Options,
): Setting<Name | Absent<Options>> {
  const what = `one of ${names.join(", ")}`;
  return setting(options, {
    kind: "choice",
    placeholder: "name",
    expected: what,
    choices: names,
    check: z.enum(names, expected(what)),
    read: (text) => text,
  });
}

/** Any text, or text that matches a pattern. */
export function text<
  const Options extends About<string> & { readonly pattern?: RegExp; readonly what?: string },
>(options: Options): Setting<string | Absent<Options>> {
  const { pattern, what = "a string" } = options;
  const message = expected(what);
  return setting(options, {
    kind: "text",
    placeholder: "text",
    expected: what,
    check: pattern === undefined ? z.string(message) : z.string(message).regex(pattern, message),
    read: (given) => given,
  });
}

/** Values by name. On the command line they are written in JSON. */
export function jsonObject<const Options extends About<Readonly<Record<string, unknown>>>>(
  options: Options,
): Setting<Readonly<Record<string, unknown>> | Absent<Options>> {
  const what = "an object, name to value";
  return setting(options, {
    kind: "object",
    placeholder: "json",
    expected: what,
    expectedText: 'a JSON object such as {"name": true}',
    check: z.record(z.string(), z.unknown(), expected(what)),
    read: readJsonText,
  });
}

/** Values by name. On the command line they are in a file. */
export function jsonFile<
  const Options extends About<Readonly<Record<string, unknown>>> & { readonly what: string },
>(options: Options): Setting<Readonly<Record<string, unknown>> | Absent<Options>> {
  const { what } = options;
  return setting(options, {
    kind: "object",
    placeholder: "file",
    expected: `an object: ${what}`,
    expectedText: `the path of a JSON file with ${what}`,
    check: z.record(z.string(), z.unknown(), expected(`an object: ${what}`)),
    read: readJsonFile,
  });
}

/** Undefined for a file that is not there or has no JSON. */
function readJsonFile(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch {
    return undefined;
  }
}

/** Undefined for what is no JSON. */
function readJsonText(given: string): unknown {
  try {
    return JSON.parse(given);
  } catch {
    return undefined;
  }
}

/** Several texts; each use of the option adds one. */
export function texts<const Options extends About<readonly string[]>>(
  options: Options,
): Setting<readonly string[] | Absent<Options>> {
  const what = "a list of strings";
  return setting(options, {
    kind: "list",
    placeholder: "text",
    expected: what,
    isRepeated: true,
    check: z.array(z.string(expected(what)), expected(what)).readonly(),
    read: (given) => [given],
  });
}

/** One or more of some names; on the command line with commas between them. */
export function names<const Name extends string, const Options extends About<readonly Name[]>>(
  known: readonly Name[],
  options: Options,
): Setting<readonly Name[] | Absent<Options>> {
  const what = `a list of one or more of ${known.join(", ")}`;
  const message = expected(what);
  return setting(options, {
    kind: "list",
    placeholder: "names",
    expected: what,
    expectedText: `one or more of ${known.join(", ")}, with commas between them`,
    choices: known,
    check: z
      .array(z.enum(known, expected(`one of ${known.join(", ")}`)), message)
      .min(1, message)
      .readonly(),
    read: (given) => given.split(",").map((part) => part.trim()),
  });
}

/** One or more values of a kind, which differ unless `mayRepeat`; on the command line with commas between them. */
export function list<
  Value,
  const Options extends About<readonly Value[]> & { readonly what: string; readonly mayRepeat?: boolean },
>(
  { check, read, expectedText }: Setting<Value | undefined>,
  options: Options,
): Setting<readonly Value[] | Absent<Options>> {
  const { what, mayRepeat = false } = options;
  const message = expected(what);
  const isSet = (values: readonly unknown[]): boolean => mayRepeat || new Set(values).size === values.length;
  return setting<readonly Value[], Options>(options, {
    kind: "list",
    placeholder: "list",
    expected: what,
    expectedText: `${expectedText}; or several ${mayRepeat ? "" : "different "}ones, with commas between them`,
    check: z.array(check, message).min(1, message).refine(isSet, message).readonly(),
    read: (given) => given.split(",").map((part) => read(part.trim())),
  });
}

/** The same setting with another default or another help. */
export function adjust<
  Value,
  const Change extends {
    readonly default?: Exclude<Value, undefined>;
    readonly help?: string;
    readonly defaultText?: string;
  },
>(
  setting: Setting<Value>,
  change: Change,
): Setting<Change extends { readonly default: unknown } ? Exclude<Value, undefined> : Value> {
  const { default: standard } = change;
  const schema = standard === undefined ? setting.schema : setting.check.default(() => standard as never);
  return { ...setting, ...change, schema } as never;
}

/** The given values that belong to these settings, without undefined ones. */
export function pick<S extends Settings>(settings: S, values: SettingInput<S>): SettingInput<S> {
  return Object.fromEntries(
    Object.entries(values).filter(([name, value]) => name in settings && value !== undefined),
  ) as SettingInput<S>;
}

/** The zod shape of settings, to be part of a larger schema. */
export function settingsShape<S extends Settings>(
  settings: S,
): { readonly [K in keyof S]: z.ZodType<SettingValue<S[K]>> } {
  return Object.fromEntries(Object.entries(settings).map(([name, { schema }]) => [name, schema])) as {
    [K in keyof S]: z.ZodType<SettingValue<S[K]>>;
  };
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
 * @example
 * const { steps } = parseSettings({ steps: integer({ min: 1, default: 100, help: "updates to make" }) }, {});
 */
export function parseSettings<S extends Settings>(
  settings: S,
  given: Readonly<Record<string, unknown>>,
): SettingValues<S> {
  const parsed = z.strictObject(settingsShape(settings)).safeParse(given);
  if (parsed.success) return parsed.data as SettingValues<S>;
  const [issue] = parsed.error.issues;
  if (issue?.code === "unrecognized_keys") {
    const [first = ""] = issue.keys;
    throw unknownName(`${first}: unknown setting`, first, Object.keys(settings));
  }
  const name = String(issue?.path[0] ?? "settings");
  const value = Object.entries(given).find(([key]) => key === name)?.[1];
  throw new MosError("bad_option", `${name}: ${show(value)} is invalid; ${issue?.message}`);
}

/** The entries that have a value. */
export function omitUndefined<T extends object>(
  values: T,
): { readonly [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
