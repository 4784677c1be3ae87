// The answer to a request: its events as pieces of text, of reasoning and of calls, and what is sent, as one object or as chunks of
// OpenAI's format. Routes say what an object of theirs holds.
import { randomUUID } from "node:crypto";
import { errorText } from "mixture-of-shards-core/common";
import { type EngineEvent, type TokenLogprob, unpackLogprobs } from "mixture-of-shards-core/inference";
import type { AnswerDelta, AnswerParser } from "mixture-of-shards-core/text";
import { toFinishReason } from "./choices.ts";
import type { RequestContext } from "./context.ts";
import type { SamplingFields } from "./engine-requests.ts";
import { GRACE, type RunningRequest } from "./limits.ts";
import type { UsageFields } from "./request.ts";

/** A new id, such as msg_…, that nobody can guess. */
export const newId = (prefix: string): string => `${prefix}_${randomUUID().replaceAll("-", "")}`;

/** Writes one choice of an answer. */
export interface ChoiceWriter {
  /** Takes an event into the whole choice. */
  add(event: EngineEvent): void;
  /** The whole choice, after its last event. */
  toJson(): JsonPieces;
  /** The chunks that an event adds to a streamed answer, each with one choice. */
  stream(event: EngineEvent): readonly object[];
}

interface AnswerParts {
  /** The names of its objects, such as chat.completion and chat.completion.chunk. */
  readonly format: { readonly idPrefix: string; readonly object: string; readonly chunkObject: string };
  readonly request: Pick<SamplingFields, "stream" | "stream_options">;
  /** Events of the choices that run, and a writer for each choice. */
  readonly events: AsyncIterable<readonly [choice: number, event: EngineEvent]>;
  readonly writers: readonly ChoiceWriter[];
}

/** Sends the answer of choices that run, whole or as it comes. */
export async function sendAnswer(context: RequestContext, { format, request, events, writers }: AnswerParts) {
  const isStream = request.stream === true;
  const { server, record } = context.var;
  const id = `${format.idPrefix}-${randomUUID().replaceAll("-", "")}`;
  const created = Math.floor(server.now() / 1000);
  /** The fields that every object begins with. The fingerprint says which content of an adapter answers. */
  const head = (object: string) => {
    const { model = server.modelName, digest = null } = record;
    return { id, object, created, model, system_fingerprint: digest };
  };
  const usage = (): UsageFields => ({
    prompt_tokens: record.promptTokens,
    completion_tokens: record.completionTokens,
    total_tokens: record.promptTokens + record.completionTokens,
    prompt_tokens_details: { cached_tokens: record.cachedTokens },
  });
  if (isStream) return streamEvents(context, chunks(request.stream_options?.include_usage === true));
  for await (const [choice, event] of events) writers[choice]?.add(event);
  const written = writers.map((writer) => writer.toJson());
  const answer = { ...head(format.object), choices: jsonList(() => written), usage: usage() };
  return sendJson(context, jsonObject(answer));

  async function* chunks(withUsage: boolean) {
    const chunk = (listed: object[], total: UsageFields | null = null) => ({
      ...head(format.chunkObject),
      choices: listed,
      ...(withUsage ? { usage: total } : {}),
    });
    for await (const [choice, event] of events)
      for (const part of writers[choice]?.stream(event) ?? []) yield chunk([part]);
    if (withUsage) yield chunk([], usage());
  }
}

/** Makes the text of a value, piece by piece. */
export type JsonPieces = () => Iterable<string>;

/** Members and items are values, or the pieces of one. */
const serializePieces = (value: unknown): Iterable<string> =>
  typeof value === "function" ? (value as JsonPieces)() : [JSON.stringify(value)];

export const jsonObject = (members: Readonly<Record<string, unknown>>): JsonPieces =>
  function* () {
    let before = "{";
    for (const [name, value] of Object.entries(members)) {
      yield `${before}${JSON.stringify(name)}:`;
      yield* serializePieces(value);
      before = ",";
    }
    yield before === "{" ? "{}" : "}";
  };

