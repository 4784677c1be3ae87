// From messages with tools to what a chat template takes.
import { tryJson } from "#common";
import { type CallSyntax, shortId, writeCalls } from "./call-syntax.ts";
import { JsonValues, spacedJson } from "./json-text.ts";
import type { ChatMessage, Tool, ToolCall } from "./messages.ts";
import { describeTools, INPUT_KEY, toolSchema, writeResult } from "./tool-schemas.ts";

/** How the parts of a conversation with tools reach a model. */
export interface ToolLayout {
  /** How the model writes calls. */
  readonly syntax: CallSyntax;
  /** Schemas: by the template's variable, as JSON with the system message, or as text of ours at the beginning. */
  readonly tools: "tools" | "xml_tools" | "system_tools" | "text";
  /** Calls: by the template, or as content. */
  readonly calls: "tool_calls" | "content";
  /** Content may stand before calls; some templates leave it out, as transformers then does, and their models write none. */
  readonly showsContent: boolean;
  /** Results: messages of one of these roles, or of the user with a text of ours. */
  readonly results: "tool" | "tool_response" | "text";
  /** The system message: by the template, or in front of the first or the last message of the user. */
  readonly system: "role" | "first_user" | "last_user";
}

/** A message as chat templates read it. */
export interface TemplateMessage {
  readonly role: string;
  readonly content: string;
  readonly tool_calls?: readonly {
    readonly id: string;
    readonly type: "function";
    readonly function: { readonly name: string; readonly arguments: Readonly<Record<string, unknown>> };
  }[];
  readonly tool_call_id?: string;
  readonly name?: string;
  readonly reasoning_content?: string;
  /** The same, by the name that LFM 2.5 and others read. */
  readonly thinking?: string;
  readonly tools?: string;
}

/** What a template gets. */
export interface TemplateInput {
  readonly messages: readonly TemplateMessage[];
  readonly tools?: readonly ReturnType<typeof toolSchema>[];
  /** Each as JSON, since templates print them as texts. */
  readonly xml_tools?: readonly string[];
}

/** Whether a conversation needs a layout of tools. */
export const usesTools = (messages: readonly ChatMessage[], tools: readonly Tool[] = []): boolean =>
  tools.length > 0 || messages.some((one) => isResult(one) || hasCalls(one));

const hasCalls = ({ toolCalls }: ChatMessage): boolean => toolCalls !== undefined && toolCalls.length > 0;
const isResult = ({ role, toolCallId }: ChatMessage): boolean => role === "tool" && toolCallId !== undefined;

/** A message without calls. */
export const plainMessage = ({ role, content, reasoning }: ChatMessage): TemplateMessage =>
  reasoning === undefined
    ? { role, content }
    : { role, content, reasoning_content: reasoning, thinking: reasoning };

/** All texts in which marks of JSON values must not occur. */
const textsOf = (messages: readonly ChatMessage[]): readonly string[] =>
  messages.flatMap(({ content, toolCalls = [] }) => [content, ...toolCalls.map(rawInput)]);

const rawInput = (call: ToolCall): string => (call.type === "custom" ? call.input : call.arguments);

/** Messages and tools for a template, and `restore` for the text that it renders. */
export function templateInput(
  layout: ToolLayout,
  messages: readonly ChatMessage[],
  tools: readonly Tool[] = [],
): { readonly input: TemplateInput; readonly restore: (text: string) => string } {
  const values = new JsonValues(textsOf(messages));
  const names = new Map(
    messages.flatMap(({ toolCalls = [] }) => toolCalls.map(({ id, name }) => [id, name] as const)),
  );
  const laidOut = messages.map((message, index): TemplateMessage => {
    if (hasCalls(message))
      return callMessage(message, layout, (json, what) =>
        values.parseObject(json, `message ${index + 1}: ${what}`),
      );
    return isResult(message) ? resultMessage(message, layout, names) : plainMessage(message);
  });
  const joined = layout.results === "text" ? joinUserTurns(laidOut, messages) : laidOut;
  const input = withTools(foldSystem(joined, layout), layout, tools);
  return { input, restore: (text) => values.restore(text) };
}

