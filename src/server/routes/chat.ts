// POST /v1/chat/completions: answers a conversation.
import { createRoute, z } from "@hono/zod-openapi";
import { errorText, MosError } from "#core";
import { type EngineEvent, type TokenLogprob, unpackLogprobs } from "#inference";
import type { ChatMessage, LoadedText, Tokenizer } from "#text";
import { type ChoiceWriter, type JsonPieces, jsonList, jsonObject, sendAnswer } from "../answer.ts";
import { checkChoices, toFinishReason } from "../choices.ts";
import type { RequestContext, ServerApp } from "../context.ts";
import { checkTokenIds, makeRequests, resolveAdapter, resolveMaxTokens } from "../engine-requests.ts";
import { invalidValue } from "../errors.ts";
import { LogprobBuffer, tokenText } from "../logprobs.ts";
import {
  answerFields,
  checkedBy,
  chunkFields,
  failed,
  finishReason,
  json,
  jsonBody,
  neutral,
  nullOnly,
  okOrStream,
  samplingFields,
  security,
  unused,
} from "../request.ts";

const textPart = z.strictObject({
  type: z.literal("text"),
  text: z.string(),
  cache_control: unused(z.unknown()),
  prompt_cache_breakpoint: unused(z.unknown()),
});

const message = z
  .strictObject({
    role: z.enum(["system", "developer", "user", "assistant", "tool"]),
    content: z
      .union([z.string(), z.array(textPart.nullable())])
      .optional()
      .describe("May be missing or null in assistant messages only."),
    name: z.string().optional(),
    tool_call_id: z.string().optional(),
    reasoning_content: unused(z.string()),
    reasoning: unused(z.string()),
    cache_control: unused(z.unknown()),
    refusal: neutral(nullOnly),
    tool_calls: neutral(z.array(nullOnly).max(0)),
    function_call: neutral(nullOnly),
    audio: neutral(nullOnly),
    annotations: neutral(z.array(nullOnly).max(0)),
  })
  .refine(({ role, content }) => content !== undefined || role === "assistant", {
    path: ["content"],
    message: "a string, or a list of parts of type text",
  });

/** As OpenAI limits it. */
const metadata = z
  .record(z.string(), z.string().max(512))
  .refine((pairs) => Object.keys(pairs).length <= 16, "an object of at most 16 members")
  .refine(
    (pairs) => Object.keys(pairs).every((key) => key.length <= 64),
    "an object with keys of at most 64 characters",
  );

const chatRequest = z
  .strictObject({
    ...samplingFields,
    messages: z.array(message).min(1).max(4096),
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
    chat_template_kwargs: z
      .record(z.string(), z.unknown())
      .optional()
      .describe("vLLM extension: variables for the model's chat template."),
    metadata: unused(metadata),
    store: z.boolean().optional().describe("Accepted and ignored: nothing is stored."),
    safety_identifier: unused(z.string().max(1000)),
    prompt_cache_key: unused(z.string().max(1000)),
    prompt_cache_retention: unused(z.string().max(1000)),
    prompt_cache_options: unused(z.record(z.string(), z.unknown())),
    service_tier: unused(z.string().max(100)),
    reasoning_effort: unused(z.string().max(100)),
    prediction: unused(z.record(z.string(), z.unknown())),
    verbosity: unused(z.string().max(100)),
    modalities: neutral(z.tuple([z.literal("text")])),
    response_format: neutral(z.strictObject({ type: z.literal("text") })),
    parallel_tool_calls: neutral(z.boolean()),
    tool_choice: neutral(z.enum(["none", "auto"])),
    tools: neutral(z.array(nullOnly).max(0)),
    functions: neutral(z.array(nullOnly).max(0)),
    function_call: neutral(z.enum(["none", "auto"])),
    audio: neutral(nullOnly),
    web_search_options: neutral(nullOnly),
  })
  .openapi("ChatRequest");

type ChatRequest = z.output<typeof chatRequest>;

const chatLogprob = z.object({
  token: z.string(),
  logprob: z.number().nullable(),
  bytes: z.array(z.int()),
});

const chatLogprobs = z.object({
  content: z.array(chatLogprob.extend({ top_logprobs: z.array(chatLogprob) })),
  refusal: z.null(),
});

const chatAnswer = z
  .object({
    ...answerFields,
    object: z.literal("chat.completion"),
    choices: z.array(
      z.object({
        index: z.int(),
        message: z.object({ role: z.literal("assistant"), content: z.string(), refusal: z.null() }),
        logprobs: chatLogprobs.nullable(),
        finish_reason: finishReason,
      }),
    ),
  })
  .openapi("ChatAnswer");

const chatChunk = z
  .object({
    ...chunkFields,
    object: z.literal("chat.completion.chunk"),
    choices: z.array(
      z.object({
        index: z.int(),
        delta: z.object({
          role: z.literal("assistant").optional(),
          content: z.string().optional(),
          refusal: z.null().optional(),
        }),
        logprobs: chatLogprobs.nullable(),
        finish_reason: finishReason.nullable(),
      }),
    ),
  })
  .openapi("ChatChunk");

type ChatChunk = z.output<typeof chatChunk>;
type ChatLogprobs = z.output<typeof chatLogprobs>["content"];

const chatRoute = createRoute({
  method: "post",
  path: "/v1/chat/completions",
  summary: "Create a chat completion",
  security,
  middleware: jsonBody,
  request: { body: { required: true, content: json(chatRequest) } },
  responses: { 200: okOrStream(chatAnswer, chatChunk), default: failed },
});

export function chatRoutes(app: ServerApp): void {
  app.openapi(
    chatRoute,
    async (context) => await answerChat(context, context.req.valid("json")),
    checkedBy(chatRequest),
  );
}