/** @param items Gives them again at each call. */
export const jsonList = (items: () => Iterable<unknown>): JsonPieces =>
  function* () {
    let before = "[";
    for (const item of items()) {
      yield before;
      yield* serializePieces(item);
      before = ",";
    }
    yield before === "[" ? "[]" : "]";
  };

/** Characters that are sent at once. */
const PART = 65_536;

function* joinPieces(pieces: Iterable<string>): Generator<string, void> {
  let part = "";
  for (const piece of pieces) {
    part += piece;
    if (part.length < PART) continue;
    yield part;
    part = "";
  }
  if (part !== "") yield part;
}

/** Sends an answer with the status 200: a short one at once, a long one as fast as it is read. */
export function sendJson(context: RequestContext, answer: JsonPieces) {
  const headers = { "content-type": "application/json" };
  const parts = joinPieces(answer());
  const [first, second] = [parts.next(), parts.next()];
  if (first.done === true || second.done === true) return context.body(first.value ?? "", 200, headers);
  async function* all(): AsyncGenerator<string, void> {
    yield* [first.value ?? "", second.value ?? ""];
    yield* parts;
  }
  return streamBody(context, all(), { headers });
}

const HEADERS = {
  "content-type": "text/event-stream; charset=utf-8",
  "cache-control": "no-cache",
  "x-accel-buffering": "no",
} as const;

/** An event without data: it shows whether the client is still there. */
const EMPTY = ": \n\n";

/** Milliseconds in which a client reads what was sent last, if nothing else limits the request. */
const READ_WITHIN = 60_000;

/**
 * Streams objects as the answer to a request, each as an event, and [DONE]; `undefined` is an event without data.
 *
 * @param onEnd Called when the answer has ended, however it ends.
 */
export function streamEvents(
  context: RequestContext,
  objects: AsyncGenerator<object | undefined, void>,
  onEnd?: () => void,
) {
  return streamBody(context, eventTexts(context, objects), { headers: HEADERS, onEnd });
}

/**
 * Streams objects whose type is the event's, without an end of their own, as the Responses API does.
 *
 * @param objects Throws nothing: an error in the middle is an event, too.
 */
export function streamTypedEvents(
  context: RequestContext,
  objects: AsyncGenerator<{ readonly type: string }, void>,
) {
  async function* texts(): AsyncGenerator<string, void> {
    for await (const one of objects) yield `event: ${one.type}\ndata: ${JSON.stringify(one)}\n\n`;
  }
  return streamBody(context, texts(), { headers: HEADERS });
}

/** An error in the middle becomes an event, too, since the status was sent long before. */
async function* eventTexts(
  { var: { server, record } }: RequestContext,
  objects: AsyncGenerator<object | undefined, void>,
): AsyncGenerator<string, void> {
  const event = (data: string): string => `data: ${data}\n\n`;
  try {
    for await (const one of objects) yield one === undefined ? EMPTY : event(JSON.stringify(one));
    yield event("[DONE]");
  } catch (thrown) {
    const error = server.engineWatch.explain(thrown);
    record.error = errorText(error);
    yield event(JSON.stringify(server.answerTo(error).body));
  }
}

const TOO_SLOW = "the client reads too slowly";

/**
 * Sends texts with the status 200, made as fast as they are read. The request and its record end with them, however they
 * end. When the request is cancelled, a reader that is slow has two seconds for the rest; a request that may run for ever,
 * as only those with GET do, ends when its reader takes nothing for a minute.
 */