/** @param parse Parses the arguments of a call, which the text names in errors. */
function callMessage(
  message: ChatMessage,
  layout: ToolLayout,
  parse: (json: string, what: string) => Readonly<Record<string, unknown>>,
): TemplateMessage {
  const { syntax } = layout;
  const calls = (message.toolCalls ?? []).map((call) => {
    const what = `the arguments of the call of "${call.name}"`;
    const given = call.type === "custom" ? { [INPUT_KEY]: call.input } : parse(call.arguments, what);
    const id = syntax.hasId ? shortId(call.id) : call.id;
    return { id, type: "function" as const, function: { name: call.name, arguments: given } };
  });
  const base = plainMessage(message);
  if (layout.calls === "tool_calls") return { ...base, tool_calls: calls };
  const written = writeCalls(
    syntax,
    calls.map(({ id, function: { name, arguments: given } }) => ({ id, name, arguments: spacedJson(given) })),
  );
  return { ...base, content: base.content === "" ? written : `${base.content}\n${written}` };
}

function resultMessage(
  { content, toolCallId = "" }: ChatMessage,
  { results, syntax }: ToolLayout,
  names: ReadonlyMap<string, string>,
): TemplateMessage {
  if (results === "text") return { role: "user", content: writeResult(content) };
  const name = names.get(toolCallId);
  return {
    role: results,
    // Mistral's templates print it as it is in a JSON object
    content: syntax.hasId && tryJson(content) === undefined ? JSON.stringify(content) : content,
    tool_call_id: syntax.hasId ? shortId(toolCallId) : toolCallId,
    ...(name === undefined ? {} : { name }),
  };
}

/** Results, and what the user says after them, as one message, since roles may have to alternate. */
function joinUserTurns(
  laidOut: readonly TemplateMessage[],
  messages: readonly ChatMessage[],
): readonly TemplateMessage[] {
  const joined: TemplateMessage[] = [];
  for (const [index, message] of laidOut.entries()) {
    const before = messages[index - 1];
    const last = joined.at(-1);
    if (message.role === "user" && last !== undefined && before !== undefined && isResult(before))
      joined[joined.length - 1] = { ...last, content: `${last.content}\n${message.content}` };
    else joined.push(message);
  }
  return joined;
}

/** The system message in front of one of the user's, as the layout says. */
function foldSystem(
  messages: readonly TemplateMessage[],
  { system }: ToolLayout,
): readonly TemplateMessage[] {
  const [first, ...rest] = messages;
  if (first?.role !== "system" || system === "role") return messages;
  const isUser = ({ role }: TemplateMessage): boolean => role === "user";
  const index = system === "first_user" ? rest.findIndex(isUser) : rest.findLastIndex(isUser);
  return index < 0
    ? messages
    : rest.map((one, i) => (i === index ? { ...one, content: joined(first.content, one.content) } : one));
}

function withTools(
  messages: readonly TemplateMessage[],
  layout: ToolLayout,
  tools: readonly Tool[],
): TemplateInput {
  if (tools.length === 0) return { messages };
  const schemas = tools.map(toolSchema);
  const functions = schemas.map((one) => one.function);
  switch (layout.tools) {
    case "tools":
      return { messages, tools: schemas };
    case "xml_tools":
      return { messages, xml_tools: functions.map(spacedJson) };
    case "system_tools":
      return { messages: withSystem(messages, { tools: spacedJson(functions) }) };
    case "text":
      return {
        messages: withInstruction(messages, describeTools(tools, layout.syntax), layout.system === "role"),
      };
  }
}

/** The system message with further fields; a template that reads them shows them there only. */
function withSystem(
  messages: readonly TemplateMessage[],
  fields: Partial<TemplateMessage>,
): readonly TemplateMessage[] {
  const [first, ...rest] = messages;
  return first?.role === "system"
    ? [{ ...first, ...fields }, ...rest]
    : [{ role: "system", content: "", ...fields }, ...messages];
}

/**
 * A text of ours at the end of the system message, which there is then, or in front of the user's first message where the template has
 * no system role.
 */
export function withInstruction<M extends Pick<ChatMessage, "role" | "content">>(
  messages: readonly M[],
  text: string,
  hasSystem: boolean,
): readonly (M | Pick<ChatMessage, "role" | "content">)[] {
  const [first, ...rest] = messages;
  if (hasSystem)
    return first?.role === "system"
      ? [{ ...first, content: joined(first.content, text) }, ...rest]
      : [{ role: "system", content: text }, ...messages];
  const index = messages.findIndex(({ role }) => role === "user");
  return index < 0
    ? [{ role: "user", content: text }, ...messages]
    : messages.map((one, i) => (i === index ? { ...one, content: joined(text, one.content) } : one));
}

const joined = (first: string, second: string): string =>
  [first, second].filter((text) => text !== "").join("\n\n");
