import { type ErrorCode, errorText, MosError } from "mixture-of-shards-graph/common";
import type { z } from "zod";

const KINDS: Readonly<Record<string, string>> = {
  number: "a number",
  int: "a whole number",
  string: "a string",
  boolean: "true or false",
  object: "an object",
  record: "an object",
  array: "a list",
  tuple: "a list",
};

const listOf = (values: readonly unknown[]): string =>
  values.map((value) => JSON.stringify(value)).join(" or ");

/** Description of an acceptable value. */
function expectedBy(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case "invalid_type":
      return KINDS[issue.expected] ?? issue.expected;
    case "invalid_value":
      return listOf(issue.values);
    case "invalid_union":
      // none of the values of the field that tells the members of the union apart
      if ("options" in issue && issue.options !== undefined) return listOf(issue.options);
      return issue.errors.flatMap(([first]) => (first === undefined ? [] : [expectedBy(first)])).join(" or ");
    case "invalid_key":
      return issue.issues[0]?.message ?? issue.message;
    case "too_small":
      return describeLimit(
        issue,
        issue.inclusive === false ? `more than ${issue.minimum}` : `at least ${issue.minimum}`,
      );
    case "too_big":
      return describeLimit(
        issue,
        issue.inclusive === false ? `less than ${issue.maximum}` : `at most ${issue.maximum}`,
      );
    default:
      return issue.message;
  }
}

const describeLimit = ({ origin }: { readonly origin: string }, limit: string): string =>
  origin === "array" ? `${limit} items` : origin === "string" ? `${limit} characters` : limit;

const clip = (text: string, length: number): string =>
  text.length > length ? `${text.slice(0, length)}…` : text;

/** Names that are listed, and characters of each. */
const [MAX_NAMES, MAX_NAME] = [8, 100];

/** Names of fields in quotation marks. They are the client's, and may be megabytes. */
export function quoteNames(keys: readonly string[]): string {
  const listed = keys.slice(0, MAX_NAMES).map((key) => `"${clip(key, MAX_NAME)}"`);
  return listed.join(", ") + (keys.length > MAX_NAMES ? ", …" : "");
}

/** A value in a few words. */
function describeValue(value: unknown): string {
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object" && value !== null) return "an object";
  if (value === Number.POSITIVE_INFINITY || value === Number.NEGATIVE_INFINITY)
    return "out of range for a number";
  return clip(JSON.stringify(typeof value === "string" ? value.slice(0, 40) : value) ?? "missing", 40);
}

/** The value that a path leads to; undefined where there is none. */
export const follow = (value: unknown, path: readonly PropertyKey[]): unknown =>
  path.reduce<unknown>(
    (inner, key) =>
      typeof inner === "object" && inner !== null && Object.hasOwn(inner, key)
        ? (inner as Readonly<Record<PropertyKey, unknown>>)[key]
        : undefined,
    value,
  );

/** What a reference of a JSON schema, a pointer as the fragment of a URI, refers to within the document. */
export function refer(reference: string, root: unknown): unknown {
  if (reference !== "#" && !reference.startsWith("#/")) return undefined;
  try {
    const keys = reference.split("/").slice(1).map(decodeURIComponent);
    const unescaped = keys.map((key) => key.replaceAll("~1", "/").replaceAll("~0", "~"));
    return follow(root, unescaped);
  } catch {
    return undefined; // it is no fragment of a URI
  }
}

/** The issues of a failed parse, each with its path and the value that was found there. */
export const readIssues = ({ issues }: z.ZodError, value: unknown) =>
  issues.map((issue) => {
    const path = issue.path.map((key) => (typeof key === "symbol" ? String(key) : key));
    return { issue, path, found: follow(value, path) };
  });

/** The message of a failed parse: `field "rope_scaling.factor" is "2"; expected a number`. */
export function describeIssues(error: z.ZodError, value: unknown): string {
  const issues = readIssues(error, value);
  const parts = issues.slice(0, 3).map(({ issue, path, found }) => {
    if (issue.code === "unrecognized_keys") return `${quoteNames(issue.keys)} is not a known field`;
    const field = path.map((key) => clip(String(key), MAX_NAME)).join(".");
    return `${field === "" ? "this" : `field "${field}"`} is ${describeValue(found)}; expected ${expectedBy(issue)}`;
  });
  const more = issues.length - parts.length;
  return parts.join(". ") + (more > 0 ? `. And ${more} more` : "");
}

