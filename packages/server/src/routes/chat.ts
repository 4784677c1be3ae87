// POST /v1/chat/completions: the fields of the request and of its messages, and the same as data, once it is certain that calls
// and their results pair up.
import { z } from "@hono/zod-openapi";
import { omitUndefined } from "mixture-of-shards-core/common";
import {
  type ChatMessage,
  callArguments,
  findUnpaired,
  openaiRole,
  type ToolCall,
  toRole,
} from "mixture-of-shards-core/text";
import { sendAnswer } from "../answer.ts";
import { ChatWriter, chatAnswer, chatChunk } from "../chat-writer.ts";
import { readConstraint, structuredFields } from "../constraints.ts";
import type { RequestContext } from "../context.ts";
import { type ConversationFields, startConversation } from "../conversation.ts";
import { clientFields, metadata, samplingFields } from "../engine-requests.ts";
import { type ApiError, invalidValue } from "../errors.ts";
import { neutral, nullOnly, ofVllm, optional, STREAMABLE, unused } from "../request.ts";
import { route } from "../route.ts";
import { type RequestedTools, readTools, toolFields } from "../tools.ts";

const textPart = z.strictObject({
  type: z.literal("text"),
  text: z.string(),
  cache_control: unused(z.unknown()),
  prompt_cache_breakpoint: unused(z.unknown()),
  // OpenAI's Agents SDK copies the other members of an answer's message into its part
  role: unused(z.string().max(100)),
  reasoning: unused(z.string()),
  reasoning_content: unused(z.string()),
  tool_calls: unused(z.unknown()),
});

const argumentsField = z
  .union([z.string(), z.record(z.string(), z.unknown())])
  .describe("JSON of an object; an object itself is taken, too.");

const callName = z.string().min(1).max(256);
const callId = z.string().min(1).max(256);

const toolCall = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("function"),
    id: callId,
    index: unused(z.int()),
    function: z.strictObject({ name: callName, arguments: argumentsField }),
  }),
  z.strictObject({
    type: z.literal("custom"),
    id: callId,
    index: unused(z.int()),
    custom: z.strictObject({ name: callName, input: z.string() }),
  }),
]);

const message = z
  .strictObject({
    role: openaiRole,
    content: optional(
      z.union([z.string(), z.array(textPart.nullable())]),
      "May be missing or null in assistant messages only.",
    ),
    name: z.string().optional(),
    tool_calls: optional(z.array(toolCall).max(1024), "Calls of an assistant message."),
    tool_call_id: optional(callId, "The call that a tool message answers."),
    reasoning_content: optional(z.string(), "Reasoning of an assistant message, for templates that show it."),
    reasoning: optional(z.string(), "The same as reasoning_content."),
    cache_control: unused(z.unknown()),
    refusal: neutral(nullOnly),
    function_call: optional(
      z.strictObject({ name: callName, arguments: argumentsField }),
      "The older form of tool_calls; a message of the role function answers it.",
    ),
    audio: neutral(nullOnly),
    annotations: neutral(z.array(nullOnly).max(0)),
  })
  .refine(({ role, content }) => content !== undefined || role === "assistant", {
    path: ["content"],
    message: "a string, or a list of parts of type text",
  });

export const messagesField = z.array(message).min(1).max(4096);

type Message = z.output<typeof message>;

const invalidMessage = (index: number, problem: string, field = ""): ApiError =>
  invalidValue(`messages[${index}]${field} ${problem}`, `messages[${index}]${field}`);

/** The id of a call in the older form, which has none. */
const legacyId = (index: number): string => `call_${index}`;

/**
 * Messages as chat templates take them, with the developer's as the system's.
 *
 * @throws ApiError 400, which names the message, for calls without results, results without calls, and arguments that are not
 * JSON, as those of an answer that was cut.
 */
export function toChatMessages(messages: readonly Message[]): readonly ChatMessage[] {
  const read = messages.map((one, index) => toChatMessage(one, { index, before: messages[index - 1] }));
  const unpaired = findUnpaired(read);
  if (unpaired === undefined) return read;
  const { index, problem } = unpaired;
  throw invalidMessage(index, problem, read[index]?.toolCalls === undefined ? "" : ".tool_calls");
}

type Place = { readonly index: number; readonly before: Message | undefined };

function toChatMessage(given: Message, place: Place): ChatMessage {
  const { role, content = "" } = given;
  const text = typeof content === "string" ? content : content.map((part) => part?.text ?? "").join("");
  const message = { role: toRole(role), content: text };
  if (message.role === "tool") return { ...message, toolCallId: answeredCall(given, place) };
  if (role === "assistant") {
    const toolCalls = readCalls(given, place.index);
    const reasoning = given.reasoning_content ?? given.reasoning;
    return { ...message, ...(toolCalls.length === 0 ? {} : { toolCalls }), ...omitUndefined({ reasoning }) };
  }
  if ((given.tool_calls ?? []).length > 0 || given.function_call !== undefined)
    throw invalidMessage(place.index, `has calls, and the role ${role}; only assistant messages call tools`);
  return message;
}

