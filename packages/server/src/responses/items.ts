// Items of the Responses API: what a request brings, and what it means as messages of a conversation.
import { z } from "@hono/zod-openapi";
import { isRecord } from "mixture-of-shards-core/common";
import {
  type ChatMessage,
  callArguments,
  findUnpaired,
  mediaPart,
  type ToolCall,
  toRole,
} from "mixture-of-shards-core/text";
import { type ApiError, invalidValue, unsupportedMedia } from "../errors.ts";
import { type FlatNames, toFlatName } from "./tools.ts";

const textPart = z.object({ type: z.enum(["input_text", "output_text", "text"]), text: z.string() });
const refusalPart = z.object({ type: z.literal("refusal"), refusal: z.string() });
const parts = z.array(z.union([textPart, refusalPart]));
const content = z.union([z.string(), parts]);

const id = z.string().max(200).nullish();
const name = z.string().min(1).max(200);
const call = z.string().min(1).max(200);

const message = z.object({
  type: z.literal("message").optional(),
  id,
  role: z.enum(["user", "assistant", "system", "developer"]),
  content,
});

const called = { id, call_id: call, name, namespace: z.string().nullish() };
const functionCall = z.object({ type: z.literal("function_call"), ...called, arguments: z.string() });
const customCall = z.object({ type: z.literal("custom_tool_call"), ...called, input: z.string() });

const callOutput = z.object({
  type: z.enum(["function_call_output", "custom_tool_call_output"]),
  id,
  call_id: call,
  output: content,
});

const reasoning = z.object({
  type: z.literal("reasoning"),
  id,
  content: z.array(z.object({ type: z.string(), text: z.string() })).nullish(),
});

/** The item of a conversation that `/v1/responses/compact` has summarised. */
const compaction = z.object({ type: z.literal("compaction"), id, encrypted_content: z.string() });

const itemReference = z.object({ type: z.literal("item_reference").nullish(), id: z.string().max(200) });

/** Item of a conversation, as a client sends it back. */
const conversationItem = z.union([message, functionCall, customCall, callOutput, reasoning, compaction]);

export const inputItem = z.union([conversationItem, itemReference]).openapi("ResponseInputItem");

export type ConversationItem = z.output<typeof conversationItem>;

const KNOWN: ReadonlySet<unknown> = new Set([
  ...["message", "function_call", "custom_tool_call", "function_call_output", "custom_tool_call_output"],
  ...["reasoning", "compaction", "item_reference"],
]);

/**
 * Refuses items of a kind that this server does not have, and images and files, by their types and places, before the schema
 * looks at them.
 */
export function checkItemTypes(input: unknown): void {
  if (!Array.isArray(input)) return;
  for (const [i, item] of input.entries()) {
    if (!isRecord(item)) continue;
    const { type } = item;
    if (typeof type === "string" && !KNOWN.has(type))
      throw invalidValue(
        `input[${i}] is an item of type ${JSON.stringify(type.slice(0, 100))}, which this server does not support; leave it out`,
        `input[${i}].type`,
      );
    for (const field of ["content", "output"]) {
      const media = mediaPart(item[field]);
      if (media !== undefined) throw unsupportedMedia(`input[${i}].${field}[${media.index}]`, media.what);
    }
  }
}

/** Tests whether an item stands for another one, which the server has stored. */
export const isReference = (item: z.output<typeof inputItem>): item is z.output<typeof itemReference> =>
  !("role" in item || "call_id" in item || item.type === "reasoning" || item.type === "compaction");

const plainText = (value: z.output<typeof content>): string =>
  typeof value === "string"
    ? value
    : value.map((part) => ("text" in part ? part.text : part.refusal)).join("");

/** What the assistant wrote in a row. */
interface Turn extends Record<"content" | "reasoning", string[]> {
  readonly toolCalls: ToolCall[];
}

/**
 * The conversation that items are: the instructions and system messages at its beginning become one system message, since most
 * chat templates take one, and what the assistant wrote in a row, reasoning, text and calls, becomes one message.
 */
