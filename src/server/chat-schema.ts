import { z } from "@hono/zod-openapi";
import { neutral, nothing, samplingFields } from "./sampling-fields.ts";

const textPart = z.strictObject({ type: z.literal("text"), text: z.string() });

const content = z.union([z.string(), z.array(textPart)]);

const message = z.strictObject({
  role: z.enum(["system", "developer", "user", "assistant", "tool"]),
  content,
  name: z.string().optional(),
  refusal: z.null().optional(),
  tool_call_id: z.string().optional(),
});

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
