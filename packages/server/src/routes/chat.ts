// POST /v1/chat/completions: answers a conversation.
import { z } from "@hono/zod-openapi";
import { sendAnswer } from "../answer.ts";
import { messagesField, toChatMessages } from "../chat-messages.ts";
import { ChatWriter, chatAnswer, chatChunk } from "../chat-writer.ts";
import { readConstraint, structuredFields } from "../constraints.ts";
import type { RequestContext, ServerApp } from "../context.ts";
import { type ConversationFields, startConversation } from "../conversation.ts";
import { invalidValue } from "../errors.ts";
import { apiRoute, checkedBy, json, jsonBody, neutral, nullOnly, okOrStream, unused } from "../request.ts";
import { clientFields, metadata, samplingFields } from "../request-fields.ts";
import { type RequestedTools, readTools, toolFields } from "../tools.ts";

const chatRequest = z
  .strictObject({
    ...samplingFields,
    ...clientFields,
    ...structuredFields,
    ...toolFields,
    messages: messagesField,
    max_tokens: z.int().min(1).optional(),
    max_completion_tokens: z
      .int()
      .min(1)
      .optional()
      .describe("Default: the server's, else the rest of the context."),
    logprobs: z.boolean().optional(),
    top_logprobs: z.int().min(0).max(20).optional(),
    add_generation_prompt: z
      .boolean()
      .optional()
      .describe("vLLM extension: false omits the start of the assistant turn. Default: true."),
    continue_final_message: z
      .boolean()
      .optional()
      .describe("vLLM extension: continue the last message instead of starting a new one."),
    metadata: unused(metadata),
    store: z.boolean().optional().describe("Accepted and ignored: nothing is stored."),
    reasoning_effort: unused(z.string().max(100)),
    prediction: unused(z.record(z.string(), z.unknown())),
    verbosity: unused(z.string().max(100)),
    modalities: neutral(z.tuple([z.literal("text")])),
    audio: neutral(nullOnly),
    web_search_options: neutral(nullOnly),
  })
  .openapi("ChatRequest");

type ChatRequest = z.output<typeof chatRequest>;

const chatRoute = apiRoute({
  method: "post",
  path: "/v1/chat/completions",
  summary: "Create a chat completion",
  middleware: jsonBody,
  request: { body: { required: true, content: json(chatRequest) } },
  responses: { 200: okOrStream(chatAnswer, chatChunk) },
});

export function chatRoutes(app: ServerApp): void {
  app.openapi(
    chatRoute,
    async (context) => await answerChat(context, context.req.valid("json")),
    checkedBy(chatRequest),
  );
}

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
    logprobs: requestedLogprobs(request),
    field: "messages",
  };
}

function requestedLogprobs({ logprobs, top_logprobs }: ChatRequest): number | undefined {
  if (logprobs === true) return top_logprobs ?? 0;
  if (top_logprobs === undefined) return undefined;
  throw invalidValue("top_logprobs requires logprobs: true", "top_logprobs");
}