async function answerChat(context: RequestContext, request: ChatRequest) {
  const { server, key } = context.var;
  const { model, defaults, text } = server.engine;
  const adapter = await resolveAdapter(context, request.model);
  checkChoices(request.n ?? 1, server.limits.choices);
  const logprobs = requestedLogprobs(request);
  const prompt = await server.prompts.fromText(render(text, request), "messages");
  checkTokenIds(request, model);
  const { maxLength } = model;
  const fallback = defaults.maxTokens ?? maxLength;
  const requests = makeRequests(prompt, request, {
    adapter,
    tenant: key.name,
    seed: request.seed ?? server.nextSeed(),
    maxTokens: resolveMaxTokens(prompt, request, { maxLength, fallback, field: "messages" }),
    ...(logprobs === undefined ? {} : { logprobs }),
    // a blank before the first word is part of an answer that continues a message
    continuesPrompt: request.continue_final_message === true,
  });
  const writers = requests.map((_, index) => new ChatWriter(index, text, request));
  const format = { idPrefix: "chatcmpl", object: "chat.completion", chunkObject: "chat.completion.chunk" };
  return await sendAnswer(context, { format, request, requests, writers });
}

/** Messages as a chat template takes them: plain texts, with the developer's as the system's. */
function toTemplateMessages({ messages }: ChatRequest): readonly ChatMessage[] {
  return messages.map(({ role, content }) => ({
    role: role === "developer" ? "system" : role,
    content: typeof content === "string" ? content : (content ?? []).map((part) => part?.text ?? "").join(""),
  }));
}

/** The prompt. @throws ApiError 400 if the template refuses the messages, such as roles in an order it does not know. */
function render({ template }: LoadedText, request: ChatRequest): string {
  const { add_generation_prompt = true, continue_final_message = false, chat_template_kwargs = {} } = request;
  if (continue_final_message && add_generation_prompt)
    throw invalidValue(
      "continue_final_message requires add_generation_prompt: false",
      "continue_final_message",
    );
  try {
    return template.render(toTemplateMessages(request), {
      addGenerationPrompt: add_generation_prompt,
      continueFinalMessage: continue_final_message,
      variables: chat_template_kwargs,
    });
  } catch (cause) {
    const reason = errorText(cause);
    if (cause instanceof MosError && cause.code === "bad_option")
      throw invalidValue(`chat_template_kwargs: ${reason}`, "chat_template_kwargs", cause);
    throw invalidValue(`messages: rejected by the model's chat template: ${reason}`, "messages", cause);
  }
}

function requestedLogprobs({ logprobs, top_logprobs }: ChatRequest): number | undefined {
  if (logprobs === true) return top_logprobs ?? 0;
  if (top_logprobs === undefined) return undefined;
  throw invalidValue("top_logprobs requires logprobs: true", "top_logprobs");
}

type ChatChunkChoice = ChatChunk["choices"][number];

/** Writes one choice of a chat. */
class ChatWriter implements ChoiceWriter {
  readonly #index: number;
  readonly #tokenizer: Tokenizer;
  readonly #withLogprobs: boolean;
  readonly #logprobs = new LogprobBuffer();
  #text = "";
  #finish: "stop" | "length" = "stop";

  constructor(index: number, { tokenizer }: LoadedText, { logprobs }: ChatRequest) {
    this.#index = index;
    this.#tokenizer = tokenizer;
    this.#withLogprobs = logprobs === true;
  }

  add(event: EngineEvent): void {
    if (event.type === "token" || event.type === "finish") this.#text += event.text;
    if (event.type === "token") for (const entry of unpackLogprobs(event)) this.#logprobs.push(entry);
    if (event.type === "finish") this.#finish = toFinishReason(event.finishReason);
  }

  toJson(): JsonPieces {
    const content = jsonList(() => this.#logprobs.map((entry) => this.#logprob(entry)));
    return jsonObject({
      index: this.#index,
      message: { role: "assistant", content: this.#text, refusal: null },
      logprobs: this.#withLogprobs ? jsonObject({ content, refusal: null }) : null,
      finish_reason: this.#finish,
    });
  }

  stream(event: EngineEvent): readonly ChatChunkChoice[] {
    switch (event.type) {
      case "scheduled": {
        const delta = { role: "assistant", content: "", refusal: null } as const;
        return [this.#chunk(delta, { logprobs: this.#withLogprobs ? [] : undefined })];
      }
      case "token": {
        const { text } = event;
        const logprobs = unpackLogprobs(event).map((entry) => this.#logprob(entry));
        if (logprobs.length > 0) return [this.#chunk({ content: text }, { logprobs })];
        return text === "" ? [] : [this.#chunk({ content: text })];
      }
      case "finish": {
        const last = this.#chunk({}, { finish: toFinishReason(event.finishReason) });
        return event.text === "" ? [last] : [this.#chunk({ content: event.text }), last];
      }
      default:
        return [];
    }
  }

  #chunk(
    delta: ChatChunkChoice["delta"],
    { logprobs, finish }: { logprobs?: ChatLogprobs | undefined; finish?: "stop" | "length" } = {},
  ): ChatChunkChoice {
    return {
      index: this.#index,
      delta,
      logprobs: logprobs === undefined ? null : { content: logprobs, refusal: null },
      finish_reason: finish ?? null,
    };
  }

  #logprob({ id, logprob, top }: TokenLogprob): ChatLogprobs[number] {
    const entry = (token: number, value: number | null) => ({
      token: tokenText(this.#tokenizer, token),
      logprob: value,
      bytes: [...this.#tokenizer.idToBytes(token)],
    });
    return { ...entry(id, logprob), top_logprobs: top.map((other) => entry(other.id, other.logprob)) };
  }
}
