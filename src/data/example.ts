// Examples: what a line of a data set becomes, whatever its format was.
import type { ChatMessage, CustomTool, FunctionTool, Tool } from "#text";

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
}

/** A conversation, of `messages` or `conversations`, or of an instruction or a question with its answer. */
export interface ChatExample extends Place {
  readonly kind: "chat";
  readonly turns: readonly Message[];
  /** The tools that its assistant may call. */
  readonly tools?: readonly Tool[];
  /** False: a message calls one tool at most. */
  readonly parallel?: boolean;
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

/** The texts of an example: contents, calls and tools. */
export function textsOf(example: Example): readonly string[] {
  switch (example.kind) {
    case "chat": {
      const { turns, tools = [] } = example;
      return [...tools, ...turns.flatMap(({ content, toolCalls = [] }) => [content, ...toolCalls])].map(
        (one) => (typeof one === "string" ? one : JSON.stringify(one)),
      );
    }
    case "completion":
      return [example.prompt, example.completion];
    case "text":
      return [example.text];
  }
}

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

/** A message of OpenAI's format; `weight` 0 keeps an assistant message out of the loss. */
export type MessageInput =
  | { readonly role: "system" | "user"; readonly content: string }
  | {
      readonly role: "assistant";
      /** Null or missing where the message only calls tools. */
      readonly content?: string | null;
      readonly weight?: 0 | 1;
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

/** An example as a line of a data file has it. */
export type ExampleInput =
  | {
      readonly messages: readonly MessageInput[];
      readonly tools?: readonly ToolInput[];
      /** False: a message calls one tool at most (true). */
      readonly parallel_tool_calls?: boolean;
    }
  | {
      /** ShareGPT's format. */
      readonly conversations: readonly {
        readonly from: Speaker;
        readonly value: string;
        readonly weight?: 0 | 1;
      }[];
      readonly system?: string | null;
      /** A list of tools as JSON. */
      readonly tools?: string | null;
    }
  | { readonly prompt: string; readonly completion: string }
  | { readonly instruction: string; readonly input?: string | null; readonly output: string }
  | { readonly question: string; readonly answer: string }
  | { readonly text: string };

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