function answeredCall({ role, tool_call_id }: Message, { index, before }: Place): string {
  if (role === "function" && before?.function_call === undefined)
    throw invalidMessage(index, "has the role function, and the message before it has no function_call");
  if (role === "function") return legacyId(index - 1);
  if (tool_call_id !== undefined) return tool_call_id;
  throw invalidMessage(index, "is missing; name the call that the message answers", ".tool_call_id");
}

function readCalls({ tool_calls = [], function_call }: Message, index: number): readonly ToolCall[] {
  if (function_call !== undefined) {
    const { name } = function_call;
    const text = readArguments(function_call.arguments, { index, field: ".function_call.arguments" });
    return [{ type: "function", id: legacyId(index), name, arguments: text }];
  }
  return tool_calls.map((call, i): ToolCall => {
    if (call.type === "custom") return { type: "custom", id: call.id, ...call.custom };
    const { name, arguments: given } = call.function;
    const text = readArguments(given, { index, field: `.tool_calls[${i}].function.arguments` });
    return { type: "function", id: call.id, name, arguments: text };
  });
}

function readArguments(given: unknown, place: { readonly index: number; readonly field: string }): string {
  const { success, data } = callArguments.safeParse(given);
  if (success) return data;
  const problem = "is not a JSON object; if that answer was cut off, omit the message or ask for it again";
  throw invalidMessage(place.index, problem, place.field);
}

const chatRequest = z
  .strictObject({
    ...samplingFields,
    ...clientFields,
    ...structuredFields,
    ...toolFields,
    messages: messagesField,
    max_tokens: z.int().min(1).optional(),
    max_completion_tokens: optional(z.int().min(1), "Default: the server's, else the rest of the context."),
    logprobs: z.boolean().optional(),
    top_logprobs: z.int().min(0).max(20).optional(),
    add_generation_prompt: ofVllm(z.boolean(), "false omits the start of the assistant turn. Default: true"),
    continue_final_message: ofVllm(z.boolean(), "continue the last message instead of starting a new one"),
    metadata: unused(metadata),
    store: optional(z.boolean(), "Accepted and ignored: nothing is stored."),
    reasoning_effort: unused(z.string().max(100)),
    prediction: unused(z.record(z.string(), z.unknown())),
    verbosity: unused(z.string().max(100)),
    modalities: neutral(z.tuple([z.literal("text")])),
    audio: neutral(nullOnly),
    web_search_options: neutral(nullOnly),
  })
  .openapi("ChatRequest");

type ChatRequest = z.output<typeof chatRequest>;

export const chatRoute = route({
  method: "post",
  path: "/v1/chat/completions",
  summary: "Create a chat completion",
  body: chatRequest,
  ok: [chatAnswer, STREAMABLE],
  also: { "text/event-stream": chatChunk },
  answer: ({ body, context }) => answerChat(context, body),
});

async function answerChat(context: RequestContext, request: ChatRequest) {
  const { tokenizer } = context.var.server.engine.text;
  const tools = readTools(request);
  const fields = readFields(request, tools);
  const isStream = request.stream === true;
  const { requests, events, format } = await startConversation(context, fields, { isStream });
  const parts = { idPrefix: "chatcmpl", object: "chat.completion", chunkObject: "chat.completion.chunk" };
  const options = {
    tokenizer,
    withLogprobs: request.logprobs === true,
    mayCall: tools.choice.mode !== "none",
    isNamed: tools.isNamed,
    isLegacy: tools.isLegacy,
  };
  const writers = requests.map((_, index) => new ChatWriter({ ...options, index, parser: format.parser() }));
  return await sendAnswer(context, { format: parts, request, events, writers });
}

function readFields(request: ChatRequest, tools: RequestedTools): ConversationFields {
  const { add_generation_prompt: addGenerationPrompt = true, continue_final_message = false } = request;
  const { logprobs, top_logprobs } = request;
  if (top_logprobs !== undefined && logprobs !== true)
    throw invalidValue("top_logprobs requires logprobs: true", "top_logprobs");
  if (continue_final_message && addGenerationPrompt)
    throw invalidValue(
      "continue_final_message requires add_generation_prompt: false",
      "continue_final_message",
    );
  return {
    messages: toChatMessages(request.messages),
    tools,
    constraint: readConstraint(request),
    variables: request.chat_template_kwargs,
    addGenerationPrompt,
    continueFinalMessage: continue_final_message,
    sampling: request,
    logprobs: logprobs === true ? (top_logprobs ?? 0) : undefined,
    field: "messages",
  };
}
