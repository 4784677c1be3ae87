// POST /v1/chat/completions
import { randomUUID } from "node:crypto";
import type { Context } from "hono";
import type { EngineEvent, TokenLogprob } from "#inference";
import type { ChatMessage, LoadedText } from "#text";
import { type Answering, asRunning, finishOf, startAnswering, type UsageFields } from "./answering.ts";
import { readJsonBody } from "./body.ts";
import { type ChatRequest, chatRequest, leaveOutNulls } from "./chat-schema.ts";
import type { ServerContext, ServerEnv } from "./context.ts";
import { adapterOf, answerLength, answersOf, checkChoices } from "./engine-requests.ts";
import { parseRequest } from "./parse-request.ts";
import { Refusal } from "./refusal.ts";
import { respondStream } from "./respond.ts";
import { tokenText } from "./token-text.ts";

/** Messages as a chat template takes them: plain texts, and developers' are the system's. */
function messagesOf({ messages }: ChatRequest): readonly ChatMessage[] {
  return messages.map(({ role, content }) => ({
    role: role === "developer" ? "system" : role,
    content: typeof content === "string" ? content : content.map(({ text }) => text).join(""),
  }));
}

/** @throws Refusal 400 where the template cannot lay the messages out, as with roles in an order it does not know. */
function layOut({ template }: LoadedText, request: ChatRequest): string {
  try {
    return template.render(messagesOf(request), { addGenerationPrompt: true });
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Refusal(`messages: the model's chat template does not take them: ${reason}`, {
      status: 400,
      reason: "invalid_value",
      field: "messages",
      cause,
    });
  }
}

function checkLogprobs({ logprobs, top_logprobs }: ChatRequest): number | undefined {
  if (logprobs === true) return top_logprobs ?? 0;
  if (top_logprobs === undefined) return undefined;
  throw new Refusal("top_logprobs goes only with logprobs: true", {
    status: 400,
    reason: "invalid_value",
    field: "top_logprobs",
  });
}

/** Answers a conversation. */
export function answerChat(server: ServerContext, context: Context<ServerEnv>): Promise<Response> {
  return asRunning(server, context, async (running) => {
    const key = context.get("key");
    const record = context.get("record");
    const body = await readJsonBody(context.req.raw, server.limits.bodyBytes);
    const request = parseRequest(chatRequest, leaveOutNulls(body));
    const adapter = adapterOf(server, { model: request.model, key });
    record.model = request.model;
    checkChoices(request.n ?? 1, server.limits.choices);
    const logprobs = checkLogprobs(request);
    const prompt = server.prompts.fromText(layOut(server.text, request), "messages");
    const { maxLength } = server.engine.model;
    const maxTokens = answerLength(prompt, request, { maxLength, missing: maxLength, field: "messages" });
    const requests = answersOf({
      prompt,
      maxTokens,
      adapter,
      fields: request,
      seed: request.seed ?? server.nextSeed(),
      tenant: key.name,
      more: logprobs === undefined ? {} : { logprobs },
    });
    const promptTokens = prompt.ids.length;
    const answering = await startAnswering(server, { record, running }, { requests, promptTokens });
    const form = { server, request, answering, id: `chatcmpl-${randomUUID().replaceAll("-", "")}` };
    if (request.stream === true) return respondStream(context, answering, chatChunks(form));
    return context.json(await wholeChat(form));
  });
}

interface ChatForm {
  readonly server: ServerContext;
  readonly request: ChatRequest;
  readonly answering: Answering;
  readonly id: string;
}

/** The fields that every object of one answer begins with. The fingerprint says which content of an adapter answers. */
const head = ({ server, request, answering, id }: ChatForm, object: string) => ({
  id,
  object,
  created: Math.floor(server.now() / 1000),
  model: request.model,
  system_fingerprint: answering.digest() ?? null,
});

interface ChatLogprob {
  readonly token: string;
  readonly logprob: number | null;
  readonly bytes: readonly number[];
}

/** A token's log-probability in the form of chat. */
function chatLogprob(server: ServerContext, { id, logprob, top }: TokenLogprob) {
  const { tokenizer } = server.text;
  const entry = (token: number, value: number | null): ChatLogprob => ({
    token: tokenText(tokenizer, token),
    logprob: value,
    bytes: [...tokenizer.bytesOf(token)],
  });
  return {
    ...entry(id, logprob),
    top_logprobs: top.map((other) => entry(other.id, other.logprob)),
  };
}

type ChatLogprobs = ReturnType<typeof chatLogprob>[];

interface ChatChoice {
  text: string;
  readonly logprobs: ChatLogprobs;
  finish: "stop" | "length" | null;
}

async function wholeChat(form: ChatForm): Promise<object> {
  const { answering, request, server } = form;
  const choices: ChatChoice[] = Array.from({ length: request.n ?? 1 }, () => ({
    text: "",
    logprobs: [],
    finish: null,
  }));
  for await (const { choice: index, event } of answering.events) {
    const choice = choices[index];
    if (choice === undefined) continue;
    if (event.type === "token" || event.type === "finish") choice.text += event.text;
    if (event.type === "token" && event.logprob !== undefined)
      choice.logprobs.push(chatLogprob(server, event.logprob));
    if (event.type === "finish") choice.finish = finishOf(event.reason);
  }
  return {
    ...head(form, "chat.completion"),
    choices: choices.map(({ text, logprobs, finish }, index) => ({
      index,
      message: { role: "assistant", content: text, refusal: null },
      logprobs: request.logprobs === true ? { content: logprobs, refusal: null } : null,
      finish_reason: finish,
    })),
    usage: answering.usage(),
  };
}

interface ChunkParts {
  readonly delta: object;
  readonly logprobs?: ChatLogprobs;
  readonly finish?: "stop" | "length";
}

/** What an event adds to an answer that is streamed. */
function* chunkParts(server: ServerContext, event: EngineEvent): Generator<ChunkParts, void> {
  if (event.type === "scheduled") yield { delta: { role: "assistant", content: "", refusal: null } };
  if (event.type === "token") {
    const logprobs = event.logprob === undefined ? {} : { logprobs: [chatLogprob(server, event.logprob)] };
    if (event.text !== "" || event.logprob !== undefined)
      yield { delta: { content: event.text }, ...logprobs };
  }
  if (event.type === "finish") {
    if (event.text !== "") yield { delta: { content: event.text } };
    yield { delta: {}, finish: finishOf(event.reason) };
  }
}

async function* chatChunks(form: ChatForm): AsyncGenerator<object, void> {
  const { answering, request, server } = form;
  const withUsage = request.stream_options?.include_usage === true;
  const begin = head(form, "chat.completion.chunk");
  const chunk = (choices: readonly object[], usage: UsageFields | null = null): object => ({
    ...begin,
    choices,
    ...(withUsage ? { usage } : {}),
  });
  for await (const { choice: index, event } of answering.events)
    for (const { delta, logprobs, finish } of chunkParts(server, event)) {
      const content = logprobs === undefined ? null : { content: logprobs, refusal: null };
      yield chunk([{ index, delta, logprobs: content, finish_reason: finish ?? null }]);
    }
  if (withUsage) yield chunk([], answering.usage());
}
