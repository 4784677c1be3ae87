import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
// the file, since a probe of templates needs no model
import { type ChatTemplate, chatTemplate, type TemplateVariables } from "../src/text/chat-template.ts";
import type { ChatMessage, FunctionTool } from "../src/text/messages.ts";

/** Chat templates that behave as those of the families, and conversations with tools. */
export const TOOL_TEMPLATES = join(import.meta.dirname, "../../../test/fixtures/tool-templates");

interface StoredMessage {
  readonly role: string;
  readonly content: string | null | readonly { readonly text: string }[];
  readonly reasoning_content?: string;
  readonly tool_call_id?: string;
  readonly tool_calls?: readonly {
    readonly id: string;
    readonly function: { readonly name: string; readonly arguments: string };
  }[];
}

const stored = (name: string): unknown => JSON.parse(readFileSync(join(TOOL_TEMPLATES, name), "utf8"));

interface StoredTool {
  readonly function: Omit<FunctionTool, "type">;
}

/** A conversation as a client sends it. */
export interface StoredConversation {
  readonly messages: readonly StoredMessage[];
  readonly tools?: readonly StoredTool[];
  readonly variables?: TemplateVariables;
}

export const toTools = (given: readonly StoredTool[]): readonly FunctionTool[] =>
  given.map((tool) => ({ type: "function", ...tool.function }));

/** The tools of all conversations. */
export const tools = toTools(stored("tools.json") as readonly StoredTool[]);

/** A message as the server reads it. */
export function toMessage({
  role,
  content,
  tool_call_id,
  tool_calls,
  reasoning_content,
}: StoredMessage): ChatMessage {
  return {
    role,
    content: typeof content === "string" ? content : (content ?? []).map(({ text }) => text).join(""),
    ...(reasoning_content === undefined ? {} : { reasoning: reasoning_content }),
    ...(tool_call_id === undefined ? {} : { toolCallId: tool_call_id }),
    ...(tool_calls === undefined
      ? {}
      : { toolCalls: tool_calls.map((call) => ({ type: "function", id: call.id, ...call.function })) }),
  };
}

export const conversations: readonly (readonly ChatMessage[])[] = (
  stored("conversations.json") as readonly StoredConversation[]
).map(({ messages }) => messages.map(toMessage));

const names = ["<bos>", "<eos>"];
const tokenizer = {
  bosToken: 0,
  eosTokens: [1],
  idToToken: (id: number) => names[id],
  tokenToId: (token: string) => (names.includes(token) ? names.indexOf(token) : undefined),
};

/** The templates of a folder, by the names of their files without the ending. `now`: for those that print the date. */
export function readTemplates(folder = TOOL_TEMPLATES, now?: Date): ReadonlyMap<string, ChatTemplate> {
  const files = readdirSync(folder).filter((file) => file.endsWith(".jinja"));
  return new Map(
    files.sort().map((file) => {
      const template = readFileSync(join(folder, file), "utf8");
      return [basename(file, ".jinja"), chatTemplate({ template, name: file, tokenizer, now })];
    }),
  );
}