function streamBody(
  context: RequestContext,
  texts: AsyncGenerator<string, void>,
  { headers, onEnd }: { readonly headers: Record<string, string>; readonly onEnd?: (() => void) | undefined },
) {
  const { record } = context.var;
  const running = context.get("running") as RunningRequest | undefined;
  record.isStream = true;
  const encoder = new TextEncoder();
  let isOver = false;
  let idle: NodeJS.Timeout | undefined;
  const end = (): void => {
    if (isOver) return;
    isOver = true;
    record.isAborted = context.req.raw.signal.aborted;
    clearTimeout(idle);
    running?.stop();
    running?.end();
    onEnd?.();
    record.end?.();
  };
  /** Closes the connection, or without one of its own fails the body, since an answer that only ends would look whole. */
  const drop = (controller: ReadableStreamDefaultController, reason: string): void => {
    if (isOver) return;
    record.error = reason;
    end();
    const outgoing = context.env?.outgoing;
    if (outgoing === undefined) controller.error(new Error(reason));
    else {
      outgoing.destroy();
      controller.close();
    }
  };
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      const cutOff = (): void => drop(controller, TOO_SLOW);
      running?.signal.addEventListener("abort", () => void setTimeout(cutOff, GRACE).unref(), { once: true });
    },
    async pull(controller) {
      clearTimeout(idle);
      try {
        const { done, value } = await texts.next();
        if (isOver) return;
        if (done !== true) {
          if (running === undefined) idle = setTimeout(() => drop(controller, TOO_SLOW), READ_WITHIN).unref();
          return controller.enqueue(encoder.encode(value));
        }
        end();
        controller.close();
      } catch (error) {
        drop(controller, String(error));
      }
    },
    cancel() {
      end();
      void texts.return().catch(() => undefined);
    },
  });
  return context.body(body, 200, headers);
}

/** What an event adds to an answer. */
interface AnswerStep {
  readonly deltas: readonly AnswerDelta[];
  /** Log-probabilities of tokens of the text; reasoning and calls have none. */
  readonly logprobs: readonly TokenLogprob[];
  /** The end of the answer: by itself or a stop text, or by its length. */
  readonly finish?: "stop" | "length" | undefined;
}

export class AnswerReader {
  readonly #parser: AnswerParser;
  /**
   * Tokens that the parser has, and of which it is not known yet whether they are text: in groups whose text came at once, since a
   * token may end in the middle of a character.
   */
  #pending: { text: string; readonly logprobs: TokenLogprob[] }[] = [];
  #endsInText = true;

  constructor(parser: AnswerParser) {
    this.#parser = parser;
  }

  /** @throws ApiError 503 for an answer that the server cut off. */
  read(event: EngineEvent): AnswerStep {
    if (event.type === "token") {
      this.#note(event.text, unpackLogprobs(event));
      return this.#step(this.#parser.push(event.text));
    }
    if (event.type !== "finish") return { deltas: [], logprobs: [] };
    const finish = toFinishReason(event.finishReason);
    this.#note(event.text, []);
    const { deltas, logprobs } = this.#step([...this.#parser.push(event.text), ...this.#parser.finish()]);
    // such as those of an end token
    const rest = this.#endsInText ? this.#pending.flatMap((group) => group.logprobs) : [];
    return { deltas, logprobs: [...logprobs, ...rest], finish };
  }

  #note(text: string, logprobs: readonly TokenLogprob[]): void {
    if (logprobs.length === 0 && this.#pending.length === 0) return; // none were asked for
    const last = this.#pending.at(-1);
    if (last?.text === "") {
      last.text = text;
      last.logprobs.push(...logprobs);
    } else this.#pending.push({ text, logprobs: [...logprobs] });
  }

  #step(deltas: readonly AnswerDelta[]): AnswerStep {
    const last = deltas.at(-1);
    if (last === undefined) return { deltas, logprobs: [] };
    this.#endsInText = last.type === "text";
    if (this.#pending.length === 0) return { deltas, logprobs: [] };
    const logprobs = deltas.flatMap((delta) => (delta.type === "text" ? this.#take(delta.text) : []));
    if (!this.#endsInText) this.#pending = [];
    return { deltas, logprobs };
  }

  /** Takes the tokens of a text, and drops those before it, which are tags. */
  #take(text: string): readonly TokenLogprob[] {
    const raw = this.#pending.map((group) => group.text).join("");
    const begin = Math.max(0, raw.lastIndexOf(text));
    const end = begin + text.length;
    const taken: TokenLogprob[] = [];
    let at = 0;
    let count = 0;
    for (const group of this.#pending) {
      if (at >= end) break;
      at += group.text.length;
      count++;
      if (at > begin) taken.push(...group.logprobs);
    }
    this.#pending = this.#pending.slice(count);
    return taken;
  }
}
