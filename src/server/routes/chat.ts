// POST /v1/chat/completions: answers a conversation.
import { randomUUID } from "node:crypto";
import { createRoute, z } from "@hono/zod-openapi";
import type { EngineEvent, TokenLogprob } from "#inference";
import type { ChatMessage, LoadedText } from "#text";
import {
  adapterOf,
  checkChoices,
  finishReasonOf,
  maxTokensOf,
  type RunningChoices,
  requestsOf,
  startChoices,
  type UsageFields,
} from "../choices.ts";
import type { RequestContext, ServerApp, ServerContext } from "../context.ts";
import { ApiError } from "../errors.ts";
import { type JsonPieces, jsonList, jsonObject, sendJson } from "../json.ts";
import { HeldLogprobs, tokenText } from "../logprobs.ts";
import { checkedBy, jsonBody } from "../request.ts";
import {
  answerFields,
  failed,
  finishReason,
  json,
  neutral,
  nothing,
  okOrStream,
  samplingFields,
  security,
} from "../schemas.ts";
import { streamChunks } from "../sse.ts";

const textPart = z.strictObject({ type: z.literal("text"), text: z.string() });

const message = z.strictObject({
  role: z.enum(["system", "developer", "user", "assistant", "tool"]),
  content: z.union([z.string(), z.array(textPart.nullable())]),
  name: z.string().optional(),
  tool_call_id: z.string().optional(),
  refusal: neutral(nothing),
  tool_calls: neutral(z.array(nothing).max(0)),
  function_call: neutral(nothing),
  audio: neutral(nothing),
  annotations: neutral(z.array(nothing).max(0)),
});

const chatRequest = z
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

type ChatLogprobs = z.output<typeof chatLogprobs>["content"];

const chatRoute = createRoute({
  method: "post",
  path: "/v1/chat/completions",
  summary: "Answer a conversation",
  security,
  middleware: jsonBody,
  request: { body: { required: true, content: json(chatRequest) } },
  responses: { 200: okOrStream(chatAnswer), default: failed },
});

export function chatRoutes(app: ServerApp): void {
  app.openapi(
    chatRoute,
    async (context) => {
      const request = context.req.valid("json");
      const choices = await startChat(context, request);
      const answer = new Answer(context.var.server, request, choices);
      if (request.stream === true) return streamChunks(context, answer.chunks());
      return sendJson(context, await answer.whole());
    },
    checkedBy(chatRequest),
  );
}

function startChat(context: RequestContext, request: ChatRequest): Promise<RunningChoices> {
  const { server, key, record } = context.var;
  const adapter = adapterOf(server, { model: request.model, key });
  record.model = request.model;
  checkChoices(request.n ?? 1, server.limits.choices);
  const logprobs = logprobsOf(request);
  const prompt = server.prompts.fromText(render(server.engine.text, request), "messages");
  const { maxLength } = server.engine.model;
  const requests = requestsOf({
    prompt,
    maxTokens: maxTokensOf(prompt, request, { maxLength, fallback: maxLength, field: "messages" }),
    adapter,
    fields: request,
    seed: request.seed ?? server.nextSeed(),
    tenant: key.name,
    more: logprobs === undefined ? {} : { logprobs },
  });
  const isStream = request.stream === true;
  return startChoices(context, { requests, promptTokens: prompt.ids.length, isStream });
}

/** Messages as a chat template takes them: plain texts, with the developer's as the system's. */
function messagesOf({ messages }: ChatRequest): readonly ChatMessage[] {
  return messages.map(({ role, content }) => ({
    role: role === "developer" ? "system" : role,
    content: typeof content === "string" ? content : content.map((part) => part?.text ?? "").join(""),
  }));
}

/** The prompt. @throws ApiError 400 if the template refuses the messages, such as roles in an order it does not know. */
function render({ template }: LoadedText, request: ChatRequest): string {
  try {
    return template.render(messagesOf(request), { addGenerationPrompt: true });
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ApiError(`messages: the model's chat template does not take them: ${reason}`, {
      status: 400,
      code: "invalid_value",
      param: "messages",
      cause,
    });
  }
}

function logprobsOf({ logprobs, top_logprobs }: ChatRequest): number | undefined {
  if (logprobs === true) return top_logprobs ?? 0;
  if (top_logprobs === undefined) return undefined;
  throw new ApiError("top_logprobs goes only with logprobs: true", {
    status: 400,
    code: "invalid_value",
    param: "top_logprobs",
  });
}

