import { z } from "@hono/zod-openapi";
import { neutral, nothing, samplingFields } from "./sampling-fields.ts";

const textPart = z.strictObject({ type: z.literal("text"), text: z.string() });

const content = z.union([z.string(), z.array(textPart)]);

const message = z.strictObject({
  role: z.enum(["system", "developer", "user", "assistant", "tool"]),
  content,
  name: z.string().optional(),
  tool_call_id: z.string().optional(),
  refusal: neutral(nothing),
  tool_calls: neutral(z.array(nothing).max(0)),
  function_call: neutral(nothing),
  audio: neutral(nothing),
  annotations: neutral(z.array(nothing).max(0)),
});

const isObject = (value: unknown): value is object =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** An object without the members that are null. */
const withoutNulls = (value: unknown): unknown =>
  isObject(value) ? Object.fromEntries(Object.entries(value).filter(([, member]) => member !== null)) : value;

function messageWithoutNulls(value: unknown): unknown {
  const message = withoutNulls(value);
  if (!isObject(message) || !("content" in message) || !Array.isArray(message.content)) return message;
  const parts: readonly unknown[] = message.content;
  return { ...message, content: parts.filter((part) => part !== null).map(withoutNulls) };
}

/** As in the body itself, null counts as left out: clients send messages back with all the members they know. */
export function leaveOutNulls({
  messages,
  ...fields
}: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const others = Object.entries(fields).map(([name, value]) => [name, withoutNulls(value)]);
  const said = Array.isArray(messages) ? messages.map(messageWithoutNulls) : messages;
  return { ...Object.fromEntries(others), ...(said === undefined ? {} : { messages: said }) };
}

/** The body of POST /v1/chat/completions. */
export const chatRequest = z
  .strictObject({
    ...samplingFields,
    messages: z.array(message).min(1).max(4096),
    max_tokens: z.int().min(1).optional(),
    max_completion_tokens: z.int().min(1).optional().describe("Default: what is left of the context."),
    logprobs: z.boolean().optional(),
    top_logprobs: z.int().min(0).max(20).optional(),
    safety_identifier: z.string().max(1000).optional().describe("Taken and not used."),
    prompt_cache_key: z.string().max(1000).optional().describe("Taken and not used."),
    service_tier: neutral(z.enum(["auto", "default"])),
    store: neutral(z.literal(false)),
    metadata: neutral(z.strictObject({})),
    modalities: neutral(z.tuple([z.literal("text")])),
    response_format: neutral(z.strictObject({ type: z.literal("text") })),
    parallel_tool_calls: neutral(z.boolean()),
    tool_choice: neutral(z.enum(["none", "auto"])),
    tools: neutral(z.array(nothing).max(0)),
    functions: neutral(z.array(nothing).max(0)),
    function_call: neutral(z.enum(["none", "auto"])),
    audio: neutral(nothing),
    prediction: neutral(nothing),
    reasoning_effort: neutral(nothing),
    verbosity: neutral(nothing),
    web_search_options: neutral(nothing),
  })
  .openapi("ChatRequest");

export type ChatRequest = z.output<typeof chatRequest>;
