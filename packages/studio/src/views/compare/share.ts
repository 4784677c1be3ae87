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
import { flag, list, nullable, number, object, oneOf, optional, text } from "./decode.ts";
import type { Settings } from "./settings.ts";

/** What one of the models answered. */
export interface SavedAnswer {
  readonly model: string;
  readonly answer: Answer;
}

export interface SavedTurn {
  readonly user: string;
  readonly seed: number;
  readonly answers: readonly SavedAnswer[];
}

/** A comparison with all its answers. */
export interface Comparison {
  readonly models: readonly string[];
  readonly settings: Settings;
  readonly turns: readonly SavedTurn[];
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
    object<SavedTurn>({
      user: text,
      seed: number,
      answers: list(object<SavedAnswer>({ model: text, answer: answerSchema })),
    }),
  ),
});
