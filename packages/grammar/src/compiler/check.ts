import { GrammarError, type GrammarSource } from "#grammar";

/** Levels of sources within sources. */
const MAX_DEPTH = 64;
/** Sources within a source, itself included. */
const MAX_SOURCES = 50_000;
/** Repetitions of a part that are counted. */
const MAX_COUNT = 10_000;

const bad = (message: string): GrammarError => new GrammarError("bad_grammar", message);
const article = (noun: string): string => (/^[aeiou]/.test(noun) ? `an ${noun}` : `a ${noun}`);

const shown = (value: unknown): string => {
  if (value === undefined) return "missing";
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  if (typeof value === "number") return String(value);
  return typeof value === "string" ? JSON.stringify(value.slice(0, 40)) : article(typeof value);
};

type Check = (value: unknown) => boolean;
type Field = readonly [isValid: Check, expected: string];

const isText = (value: unknown): value is string => typeof value === "string";
/** Half of a surrogate pair has no bytes in UTF-8, so that no model could write it. */
const isSpelled = (value: unknown): value is string => isText(value) && !/\p{Surrogate}/u.test(value);
const isMark: Check = (value) => isSpelled(value) && value !== "";
const isCount: Check = (value) => typeof value === "number" && Number.isInteger(value) && value >= 0;
const isWhitespace: Check = (value) => value === "compact" || value === "flexible";
const isFlag: Check = (value) => value === undefined || typeof value === "boolean";
const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const listOf =
  (isValid: Check, min = 0, max = Number.POSITIVE_INFINITY): Check =>
  (value) =>
    Array.isArray(value) && value.length >= min && value.length <= max && value.every(isValid);
const orNone =
  (isValid: Check): Check =>
  (value) =>
    value === undefined || isValid(value);
/** Objects with members of these kinds. */
const having =
  (kinds: Readonly<Record<string, Check>>): Check =>
  (value) =>
    isRecord(value) && Object.entries(kinds).every(([name, isValid]) => isValid(value[name]));

const isNotation = having({
  quotes: listOf(having({ mark: isMark, isToken: isFlag, isEscaped: isFlag })),
  isBare: isFlag,
  words: orNone((value) => isRecord(value) && Object.values(value).every(isMark)),
  members: orNone(having({ name: listOf(isSpelled, 2, 2), end: isSpelled, separator: isSpelled })),
});

const TEXT: Field = [isText, "a string"];
const SPELLED: Field = [isSpelled, "a string without lone surrogates"];
const SOURCE: Field = [(value) => typeof value === "object" && value !== null, "a source"];
const optionally = ([isValid, expected]: Field): Field => [orNone(isValid), expected];
const WHITESPACE = optionally([isWhitespace, '"compact" or "flexible"']);

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
    notation: optionally([isNotation, "a notation, with quotes whose marks are not empty"]),
  },
  json_object: { whitespace: WHITESPACE },
  regex: { pattern: TEXT },
  choice: { choices: [listOf(isSpelled, 1), "an array of at least one string, none with lone surrogates"] },
  lark: { text: TEXT },
  gbnf: { text: TEXT },
  text: { text: SPELLED },
  special_token: { token: [isMark, "a string that is not empty"] },
  free_text: { without: optionally([listOf(isMark), "an array of strings that are not empty"]) },
  json_string: {
    of: SOURCE,
    quote: optionally([(value) => value === '"' || value === "'", "a quote"]),
  },
  sequence: { parts: [Array.isArray, "an array of sources"] },
  any_of: { options: [listOf(() => true, 1), "an array of at least one source"] },
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
    if (!isRecord(value)) throw bad(`${where} must be an object with a type, but is ${shown(value)}`);
    const { type, ...fields } = value;
    if (!isType(type)) {
      const types = Object.keys(FIELDS).join(", ");
      throw bad(`${where} must have one of the types ${types}; its type is ${shown(type)}`);
    }
    checkFields(where, type, fields);
    return value as unknown as GrammarSource;
  }
}

function checkFields(
  where: string,
  type: GrammarSource["type"],
  fields: Readonly<Record<string, unknown>>,
): void {
  const known: Readonly<Record<string, Field>> = FIELDS[type];
  for (const name of Object.keys(fields))
    if (!Object.hasOwn(known, name))
      throw bad(`${where} of type ${type} has no field ${JSON.stringify(name)}`);
  for (const [name, [isValid, expected]] of Object.entries(known))
    if (!isValid(fields[name]))
      throw bad(`"${name}" of ${where} of type ${type} must be ${expected}, but is ${shown(fields[name])}`);
  const { min = 0, max = min } = fields;
  if (type !== "repeat" || typeof min !== "number" || typeof max !== "number") return;
  if (max < min) throw bad(`"max" of ${where} is ${max}, below its "min" of ${min}`);
  if (max > MAX_COUNT)
    throw new GrammarError("limit", `${where} is repeated ${max} times; at most ${MAX_COUNT} can be counted`);
}
