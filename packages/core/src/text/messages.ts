// Conversations as data: messages, the tools that a model may call, and its calls.

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
