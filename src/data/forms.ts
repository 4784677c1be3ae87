// The formats of a line of a data set, and the example that it becomes.
import { z } from "zod";
import { readIssues } from "#core";
import { mediaPart } from "#text";

/** A value of a data file. */
export interface NumberedRecord {
  /** Its line, row or number, from 1. */
  readonly line: number;
  readonly value: unknown;
}

/** Source of an example. */
export interface Source {
  /** Unit in which its examples are counted. */
  readonly unit: "line" | "row" | "example";
  /** The file, where a data set has several. */
  readonly file?: string;
}

/** Location of an example. */
export interface Place {
  /** Line of the file, row of the table or number in the list, from 1. */
  readonly line: number;
  /** Lines of the only file without it. */
  readonly source?: Source | undefined;
}

/** "line 3"; of several files "b.jsonl:3" or "b.parquet: row 3". */
export function placeText({ line, source: { unit, file } = { unit: "line" } }: Place): string {
  if (file === undefined) return `${unit} ${line}`;
  return unit === "line" ? `${file}:${line}` : `${file}: ${unit} ${line}`;
}

/** The author of a message. */
export type Role = "system" | "user" | "assistant";

/** One message of a conversation; `isTarget` says whether its tokens are in the loss (assistant messages only). */
export interface Message {
  readonly role: Role;
  readonly content: string;
  readonly isTarget: boolean;
}

/** A conversation, of `messages` or `conversations`, or of an instruction or a question with its answer. */
export interface ChatExample extends Place {
  readonly kind: "chat";
  readonly turns: readonly Message[];
}

/** A text and its continuation, of a `prompt`/`completion` line. */
export interface CompletionExample extends Place {
  readonly kind: "completion";
  readonly prompt: string;
  readonly completion: string;
}

/** A text all of which is learnt, of a `text` line. */
export interface TextExample extends Place {
  readonly kind: "text";
  readonly text: string;
}

/** An example of a data set. */
export type Example = ChatExample | CompletionExample | TextExample;

/** An example as a line of a data file has it. */
export type ExampleInput =
  | {
      /** OpenAI's format; `weight` 0 keeps an assistant message out of the loss. */
      readonly messages: readonly {
        readonly role: Role;
        readonly content: string;
        readonly weight?: 0 | 1;
      }[];
    }
  | {
      /** ShareGPT's format. */
      readonly conversations: readonly {
        readonly from: keyof typeof SPEAKERS;
        readonly value: string;
        readonly weight?: 0 | 1;
      }[];
      readonly system?: string | null;
    }
  | { readonly prompt: string; readonly completion: string }
  | { readonly instruction: string; readonly input?: string | null; readonly output: string }
  | { readonly question: string; readonly answer: string }
  | { readonly text: string };

/** A format of lines: how it is recognised, a sample, its schema and its meaning. */
interface LineForm<S extends z.ZodType> {
  /** The fields that a line of this format must have. */
  readonly fields: readonly string[];
  readonly sample: string;
  readonly schema: S;
  /** The example, or a sentence (without a full stop) that says why there is nothing to learn from the line. */
  readonly toExample: (value: z.output<S>, place: Place) => Example | string;
}

const lineForm = <S extends z.ZodType>({ fields, sample, schema, toExample }: LineForm<S>) => ({
  fields,
  sample,
  /** Reads a value: the example, or a sentence that says what is wrong. */
  read: (value: unknown, place: Place): Example | string => {
    const parsed = schema.safeParse(value);
    return parsed.success ? toExample(parsed.data, place) : describeIssue(parsed.error, value);
  },
});

const text = z.string("a string");
const message = z.object(
  {
    role: z.enum(["system", "user", "assistant"], '"system", "user" or "assistant"'),
    content: text,
    weight: z.union([z.literal(0), z.literal(1)], "0 or 1").optional(),
  },
  "an object with role and content",
);
/** More than any context window holds. */
const MAX_MESSAGES = 10_000;
/** The length comes first: a schema of the items takes seconds and hundreds of megabytes for millions of them. */
const boundedArray = <T extends z.ZodType>(item: T) =>
  z
    .custom<z.input<T>[]>(Array.isArray, "a list of messages")
    .refine(({ length }) => length > 0, "at least one message")
    .refine(({ length }) => length <= MAX_MESSAGES, `a list of at most ${MAX_MESSAGES} messages`)
    .pipe(z.array(item));
const conversation = z.object({ messages: boundedArray(message) });
const SPEAKERS = {
  system: "system",
  human: "user",
  user: "user",
  gpt: "assistant",
  assistant: "assistant",
} as const;
const speaker = z
  .enum(["system", "human", "user", "gpt", "assistant"], '"human", "gpt" or "system"')
  .transform((name) => SPEAKERS[name]);
const sharegptMessage = z.object(
  { from: speaker, value: text, weight: message.shape.weight },
  "an object with from and value",
);
const sharegpt = z.object({
  system: text.nullish(),
  conversations: boundedArray(sharegptMessage),
});
const completion = z.object({ prompt: text, completion: text });
const instruction = z.object({ instruction: text, input: text.nullish(), output: text });
const question = z.object({ question: text, answer: text });
const plainText = z.object({ text });

const isBlank = (content: string): boolean => content.trim() === "";

