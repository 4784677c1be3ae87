// Examples: what a line of a data set becomes, whatever its format was.
import { createHash } from "#platform";
import type { ChatMessage, CustomTool, FunctionTool, TemplateVariables, Tool } from "#text";

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

/** The author of a message; "tool" returns the result of a call. */
export type Role = "system" | "user" | "assistant" | "tool";

/** One message of a conversation; `isTarget` says whether its tokens are in the loss (assistant messages only). */
export interface Message extends ChatMessage {
  readonly role: Role;
  readonly isTarget: boolean;
  /** Weight of its tokens in the loss, where it is a target of another weight than 1. */
  readonly weight?: number;
}

/** A conversation, of `messages` or `conversations`, or of an instruction or a question with its answer. */
export interface ChatExample extends Place {
  readonly kind: "chat";
  readonly turns: readonly Message[];
  /** The tools that its assistant may call. */
  readonly tools?: readonly Tool[];
  /** False: a message calls one tool at most. */
  readonly parallel?: boolean;
  /** Further variables of the chat template. */
  readonly variables?: TemplateVariables;
  /** What its teacher is told besides: a demonstration, or a remark. */
  readonly hint?: string;
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

/** A prompt with its answer, the only part that is learnt. */
export type AnsweredExample = ChatExample | CompletionExample;

/** Two answers to one prompt, the first of which is preferred. */
export interface PairExample extends Place {
  readonly kind: "pair";
  readonly chosen: AnsweredExample;
  readonly rejected: AnsweredExample;
}

/** An answer that is desirable or not. */
export interface RatedExample extends Place {
  readonly kind: "rated";
  readonly answer: AnsweredExample;
  readonly isDesirable: boolean;
}

/** A prompt whose answers are graded. */
export interface PromptExample extends Place, Pick<ChatExample, "tools" | "parallel" | "variables"> {
  readonly kind: "prompt";
  readonly turns: readonly Message[];
  /** The other fields of its line. */
  readonly item: Readonly<Record<string, unknown>>;
}

/** An example of a data set. */
export type Example = (AnsweredExample | TextExample | PairExample | RatedExample | PromptExample) & {
  /** All of its line, where that was asked for. */
  readonly fields?: Readonly<Record<string, unknown>>;
};

/**
 * What a run needs its data for: to learn examples, preferences in pairs, ratings, the answers that it gives to prompts, or what
 * hints make of answers.
 */
export type DataKind = "examples" | "pairs" | "rated" | "prompts" | "hinted";

/** The answer to be learnt of an example, where it has one; of a pair the chosen one. */
export function wantedAnswer(example: Example): AnsweredExample | undefined {
  switch (example.kind) {
    case "chat":
    case "completion":
      return example;
    case "pair":
      return example.chosen;
    case "rated":
      return example.isDesirable ? example.answer : undefined;
    default:
      return undefined;
  }
}

/** A question and its answer as a conversation of two messages. */
export const asTurns = (question: string, answer: string): readonly Message[] => [
  { role: "user", content: question, isTarget: false },
  { role: "assistant", content: answer, isTarget: true },
];

/** A prompt and its answer as a conversation. */
export const conversationOf = (example: AnsweredExample): readonly Message[] =>
  example.kind === "chat" ? example.turns : asTurns(example.prompt, example.completion);

/** The text of its last answer that is to be learnt. */
export const answerText = (example: AnsweredExample): string | undefined =>
  conversationOf(example).findLast(({ isTarget }) => isTarget)?.content;

/** The texts of an example: contents, calls and tools. */
export function textsOf(example: Example): readonly string[] {
  switch (example.kind) {
    case "pair":
      return [...textsOf(example.chosen), ...textsOf(example.rejected)];
    case "rated":
      return [...textsOf(example.answer), String(example.isDesirable)];
    case "chat":
    case "prompt": {
      const { turns, tools = [] } = example;
      const hints = example.kind === "chat" ? [example.hint ?? []].flat() : [];
      const said = turns.flatMap(({ content, toolCalls = [] }) => [content, ...toolCalls]);
      return [...tools, ...said, ...hints].map((one) =>
        typeof one === "string" ? one : JSON.stringify(one),
      );
    }
    case "completion":
      return [example.prompt, example.completion];
    case "text":
      return [example.text];
  }
}

/** Checksum of texts, for what looks for repetitions and keeps none of them. */
export const checksum = (texts: readonly string[]): string =>
  createHash("sha256").update(JSON.stringify(texts)).digest("base64url").slice(0, 22);

/** A call of OpenAI's format; `arguments` are an object, or its JSON as a text. */
export type CallInput =
  | {
      readonly type?: "function";
      readonly id?: string;
      readonly function: {
        readonly name: string;
        readonly arguments: string | Readonly<Record<string, unknown>>;
      };
    }
  | {
      readonly type: "custom";
      readonly id?: string;
      readonly custom: { readonly name: string; readonly input: string };
    };

/**
 * A message of OpenAI's format. An assistant message counts in the loss by its `weight`, from 0 to 100; 1 by default, and 0
 * keeps it out.
 */
export type MessageInput =
  | { readonly role: "system" | "user"; readonly content: string }
  | {
      readonly role: "assistant";
      /** Null or missing where the message only calls tools. */
      readonly content?: string | null;
      readonly weight?: number;
      readonly tool_calls?: readonly CallInput[];
    }
  | {
      readonly role: "tool";
      readonly content: string;
      /** The first call without a result, if it is missing. */
      readonly tool_call_id?: string;
    };

/** A tool of OpenAI's format. */
export type ToolInput =
  | { readonly type: "function"; readonly function: Omit<FunctionTool, "type"> }
  | {
      readonly type: "custom";
      readonly custom: Omit<CustomTool, "type" | "grammar"> & {
        readonly format?:
          | { readonly type: "text" }
          | { readonly type: "grammar"; readonly grammar: NonNullable<CustomTool["grammar"]> };
      };
    };

/** What lines of messages may have besides them. */
interface ToolFields {
  readonly tools?: readonly ToolInput[];
  /** False: a message calls one tool at most (true). */
  readonly parallel_tool_calls?: boolean;
  /** Further variables of the chat template. */
  readonly chat_template_kwargs?: Readonly<Record<string, unknown>>;
}

/** A message of ShareGPT's format. */
interface SpokenInput {
  readonly from: Speaker;
  readonly value: string;
  readonly weight?: number;
}

/** What lines of ShareGPT's format may have besides their messages. */
interface SpokenFields {
  readonly system?: string | null;
  /** A list of tools as JSON. */
  readonly tools?: string | null;
}

/** A text, or messages. */
type TextInput = string | readonly MessageInput[];

/** An example as a line of a data file has it. */
export type ExampleInput =
  | ({ readonly messages: readonly MessageInput[]; readonly hint?: string } & ToolFields)
  | ({ readonly conversations: readonly SpokenInput[] } & SpokenFields)
  | { readonly prompt: string; readonly completion: string }
  | { readonly instruction: string; readonly input?: string | null; readonly output: string }
  | { readonly question: string; readonly answer: string }
  | { readonly text: string }
  | PairInput
  | RatedInput
  | PromptInput;

/** A prompt with a preferred and another answer. */
type PairInput =
  | ({ readonly prompt: TextInput; readonly chosen: TextInput; readonly rejected: TextInput } & ToolFields)
  | ({ readonly chosen: TextInput; readonly rejected: TextInput } & ToolFields)
  | {
      readonly input: { readonly messages: readonly MessageInput[] } & ToolFields;
      readonly preferred_output: readonly MessageInput[];
      readonly non_preferred_output: readonly MessageInput[];
    }
  | ({
      readonly conversations: readonly SpokenInput[];
      readonly chosen: SpokenInput;
      readonly rejected: SpokenInput;
    } & SpokenFields)
  | {
      readonly instruction: string;
      readonly input?: string | null;
      readonly chosen: string;
      readonly rejected: string;
    }
  | ({ readonly messages: readonly MessageInput[]; readonly rejected_response: TextInput } & ToolFields);

/** A prompt with an answer that is desirable or not. */
type RatedInput =
  | ({ readonly prompt: TextInput; readonly completion: TextInput; readonly label: boolean } & ToolFields)
  | ({ readonly messages: readonly MessageInput[]; readonly label: boolean } & ToolFields);

/** A prompt, and what its grader needs. */
type PromptInput = ({ readonly messages: readonly MessageInput[] } | { readonly prompt: TextInput }) &
  ToolFields &
  Readonly<Record<string, unknown>>;

/** Roles of ShareGPT's format, by their names in it. */
export const SPEAKERS = {
  system: "system",
  human: "user",
  user: "user",
  gpt: "assistant",
  assistant: "assistant",
  function_call: "assistant",
  observation: "tool",
  tool: "tool",
} as const;
/** A name of `SPEAKERS`. */
export type Speaker = keyof typeof SPEAKERS;

const PUNCTUATION = new Set(".,;:!?…\"'“”‘’«»()");

/** A word without punctuation at its ends: inside of a number or a formula it has a meaning. */
function trimWord(word: string): string {
  let [begin, end] = [0, word.length];
  while (begin < end && PUNCTUATION.has(word[begin] ?? "")) begin++;
  while (end > begin && PUNCTUATION.has(word[end - 1] ?? "")) end--;
  return word.slice(begin, end);
}

/** A text without differences of case, spaces, and punctuation beside words. */
export const normalise = (text: string): string =>
  text
    .normalize("NFKC")
    .toLowerCase()
    .split(/\s+/)
    .map(trimWord)
    .filter((word) => word !== "")
    .join(" ");
