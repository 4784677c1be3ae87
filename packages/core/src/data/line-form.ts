// A format of lines as a schema, and what is wrong with a line in the words of its fields.
import type { z } from "zod";
import { follow, isRecord, readIssues } from "#common";
import { mediaPart } from "#text";
import type { DataKind, Example, Place } from "./example.ts";

/** A format of lines: how it is recognised, a sample, its schema and its meaning. */
interface LineForm<S extends z.ZodType> {
  /** The kind of its examples; "examples" by default. */
  readonly kind?: DataKind;
  /** The fields that a line of this format must have. */
  readonly fields: readonly string[];
  /** Says whether a line with these fields has this format where no kind of data is asked for; it has by default. */
  readonly isLikely?: (line: Readonly<Record<string, unknown>>) => boolean;
  readonly sample: string;
  /** The value with lists in the place of their JSON. */
  readonly prepare?: (value: unknown) => unknown;
  readonly schema: S;
  /** The example, or a sentence (without a full stop) that says why there is nothing to learn from the line. */
  readonly toExample: (value: z.output<S>, place: Place) => Example | string;
}

/** A format of lines that reads a value. */
export const lineForm = <S extends z.ZodType>({
  kind = "examples",
  fields,
  isLikely = () => true,
  sample,
  schema,
  toExample,
  prepare = (value) => value,
}: LineForm<S>) => ({
  kind,
  fields,
  isLikely,
  sample,
  /** Reads a value: the example, or a sentence that says what is wrong. */
  read: (given: unknown, place: Place): Example | string => {
    const value = prepare(given);
    const parsed = schema.safeParse(value);
    return parsed.success ? toExample(parsed.data, place) : describeIssue(parsed.error, value);
  },
});

/** "messages[1].role is "bot"; expected "system", "user" or "assistant"". */
function describeIssue(error: z.ZodError, value: unknown): string {
  const [first] = readIssues(error, value);
  if (first === undefined) return "it cannot be read";
  const { issue, path: keys, found } = first;
  const media = mediaPart(found);
  if (media !== undefined)
    return `${formatPath([...keys, media.index])} is ${media.what}; models are trained on text only`;
  const last = keys.at(-1);
  if (found === undefined && typeof last === "string") {
    const parent = keys.slice(0, -1);
    const owner = parent.length === 0 ? "there is" : `${formatPath(parent)} has`;
    return `${owner} no field "${last}" (found: ${listFields(follow(value, parent))})`;
  }
  return `${formatPath(keys)} is ${describeValue(found)}; expected ${issue.message}`;
}

const formatPath = (keys: readonly (string | number)[]): string =>
  keys.map((key, i) => (typeof key === "number" ? `[${key}]` : i === 0 ? key : `.${key}`)).join("");

const clip = (words: string, limit: number): string =>
  words.length > limit ? `${words.slice(0, limit)}…` : words;

/** The names of an object's fields, for a message. */
export function listFields(value: unknown): string {
  const names = isRecord(value) ? Object.keys(value) : [];
  const shown = names.slice(0, 8).map((name) => JSON.stringify(clip(name, 40)));
  return names.length === 0 ? "no fields" : shown.join(", ") + (names.length > 8 ? ", …" : "");
}

/** Description of a value in a few words, for a message. */
export function describeValue(value: unknown): string {
  if (Array.isArray(value)) return value.length === 0 ? "an empty list" : "a list";
  if (isRecord(value)) return "an object";
  return clip(JSON.stringify(value) ?? "missing", 60);
}

/** Tests whether a text has nothing but white space. */
export const isBlank = (content: string): boolean => content.trim() === "";

/** An instruction with its input, as a user says them. */
export const joinInput = (instruction: string, input: string | null | undefined): string =>
  [instruction, input ?? ""].filter((part) => !isBlank(part)).join("\n\n");
