// Conversations as data: messages, the tools that a model may call, its calls, and whether each has its result.
import { quoteNames } from "#common";

/** A call of a tool, in an assistant message. */
export type ToolCall =
  | {
      readonly type: "function";
      readonly id: string;
      readonly name: string;
      /** JSON text, as the model wrote it. */
      readonly arguments: string;
    }
  | { readonly type: "custom"; readonly id: string; readonly name: string; readonly input: string };

/** One message of a conversation. */
export interface ChatMessage {
  readonly role: "system" | "user" | "assistant" | "tool" | (string & {});
  /** Text; "" where an assistant message only calls tools. */
  readonly content: string;
  /** Calls of an assistant message, after its content. */
  readonly toolCalls?: readonly ToolCall[];
  /** The call that a message of the role "tool" answers. */
  readonly toolCallId?: string;
  /** Reasoning of an assistant message, for templates that show it. */
  readonly reasoning?: string;
}

/** A function that a model may call. */
export interface FunctionTool {
  readonly type: "function";
  readonly name: string;
  readonly description?: string | undefined;
  /** JSON Schema of its arguments, an object; without it, no arguments. */
  readonly parameters?: Readonly<Record<string, unknown>> | undefined;
  /** Arguments always match the parameters' schema; else they are only JSON, unless the call is demanded. */
  readonly strict?: boolean | undefined;
}

/** A tool that takes a text. */
export interface CustomTool {
  readonly type: "custom";
  readonly name: string;
  readonly description?: string | undefined;
  /** Grammar of its input (any text). */
  readonly grammar?: { readonly syntax: "lark" | "regex"; readonly definition: string } | undefined;
}

/** A tool that a model may call. */
export type Tool = FunctionTool | CustomTool;

/** Which tools are called: as the model likes ("auto"), at least one ("required"), or none, out of all or those named. */
export interface ToolChoice {
  readonly mode: "none" | "auto" | "required";
  /** Names of the tools that may be called (all). */
  readonly names?: readonly string[] | undefined;
}

/** Form of an answer's text: any, a JSON object, or JSON of a schema. */
export type ResponseFormat =
  | { readonly type: "text" }
  | { readonly type: "json_object" }
  | {
      readonly type: "json_schema";
      readonly name?: string | undefined;
      readonly description?: string | undefined;
      readonly schema: unknown;
      /** The schema must be in OpenAI's strict subset (false); it is enforced in any case. */
      readonly strict?: boolean | undefined;
    };

/** Where calls and results do not pair up: a predicate to the message, with a remedy. */
interface Unpaired {
  readonly index: number;
  readonly problem: string;
}

/**
 * The first message that calls without a result, answers no call, or repeats the id of a call that waits. Chat templates that get
 * half of a pair fail, or show the model what makes no sense.
 *
 * @param options `isAnywhere`: results may stand anywhere behind their calls, rather than right after the message that calls.
 * `mayEndInCalls`: the last message may call. `result`: the name of a result.
 */
export function findUnpaired(
  messages: readonly Pick<ChatMessage, "role" | "toolCalls" | "toolCallId">[],
  { isAnywhere = false, mayEndInCalls = false, result = "a message of the role tool" } = {},
): Unpaired | undefined {
  /** Calls without a result so far, and the messages that they are in. */
  const waiting = new Map<string, number>();
  for (const [index, { role, toolCalls = [], toolCallId = "" }] of messages.entries()) {
    if (role === "tool") {
      if (!waiting.delete(toolCallId))
        return { index, problem: unknownCall(toolCallId, [...waiting.keys()]) };
      continue;
    }
    if (!isAnywhere && waiting.size > 0) return unanswered(waiting, result);
    // one that waits already makes them no more
    const again = toolCalls.find(({ id }) => waiting.size === waiting.set(id, index).size);
    if (again !== undefined)
      return {
        index,
        problem: `repeats the call id ${quoteNames([again.id])}; give each call an id of its own`,
      };
  }
  const unpaired = unanswered(waiting, result);
  return mayEndInCalls && unpaired?.index === messages.length - 1 ? undefined : unpaired;
}

/** The first message with calls that wait. */
function unanswered(waiting: ReadonlyMap<string, number>, result: string): Unpaired | undefined {
  const [index] = waiting.values();
  if (index === undefined) return undefined;
  const ids = quoteNames([...waiting.keys()]);
  return { index, problem: `has calls without a result: ${ids}; each needs ${result} behind it` };
}

function unknownCall(id: string, waiting: readonly string[]): string {
  const call = id === "" ? "an unknown call" : `the call ${quoteNames([id])}`;
  const known =
    waiting.length === 0
      ? "no call before it lacks a result"
      : `the calls without a result are ${quoteNames(waiting)}`;
  return `answers ${call}; ${known}`;
}