/** Problem of a conversation; `name` gives a message's place in the line, and `content` its field for the text. */
function findTurnProblem(
  turns: readonly Message[],
  name: (i: number) => string,
  content: string,
): string | undefined {
  for (const [i, turn] of turns.entries()) {
    const { role, isTarget } = turn;
    if (role === "system" && i > 0) return `${name(i)} is a system message; only the first one may be`;
    if (role === "assistant" && turns[i - 1]?.role !== "user" && turns[i - 1]?.role !== "assistant")
      return `${name(i)} is an assistant message with no user message before it`;
    if (isTarget && isBlank(turn.content))
      return `${name(i)}.${content} is empty, so there is nothing to learn`;
  }
  if (turns.some(({ isTarget }) => isTarget)) return undefined;
  return turns.some(({ role }) => role === "assistant")
    ? "every assistant message has weight 0, so there are no target tokens"
    : "there is no assistant message, so there is nothing to learn";
}

/** A question and its answer as a conversation of two messages. */
function asChat(place: Place, ask: string, answer: string): Example {
  const turns: readonly Message[] = [
    { role: "user", content: ask, isTarget: false },
    { role: "assistant", content: answer, isTarget: true },
  ];
  return { kind: "chat", ...place, turns };
}

/** A message as a turn; only what the assistant says is learnt. */
const toMessage = (role: Role, content: string, weight: 0 | 1 = 1): Message => ({
  role,
  content,
  isTarget: role === "assistant" && weight === 1,
});

const messagesForm = lineForm({
  fields: ["messages"],
  sample:
    '{"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Good day."}]}',
  schema: conversation,
  toExample({ messages }, place) {
    const turns = messages.map(({ role, content, weight }) => toMessage(role, content, weight));
    return findTurnProblem(turns, (i) => `messages[${i}]`, "content") ?? { kind: "chat", ...place, turns };
  },
});

const sharegptForm = lineForm({
  fields: ["conversations"],
  sample: '{"conversations": [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Good day."}]}',
  schema: sharegpt,
  toExample({ conversations, system }, place) {
    const before = system == null || isBlank(system) ? [] : [toMessage("system", system)];
    const turns = [
      ...before,
      ...conversations.map(({ from, value, weight }) => toMessage(from, value, weight)),
    ];
    const name = (i: number): string => `conversations[${i - before.length}]`;
    return findTurnProblem(turns, name, "value") ?? { kind: "chat", ...place, turns };
  },
});

const completionForm = lineForm({
  fields: ["prompt", "completion"],
  sample: '{"prompt": "The capital of France is", "completion": " Paris."}',
  schema: completion,
  toExample: ({ prompt, completion: continuation }, place) =>
    isBlank(continuation)
      ? "completion is empty, so there is nothing to learn"
      : { kind: "completion", ...place, prompt, completion: continuation },
});

const instructionForm = lineForm({
  fields: ["instruction", "output"],
  sample: '{"instruction": "Translate into French", "input": "cheese", "output": "fromage"}',
  schema: instruction,
  toExample({ instruction: ask, input, output }, place) {
    const given = [ask, input ?? ""].filter((part) => !isBlank(part));
    if (given.length === 0) return "instruction is empty";
    if (isBlank(output)) return "output is empty, so there is nothing to learn";
    return asChat(place, given.join("\n\n"), output);
  },
});

const questionForm = lineForm({
  fields: ["question", "answer"],
  sample: '{"question": "How much is 2 + 2?", "answer": "2 + 2 = 4"}',
  schema: question,
  toExample({ question: ask, answer }, place) {
    if (isBlank(ask)) return "question is empty";
    return isBlank(answer) ? "answer is empty, so there is nothing to learn" : asChat(place, ask, answer);
  },
});

const textForm = lineForm({
  fields: ["text"],
  sample: '{"text": "All of this text is learnt."}',
  schema: plainText,
  toExample: ({ text: whole }, place) =>
    isBlank(whole) ? "text is empty, so there is nothing to learn" : { kind: "text", ...place, text: whole },
});

/** Every accepted format, in order of precedence for a line that has the fields of two. */
export const FORMS = {
  messages: messagesForm,
  sharegpt: sharegptForm,
  completion: completionForm,
  instruction: instructionForm,
  question: questionForm,
  text: textForm, // last, since tables of other formats may also have a column of the whole text
} as const;

export type FormName = keyof typeof FORMS;

export const FORM_NAMES = Object.keys(FORMS) as readonly FormName[];

/** The end of every message about a line: the accepted formats. */
export const acceptedForms = (names: readonly FormName[]): string =>
  `Accepted formats, one JSON object per line, the same format on every line:\n${names
    .map((name) => `  ${FORMS[name].sample}`)
    .join("\n")}`;

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
    return `${owner} no field "${last}" (found: ${listFields(parent.reduce<unknown>(at, value))})`;
  }
  return `${formatPath(keys)} is ${describeValue(found)}; expected ${issue.message}`;
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function at(value: unknown, key: string | number): unknown {
  if (Array.isArray(value) && typeof key === "number") return value[key];
  return isRecord(value) && Object.hasOwn(value, String(key)) ? value[String(key)] : undefined;
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

/** The first field of a format that a value lacks. */
export const missingField = (name: FormName, value: unknown): string | undefined =>
  FORMS[name].fields.find((field) => !isRecord(value) || !Object.hasOwn(value, field));

/** The first of some formats whose fields a value has, if any. */
export const findForm = (value: unknown, names: readonly FormName[]): FormName | undefined =>
  names.find((name) => missingField(name, value) === undefined);
