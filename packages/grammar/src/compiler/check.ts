import { GrammarError, type GrammarSource } from "#grammar";

/** Levels of sources within sources. */
const MAX_DEPTH = 64;
/** Sources within a source, itself included. */
const MAX_SOURCES = 50_000;
/** Repetitions of a part that are counted. */
const MAX_COUNT = 10_000;

const article = (noun: string): string => (/^[aeiou]/.test(noun) ? `an ${noun}` : `a ${noun}`);

const shown = (value: unknown): string => {
  if (value === undefined) return "missing";
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  if (typeof value === "number") return String(value);
  return typeof value === "string" ? JSON.stringify(value.slice(0, 40)) : article(typeof value);
};

type Field = readonly [isValid: (value: unknown) => boolean, expected: string];

const isText = (value: unknown): value is string => typeof value === "string";
/** Half of a surrogate pair has no bytes in UTF-8, so that no model could write it. */
const isSpelled = (value: unknown): value is string => isText(value) && !/\p{Surrogate}/u.test(value);
const isCount = (value: unknown): boolean =>
  typeof value === "number" && Number.isInteger(value) && value >= 0;
const isTexts = (value: unknown): boolean =>
  Array.isArray(value) && value.length > 0 && value.every(isSpelled);

const TEXT: Field = [isText, "a string"];
const SPELLED: Field = [isSpelled, "a string without lone surrogates"];
const SOURCE: Field = [(value) => typeof value === "object" && value !== null, "a source"];
const WHITESPACE: Field = [
  (value) => value === undefined || value === "compact" || value === "flexible",
  '"compact" or "flexible"',
];
const optionally = ([isValid, expected]: Field): Field => [
  (value) => value === undefined || isValid(value),
  expected,
];

const isScalar = (value: unknown): boolean =>
  value === null || isText(value) || typeof value === "boolean" || Number.isFinite(value);

/** What is within a value: holes of an array count, members that are undefined do not. */
const contents = (value: object): readonly unknown[] =>
  Array.isArray(value) ? Array.from(value) : Object.values(value).filter((item) => item !== undefined);

/** Whether a value is what JSON can say. One that contains itself is not looked at twice. */
function isJson(value: unknown): boolean {
  const seen = new Set<object>();
  const left = [value];
  while (left.length > 0) {
    const next = left.pop();
    if (typeof next !== "object" || next === null) {
      if (!isScalar(next)) return false;
    } else if (!seen.has(next)) {
      seen.add(next);
      for (const item of contents(next)) left.push(item);
    }
  }
  return true;
}

type FieldsOf<T extends GrammarSource["type"]> = Readonly<
  Record<Exclude<keyof Extract<GrammarSource, { type: T }>, "type">, Field>
>;

const FIELDS: { readonly [T in GrammarSource["type"]]: FieldsOf<T> } = {
  json_schema: {
    schema: [isJson, "a JSON Schema, whose values are those of JSON"],
    whitespace: WHITESPACE,
    notation: optionally([(value) => typeof value === "object" && value !== null, "a notation"]),
  },
  json_object: { whitespace: WHITESPACE },
  regex: { pattern: TEXT },
  choice: { choices: [isTexts, "an array of at least one string, none with lone surrogates"] },
  lark: { text: TEXT },
  gbnf: { text: TEXT },
  text: { text: SPELLED },
  special_token: { token: [(value) => isSpelled(value) && value !== "", "a string that is not empty"] },
  free_text: {
    without: [
      (value) =>
        value === undefined ||
        (Array.isArray(value) && value.every((text) => isSpelled(text) && text !== "")),
      "an array of strings that are not empty",
    ],
  },
  json_string: {
    of: SOURCE,
    quote: [(value) => value === undefined || value === '"' || value === "'", "a quote"],
  },
  sequence: { parts: [Array.isArray, "an array of sources"] },
  any_of: {
    options: [(value) => Array.isArray(value) && value.length > 0, "an array of at least one source"],
  },
  repeat: {
    of: SOURCE,
    min: [isCount, "an integer of at least 0"],
    max: optionally([isCount, "an integer of at least 0"]),
    separator: optionally(SOURCE),
  },
};

const isType = (type: unknown): type is GrammarSource["type"] => isText(type) && Object.hasOwn(FIELDS, type);

/** Checks sources as they are visited, with the number of them and their depth. */
export class SourceCheck {
  #sources = 0;

  /**
   * Checks a source without those within it. `path` names it in messages, "" for the outermost.
   *
   * @throws GrammarError `bad_grammar` that names the field, or `limit`.
   */
  check(value: unknown, { path, depth }: { readonly path: string; readonly depth: number }): GrammarSource {
    const where = path === "" ? "the source" : `the source's ${path}`;
    if (depth > MAX_DEPTH)
      throw new GrammarError("limit", `${where} is nested more than ${MAX_DEPTH} levels deep`);
    if (++this.#sources > MAX_SOURCES)
      throw new GrammarError("limit", `the source has more than ${MAX_SOURCES} sources within it`);
    if (typeof value !== "object" || value === null || Array.isArray(value))
      throw new GrammarError("bad_grammar", `${where} must be an object with a type, but is ${shown(value)}`);
    const { type, ...fields } = value as Readonly<Record<string, unknown>>;
    if (!isType(type)) {
      const types = Object.keys(FIELDS).join(", ");
      throw new GrammarError(
        "bad_grammar",
        `${where} must have one of the types ${types}; its type is ${shown(type)}`,
      );
    }
    checkFields(where, { type, fields });
    return value as GrammarSource;
  }
}

function checkFields(
  where: string,
  {
    type,
    fields,
  }: { readonly type: GrammarSource["type"]; readonly fields: Readonly<Record<string, unknown>> },
): void {
  const known: Readonly<Record<string, Field>> = FIELDS[type];
  for (const name of Object.keys(fields))
    if (!Object.hasOwn(known, name))
      throw new GrammarError("bad_grammar", `${where} of type ${type} has no field ${JSON.stringify(name)}`);
  for (const [name, [isValid, expected]] of Object.entries(known))
    if (!isValid(fields[name]))
      throw new GrammarError(
        "bad_grammar",
        `"${name}" of ${where} of type ${type} must be ${expected}, but is ${shown(fields[name])}`,
      );
  const { min = 0, max = min } = fields;
  if (type !== "repeat" || typeof min !== "number" || typeof max !== "number") return;
  if (max < min)
    throw new GrammarError("bad_grammar", `"max" of ${where} is ${max}, below its "min" of ${min}`);
  if (max > MAX_COUNT)
    throw new GrammarError("limit", `${where} is repeated ${max} times; at most ${MAX_COUNT} can be counted`);
}
