// A whole comparison as a file, and back.
import { isFields } from "#core";
import {
  type Alternative,
  type Answer,
  type AnswerProblem,
  stopAnswer,
  type Token,
  type ToolCall,
} from "./answer.ts";
import type { Settings } from "./settings.ts";

/** A comparison with all its answers. */
export interface Comparison {
  readonly models: readonly string[];
  readonly settings: Settings;
  readonly turns: readonly {
    readonly user: string;
    readonly seed: number;
    readonly answers: readonly { readonly model: string; readonly answer: Answer }[];
  }[];
}

const FORMAT = "mos-comparison";
const VERSION = 1;

/** Models side by side. A browser opens six connections to a server without HTTP/2; one is left for everything else. */
export const MAX_MODELS = 5;

/** The text of the file. An answer that is still being made is saved as one that was stopped. */
export function writeComparison({ models, settings, turns }: Comparison, savedAt: Date): string {
  const ended = turns.map(({ user, seed, answers }) => ({
    user,
    seed,
    answers: answers.map(({ model, answer }) => ({ model, answer: stopAnswer(answer) })),
  }));
  const head = { format: FORMAT, version: VERSION, saved_at: savedAt.toISOString() };
  return `${JSON.stringify({ ...head, models, settings, turns: ended }, undefined, 1)}\n`;
}

/** The comparison in a file's text. Throws an error that says what is wrong, and where. */
export function readComparison(file: string): Comparison {
  const value = parse(file);
  if (!isFields(value) || value["format"] !== FORMAT)
    throw new Error(`This is no saved comparison: it lacks "format": "${FORMAT}"`);
  const version = value["version"];
  if (version !== VERSION)
    throw new Error(
      `This comparison has version ${JSON.stringify(version)}; this page reads version ${VERSION}`,
    );
  const comparison = comparisonSchema(value, "the comparison");
  const models = [...new Set(comparison.models)];
  if (models.length > MAX_MODELS)
    throw new Error(`This comparison has ${models.length} models; this page shows at most ${MAX_MODELS}`);
  return { ...comparison, models };
}

function parse(file: string): unknown {
  try {
    return JSON.parse(file);
  } catch (cause) {
    throw new Error("This is no saved comparison: it is not JSON", { cause });
  }
}

// Readers of values of an unknown shape: a file that anybody may have written. Errors name the place.

/** Reads a value, or throws an error that names its place. */
type Reader<T> = (value: unknown, place: string) => T;

function wrong(value: unknown, place: string, wanted: string): Error {
  const kind = value === null ? "null" : Array.isArray(value) ? "a list" : `a value of type ${typeof value}`;
  return new Error(`${place} is ${value === undefined ? "missing" : kind}; it has to be ${wanted}`);
}

const reader =
  <T>(is: (value: unknown) => value is T, wanted: string): Reader<T> =>
  (value, place) => {
    if (is(value)) return value;
    throw wrong(value, place, wanted);
  };

const text = reader((value) => typeof value === "string", "text");
const number = reader((value) => typeof value === "number", "a number");
const flag = reader((value) => typeof value === "boolean", "true or false");

const oneOf = <T extends string>(...values: readonly T[]): Reader<T> =>
  reader((value): value is T => values.some((known) => known === value), `one of ${values.join(", ")}`);

const nullable =
  <T>(read: Reader<T>): Reader<T | null> =>
  (value, place) =>
    value === null ? null : read(value, place);

const optional =
  <T>(read: Reader<T>): Reader<T | undefined> =>
  (value, place) =>
    value === undefined ? undefined : read(value, place);

const list =
  <T>(read: Reader<T>): Reader<readonly T[]> =>
  (value, place) => {
    if (!Array.isArray(value)) throw wrong(value, place, "a list");
    return value.map((item: unknown, i) => read(item, `${place}[${i}]`));
  };

/** Members that are not named are left out. */
const object =
  <T extends object>(members: { readonly [K in keyof T]-?: Reader<T[K]> }): Reader<T> =>
  (value, place) => {
    if (!isFields(value)) throw wrong(value, place, "an object");
    const readers: readonly [string, Reader<unknown>][] = Object.entries(members);
    return Object.fromEntries(
      readers.map(([name, read]) => [name, read(value[name], `${place}.${name}`)]),
    ) as T;
  };

const token = object<Token>({
  text,
  bytes: optional(list(number)),
  logprob: nullable(number),
  top: list(object<Alternative>({ text, logprob: number })),
});

const call = object<ToolCall>({ id: text, kind: oneOf("function", "custom"), name: text, text });

const answerSchema = object<Answer>({
  status: oneOf("done", "stopped", "failed"),
  text,
  reasoning: text,
  calls: list(call),
  tokens: list(token),
  finish: nullable(text),
  count: number,
  sentAt: number,
  firstAt: nullable(number),
  lastAt: nullable(number),
  problem: nullable(object<AnswerProblem>({ message: text, code: optional(text) })),
});

const settingsSchema = object<Settings>({
  mode: oneOf("chat", "text"),
  system: text,
  temperature: optional(number),
  topP: optional(number),
  maxTokens: optional(number),
  seed: optional(number),
  tools: text,
  schema: text,
  logprobs: flag,
});

const comparisonSchema = object<Comparison>({
  models: list(text),
  settings: settingsSchema,
  turns: list(
    object<Comparison["turns"][number]>({
      user: text,
      seed: number,
      answers: list(object({ model: text, answer: answerSchema })),
    }),
  ),
});