/** Validates an external value. Throws MosError with `code`; the message begins with `where` and names the fields. */
export function parseWith<S extends z.ZodType>(
  schema: S,
  value: unknown,
  { code, where }: { readonly code: ErrorCode; readonly where: string },
): z.output<S> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new MosError(code, `${where}: ${describeIssues(result.error, value)}`, { cause: result.error });
}

/** Bytes as text. Throws MosError with `code` where they are not UTF-8. */
export function decodeText(bytes: Uint8Array, { code, where }: { code: ErrorCode; where: string }): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    throw new MosError(code, `${where}: ${describeEncoding(bytes)}`, { cause: error });
  }
}

/** What bytes are that are not UTF-8. Windows programs write UTF-16, which they call Unicode, with a byte order mark. */
export function describeEncoding(bytes: Uint8Array): string {
  const kind = isUtf16(bytes) ? "the text is UTF-16" : "the text is not valid UTF-8";
  return `${kind}; save it as UTF-8`;
}

/** True for bytes that begin with a byte order mark of UTF-16. */
export const isUtf16 = ([first, second]: Uint8Array): boolean =>
  (first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff);

/** Tests whether a value is an object of JSON. */
export const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Deeper values are not valid input, and would overflow the stack of recursive functions. */
const MAX_DEPTH = 100;

const [QUOTE, COLON, BACKSLASH, FIRST_BRACKET] = [34, 58, 92, 91];
/** Change of the depth by character code. */
const STEPS: Readonly<Record<number, number>> = { 91: 1, 93: -1, 123: 1, 125: -1 };

/** The place of the quote that ends the text that begins at `begin`. */
function findClosingQuote(text: string, begin: number): number {
  let i = begin + 1;
  for (; i < text.length && text.charCodeAt(i) !== QUOTE; i++) if (text.charCodeAt(i) === BACKSLASH) i++;
  return i;
}

/** Counts brackets and colons outside of strings: how deep a text is nested, and how many parts it has. */
function findExcess(text: string, maxParts: number): string | undefined {
  let [depth, parts] = [0, 0];
  for (let i = 0; i < text.length; i++) {
    const character = text.charCodeAt(i);
    if (character === QUOTE) i = findClosingQuote(text, i);
    else if (character === COLON) parts++;
    else if (character >= FIRST_BRACKET) {
      const step = STEPS[character] ?? 0;
      depth += step;
      if (step > 0) parts++;
    }
    if (depth > MAX_DEPTH) return `nested more than ${MAX_DEPTH} levels deep`;
    if (parts > maxParts) return `it holds more than ${maxParts} lists, objects and members`;
  }
  return undefined;
}

/**
 * V8's message without the part of the text that V8 shows: the text may be of another file, to which a link leads, and the
 * message be for somebody who may not read it.
 */
const describeSyntaxError = (error: unknown): string =>
  errorText(error).replace(/^Unexpected token .*$|^".*" is not valid JSON$/s, "unexpected character");

/** Limits of parsing, and code and place of errors. */
interface ParseJsonOptions {
  readonly code: ErrorCode;
  readonly where: string;
  /** Lists, objects and members of objects. Each takes many times the bytes of its text, so they are counted before. */
  readonly maxParts?: number;
}

/** Text as a JSON value. Throws MosError with `code` where it is not JSON, nested more than 100 levels deep, or too much. */
export function parseJson(
  text: string,
  { code, where, maxParts = Number.POSITIVE_INFINITY }: ParseJsonOptions,
): unknown {
  const excess = findExcess(text, maxParts);
  if (excess !== undefined) throw new MosError(code, `${where}: ${excess}`);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new MosError(code, `${where}: not valid JSON (${describeSyntaxError(error)})`, { cause: error });
  }
}

/** Text as a JSON value; undefined where it is not JSON. */
export function tryJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** JSON with the keys of objects sorted, so that equal values give equal text. */
export const canonicalJson = (value: unknown): string =>
  JSON.stringify(value, (_, part: unknown) =>
    part !== null && typeof part === "object" && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