interface WholeChoice {
  text: string;
  readonly logprobs: HeldLogprobs;
  finish: "stop" | "length";
}

interface ChunkParts {
  readonly delta: object;
  readonly logprobs?: ChatLogprobs;
  readonly finish?: "stop" | "length";
}

/** A chat's choices in OpenAI's form: as one object, or as chunks. */
class Answer {
  readonly #server: ServerContext;
  readonly #request: ChatRequest;
  readonly #choices: RunningChoices;
  readonly #id = `chatcmpl-${randomUUID().replaceAll("-", "")}`;
  readonly #created: number;

  constructor(server: ServerContext, request: ChatRequest, choices: RunningChoices) {
    this.#server = server;
    this.#request = request;
    this.#choices = choices;
    this.#created = Math.floor(server.now() / 1000);
  }

  /** The fields that every object begins with. The fingerprint says which content of an adapter answers. */
  #head<T extends string>(object: T) {
    const { model } = this.#request;
    const system_fingerprint = this.#choices.digest;
    return { id: this.#id, object, created: this.#created, model, system_fingerprint };
  }

  /** As `chatAnswer` describes it. */
  async whole(): Promise<JsonPieces> {
    const choices = Array.from(
      { length: this.#request.n ?? 1 },
      (): WholeChoice => ({ text: "", logprobs: new HeldLogprobs(), finish: "stop" }),
    );
    for await (const { choice: index, event } of this.#choices.events) {
      const choice = choices[index];
      if (choice === undefined) continue;
      if (event.type === "token" || event.type === "finish") choice.text += event.text;
      if (event.type === "token" && event.logprob !== undefined) choice.logprobs.push(event.logprob);
      if (event.type === "finish") choice.finish = finishReasonOf(event.reason);
    }
    const listed = choices.map(({ text, logprobs, finish }, index) => {
      const content = jsonList(() => logprobs.map((entry) => this.#logprob(entry)));
      return jsonObject({
        index,
        message: { role: "assistant", content: text, refusal: null },
        logprobs: this.#request.logprobs === true ? jsonObject({ content, refusal: null }) : null,
        finish_reason: finish,
      });
    });
    const usage = this.#choices.usage();
    return jsonObject({ ...this.#head("chat.completion"), choices: jsonList(() => listed), usage });
  }

  async *chunks(): AsyncGenerator<object, void> {
    const withUsage = this.#request.stream_options?.include_usage === true;
    const chunk = (choices: readonly object[], usage: UsageFields | null = null): object => ({
      ...this.#head("chat.completion.chunk"),
      choices,
      ...(withUsage ? { usage } : {}),
    });
    for await (const { choice: index, event } of this.#choices.events)
      for (const { delta, logprobs, finish } of this.#partsOf(event)) {
        const content = logprobs === undefined ? null : { content: logprobs, refusal: null };
        yield chunk([{ index, delta, logprobs: content, finish_reason: finish ?? null }]);
      }
    if (withUsage) yield chunk([], this.#choices.usage());
  }

  /** What an event adds to a streamed answer. */
  #partsOf(event: EngineEvent): readonly ChunkParts[] {
    switch (event.type) {
      case "scheduled":
        return [{ delta: { role: "assistant", content: "", refusal: null } }];
      case "token": {
        const { text, logprob } = event;
        if (logprob !== undefined) return [{ delta: { content: text }, logprobs: [this.#logprob(logprob)] }];
        return text === "" ? [] : [{ delta: { content: text } }];
      }
      case "finish": {
        const last = { delta: {}, finish: finishReasonOf(event.reason) };
        return event.text === "" ? [last] : [{ delta: { content: event.text } }, last];
      }
      default:
        return [];
    }
  }

  #logprob({ id, logprob, top }: TokenLogprob): ChatLogprobs[number] {
    const { tokenizer } = this.#server.engine.text;
    const entry = (token: number, value: number | null) => ({
      token: tokenText(tokenizer, token),
      logprob: value,
      bytes: [...tokenizer.bytesOf(token)],
    });
    return { ...entry(id, logprob), top_logprobs: top.map((other) => entry(other.id, other.logprob)) };
  }
}
