// One prompt with an engine of its own, and answers as text: as parts of it, or as a web response.
import { z } from "zod";
import type { Adapter } from "#adapters";
import { checkCall, checkKind, kinds, locateKinds, type OptionKinds, omitUndefined } from "#common";
import type { BaseModel } from "#models";
import type { ChatMessage } from "#text";
import { checkCancelled } from "./chat-answer.ts";
import { chatKinds } from "./chat-options.ts";
import type { EngineOptions } from "./engine-options.ts";
import { openEngine } from "./open-engine.ts";
import type { ChatRequest, EngineEvent } from "./types.ts";

const { adapter: _, ...answerKinds } = chatKinds;
const generateKinds: OptionKinds<GenerateOptions> = {
  ...answerKinds,
  ...locateKinds,
  adapter: z.union([z.string(), kinds.object]).optional(),
  generationConfig: z.string().optional(),
  chatTemplateKwargs: kinds.object.optional(),
  maxLength: kinds.number.optional(),
  device: z.string().optional(),
  threads: kinds.number.optional(),
  onProgress: kinds.function.optional(),
};

/** A text is continued as it stands; messages are a conversation, laid out by the model's chat template. @inline */
export type Prompt = string | readonly ChatMessage[];

/** A request's options, which adapter answers it, and how much of the machine it takes. @inline */
export interface GenerateOptions
  extends Omit<ChatRequest, "adapter">,
    Pick<EngineOptions, "chatTemplateKwargs" | "hub" | "onDownload" | "onProgress"> {
  /** An adapter or its folder; the base answers without. */
  readonly adapter?: string | Adapter | undefined;
  /** Source of missing options: the model's files ("auto"), or none. */
  readonly generationConfig?: "auto" | "none" | undefined;
  /** The longest sequence, prompt and answer together (8,192 tokens, or fewer where the model has fewer). */
  readonly maxLength?: number | undefined;
  /** Device of the steps ("cpu"). */
  readonly device?: EngineOptions["device"];
  /** Threads to compute with (one for each core). */
  readonly threads?: number | undefined;
}

/**
 * Answers one prompt, and closes its engine: steps are computed on the thread that calls this. For several prompts keep an
 * engine open with `openEngine`.
 *
 * @param base A model that is in memory already, or else a folder, a .gguf file or org/name of the hub.
 * @throws MosError what `openEngine` and the `chat` and `complete` of its engine throw.
 * @example
 * for await (const event of generate("assets/tiny-english", "Once upon a time"))
 *   if (event.type === "token" || event.type === "finish") process.stdout.write(event.text);
 * const question = { role: "user", content: "When can I come in?" };
 * generate(base, [question], { adapter: "adapters/acme", maxTokens: 100, sampling: { temperature: 0.8 } });
 */
export async function* generate(
  base: string | BaseModel,
  prompt: Prompt,
  options: GenerateOptions = {},
): AsyncGenerator<EngineEvent, void> {
  checkKind("generate: base", base, z.union([z.string(), kinds.object]));
  checkCall<GenerateOptions>("generate", options, generateKinds);
  const {
    adapter,
    generationConfig,
    chatTemplateKwargs,
    maxLength = 8192,
    device,
    threads,
    hub,
    onDownload,
    onProgress,
    ...request
  } = options;
  await using engine = await openEngine({
    model: base,
    inProcess: true,
    mergedAdapter: adapter,
    maxLength,
    device,
    threads,
    hub,
    onDownload,
    defaults: { generationConfig },
    chatTemplateKwargs,
    ...omitUndefined({ onProgress }),
    signal: request.signal,
  });
  yield* typeof prompt === "string" ? engine.complete(prompt, request) : engine.chat(prompt, request);
}

/**
 * The text of an answer as it is written, without empty parts. Leaving the loop cancels the request, and so do streams of
 * Node that read it where their destination closes. A slow reader slows nobody: what is written already waits for it.
 *
 * @param events Those of `generate`, or of an engine's `chat` and `complete`.
 * @throws MosError what the events throw, and `cancelled` where the request's signal ended the answer.
 * @example
 * for await (const text of textStream(engine.chat("When can I come in?"))) process.stdout.write(text);
 * const answer = await text(textStream(engine.chat("And on Sundays?"))); // of node:stream/consumers
 */
export async function* textStream(events: AsyncIterable<EngineEvent>): AsyncGenerator<string, void> {
  for await (const event of events) {
    if ("text" in event && event.text !== "") yield event.text;
    checkCancelled(event);
  }
}

/** The next text that is not empty; undefined at the end. Throws as `textStream`. */
async function nextText(reader: AsyncIterator<EngineEvent>): Promise<string | undefined> {
  for (;;) {
    const { done, value } = await reader.next();
    if (done === true) return undefined;
    checkCancelled(value);
    if ("text" in value && value.text !== "") return value.text;
  }
}

/** Options of `textResponse`. */
interface TextResponseOptions extends ResponseInit {
  /** "text" as it is, or "sse": each part as a server-sent event, a JSON string, and [DONE] at the end ("text"). */
  readonly format?: "text" | "sse";
}

/**
 * An answer as a web `Response`, for route handlers of Next.js, SvelteKit, Hono, Bun and Deno: its text as it is written,
 * from its first part on. Where the client leaves, the request is cancelled. A later error breaks the body off.
 *
 * @param events Those of `generate`, or of an engine's `chat` and `complete`.
 * @throws MosError what `textStream` throws before the first text.
 * @example
 * export const GET = () => textResponse(engine.chat("When can I come in?"));
 */
export async function textResponse(
  events: AsyncIterable<EngineEvent>,
  { format = "text", ...init }: TextResponseOptions = {},
): Promise<Response> {
  const isSse = format === "sse";
  const encoder = new TextEncoder();
  const encode = (part: string): Uint8Array => encoder.encode(isSse ? `data: ${part}\n\n` : part);
  const reader = events[Symbol.asyncIterator]();
  let next: Promise<string | undefined> | undefined = nextText(reader);
  await next;
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const text = await (next ?? nextText(reader));
        next = undefined;
        if (text !== undefined) return controller.enqueue(encode(isSse ? JSON.stringify(text) : text));
        if (isSse) controller.enqueue(encode("[DONE]"));
        controller.close();
      },
      // an answer that is written is not waited for
      cancel: () => void reader.return?.()?.catch(() => undefined),
    },
    { highWaterMark: 0 },
  );
  const headers = new Headers(init.headers);
  if (!headers.has("content-type"))
    headers.set("content-type", isSse ? "text/event-stream" : "text/plain; charset=utf-8");
  return new Response(body, { ...init, headers });
}