export function toMessages(
  items: readonly ConversationItem[],
  { instructions, names }: { readonly instructions?: string | undefined; readonly names: FlatNames },
): readonly ChatMessage[] {
  const messages: ChatMessage[] =
    instructions === undefined ? [] : [{ role: "system", content: instructions }];
  let turn: Turn | undefined;
  const openTurn = (): Turn => {
    turn ??= { content: [], reasoning: [], toolCalls: [] };
    return turn;
  };
  const endTurn = (): void => {
    if (turn === undefined) return;
    const { content, reasoning, toolCalls } = turn;
    messages.push({
      role: "assistant",
      content: content.join("\n"),
      ...(reasoning.length === 0 ? {} : { reasoning: reasoning.join("\n") }),
      ...(toolCalls.length === 0 ? {} : { toolCalls }),
    });
    turn = undefined;
  };
  for (const item of items) {
    if (isCall(item)) openTurn().toolCalls.push(toToolCall(item, names));
    else if (item.type === "reasoning")
      openTurn().reasoning.push(...(item.content ?? []).map(({ text }) => text));
    else if ("role" in item && item.role === "assistant") {
      // calls come after a message's text
      if (openTurn().toolCalls.length > 0) endTurn();
      openTurn().content.push(plainText(item.content));
    } else {
      endTurn();
      messages.push(toMessage(item));
    }
  }
  endTurn();
  return withOneSystem(messages);
}

function withOneSystem(messages: readonly ChatMessage[]): readonly ChatMessage[] {
  const first = messages.findIndex(({ role }) => role !== "system");
  const system = first < 0 ? messages : messages.slice(0, first);
  if (system.length === 0) return messages;
  const content = system.map((message) => message.content).join("\n\n");
  return [{ role: "system", content }, ...messages.slice(system.length)];
}

type Call = Extract<ConversationItem, { type: "function_call" | "custom_tool_call" }>;

const isCall = (item: ConversationItem): item is Call =>
  item.type === "function_call" || item.type === "custom_tool_call";

function toToolCall(item: Call, names: FlatNames): ToolCall {
  const call = { id: item.call_id, name: toFlatName(item, names) };
  return item.type === "function_call"
    ? // a stored answer may have been cut off within them
      { type: "function", ...call, arguments: callArguments.safeParse(item.arguments).data ?? item.arguments }
    : { type: "custom", ...call, input: item.input };
}

/** A message of the user, the system or a tool, or a summary, which joins the system's. */
function toMessage(
  item: Extract<ConversationItem, { output: unknown } | { role: string } | { type: "compaction" }>,
): ChatMessage {
  if (item.type === "compaction")
    return { role: "system", content: `The conversation so far:\n${item.encrypted_content}` };
  if ("output" in item) return { role: "tool", content: plainText(item.output), toolCallId: item.call_id };
  return { role: toRole(item.role), content: plainText(item.content) };
}

/**
 * Checks that every output answers a call before it, that every call is answered once, and that arguments are JSON of an object.
 *
 * @param earlier How many of the items are those of previous responses.
 * @throws ApiError 400 that names the item.
 */
export function checkCalls(items: readonly ConversationItem[], earlier: number): void {
  const invalid = (index: number, problem: string): ApiError => {
    if (index < earlier)
      return invalidValue(`the conversation that previous_response_id continues ${problem}`, "input");
    const place = `input[${index - earlier}]`;
    return invalidValue(`${place} ${problem}`, place);
  };
  const cut = items.findIndex(
    (item) => item.type === "function_call" && !callArguments.safeParse(item.arguments).success,
  );
  if (cut >= 0)
    throw invalid(
      cut,
      "has arguments that are not JSON of an object; if that answer was cut off, leave the item out or ask for it again",
    );
  const paired = items.map((item) => {
    if (isCall(item)) return { role: "assistant", toolCalls: [toToolCall(item, new Map())] };
    return "output" in item ? { role: "tool", toolCallId: item.call_id } : { role: "user" };
  });
  const result = "an item of type function_call_output or custom_tool_call_output";
  const unpaired = findUnpaired(paired, { isAnywhere: true, result });
  if (unpaired !== undefined) throw invalid(unpaired.index, unpaired.problem);
}
