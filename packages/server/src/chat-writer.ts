// One choice of a chat's answer in OpenAI's format, whole or as the chunks of a stream.
import { randomUUID } from "node:crypto";
import { z } from "@hono/zod-openapi";
import type { EngineEvent, TokenLogprob } from "mixture-of-shards-core/inference";
import type { AnswerDelta, AnswerParser } from "mixture-of-shards-core/text";
import { AnswerReader, type ChoiceWriter, type JsonPieces, jsonList, jsonObject } from "./answer.ts";
import { LogprobBuffer, type TokenWriter, writeLogprob } from "./logprobs.ts";
import { answerFields, chunkFields, finishReason, optional } from "./request.ts";
import type { RequestedTools } from "./tools.ts";

const chatFinish = z.enum([...finishReason.options, "tool_calls", "function_call"]);
type ChatFinish = z.output<typeof chatFinish>;

const chatLogprob = z.object({
  token: z.string(),
  logprob: z.number().nullable(),
  bytes: z.array(z.int()),
});

const chatLogprobs = z.object({
  content: z.array(chatLogprob.extend({ top_logprobs: z.array(chatLogprob) })),
  refusal: z.null(),
});

const calledFunction = z.object({ name: z.string(), arguments: z.string().describe("JSON text.") });
const calledCustom = z.object({ name: z.string(), input: z.string() });
const reasoningContent = optional(
  z.string(),
  "Reasoning of a model that thinks before it answers; as vLLM has it.",
);

const calls = z.array(
  z.discriminatedUnion("type", [
    z.object({ id: z.string(), type: z.literal("function"), function: calledFunction }),
    z.object({ id: z.string(), type: z.literal("custom"), custom: calledCustom }),
  ]),
);

export const chatAnswer = z
  .object({
    ...answerFields,
    object: z.literal("chat.completion"),
    choices: z.array(
      z.object({
        index: z.int(),
        message: z.object({
          role: z.literal("assistant"),
          content: z.string().nullable().describe("null where the answer has only calls."),
          refusal: z.null(),
          reasoning_content: reasoningContent,
          tool_calls: calls.optional(),
          function_call: calledFunction.optional(),
        }),
        logprobs: chatLogprobs.nullable().describe("Of the tokens of the content only."),
        finish_reason: chatFinish,
      }),
    ),
  })
  .openapi("ChatAnswer");

const callChunk = z.object({
  index: z.int(),
  id: optional(z.string(), "Only in a call's first chunk, as its type and its name."),
  type: z.enum(["function", "custom"]).optional(),
  function: z.object({ name: z.string().optional(), arguments: z.string() }).optional(),
  custom: z.object({ name: z.string().optional(), input: z.string() }).optional(),
});

export const chatChunk = z
  .object({
    ...chunkFields,
    object: z.literal("chat.completion.chunk"),
    choices: z.array(
      z.object({
        index: z.int(),
        delta: z.object({
          role: z.literal("assistant").optional(),
          content: z.string().nullable().optional(),
          refusal: z.null().optional(),
          reasoning_content: reasoningContent,
          tool_calls: z.array(callChunk).optional(),
          function_call: z.object({ name: z.string().optional(), arguments: z.string() }).optional(),
        }),
        logprobs: chatLogprobs.nullable(),
        finish_reason: chatFinish.nullable(),
      }),
    ),
  })
  .openapi("ChatChunk");

type ChatChunkChoice = z.output<typeof chatChunk>["choices"][number];
type ChunkDelta = ChatChunkChoice["delta"];

interface ChatWriterOptions extends Pick<RequestedTools, "isNamed" | "isLegacy"> {
  readonly index: number;
  readonly tokenizer: TokenWriter;
  readonly parser: AnswerParser;
  readonly withLogprobs: boolean;
  /** The request has tools that the answer may call. */
  readonly mayCall: boolean;
}

/** A call as far as it has come. */
interface GrowingCall {
  readonly id: string;
  readonly kind: "function" | "custom";
  readonly name: string;
  text: string;
  isWhole: boolean;
}

/** Takes a delta into a call. Returns what it adds to the text. */
function takeArguments(
  call: GrowingCall,
  delta: Extract<AnswerDelta, { type: "arguments" | "call_end" }>,
): string {
  const isEnd = delta.type === "call_end" && delta.isCut !== true;
  if (isEnd) call.isWhole = true;
  // clients parse the arguments of each call, also those of a function that takes none
  const isEmpty = isEnd && call.text === "" && call.kind === "function";
  const added = delta.type === "arguments" ? delta.text : isEmpty ? "{}" : "";
  call.text += added;
  return added;
}

/** A call as OpenAI writes it, or a part of one without its name. */
const writeCalled = ({
  kind,
  text,
  ...named
}: Pick<GrowingCall, "kind" | "text"> & { readonly name?: string }) =>
  kind === "custom" ? { custom: { ...named, input: text } } : { function: { ...named, arguments: text } };

export class ChatWriter implements ChoiceWriter {
  readonly #options: ChatWriterOptions;
  readonly #reader: AnswerReader;
  readonly #logprobs = new LogprobBuffer();
  readonly #calls: GrowingCall[] = [];
  #text = "";
  #reasoning = "";
  #finish: "stop" | "length" = "stop";

  constructor(options: ChatWriterOptions) {
    this.#options = options;
    this.#reader = new AnswerReader(options.parser);
  }

  add(event: EngineEvent): void {
    const { deltas, logprobs, finish } = this.#reader.read(event);
    for (const delta of deltas) this.#take(delta);
    for (const entry of logprobs) this.#logprobs.push(entry);
    this.#finish = finish ?? this.#finish;
  }

  toJson(): JsonPieces {
    const { index, withLogprobs, tokenizer } = this.#options;
    const content = jsonList(() => this.#logprobs.map((entry) => writeLogprob(tokenizer, entry)));
    return jsonObject({
      index,
      message: this.#message(),
      logprobs: withLogprobs ? jsonObject({ content, refusal: null }) : null,
      finish_reason: this.#finishReason(),
    });
  }

  stream(event: EngineEvent): readonly ChatChunkChoice[] {
    const { withLogprobs, mayCall } = this.#options;
    if (event.type === "scheduled") {
      const delta = { role: "assistant", content: mayCall ? null : "", refusal: null } as const;
      return [this.#chunk(delta, { logprobs: withLogprobs ? [] : undefined })];
    }
    const { deltas, logprobs, finish } = this.#reader.read(event);
    this.#finish = finish ?? this.#finish;
    const written = deltas.flatMap((delta) => this.#take(delta));
    const chunks = this.#withLogprobs(written, logprobs);
    return finish === undefined ? chunks : [...chunks, this.#chunk({}, { finish: this.#finishReason() })];
  }

  /** Takes a delta into the whole answer, and gives the same as chunks. */
  #take(delta: AnswerDelta): readonly ChunkDelta[] {
    switch (delta.type) {
      case "text":
        this.#text += delta.text;
        return [{ content: delta.text }];
      case "reasoning":
        this.#reasoning += delta.text;
        return [{ reasoning_content: delta.text }];
      case "call": {
        const { id = `call_${randomUUID().replaceAll("-", "").slice(0, 24)}`, kind, name } = delta;
        if (this.#options.isLegacy && delta.index > 0) return []; // the older form has room for one
        this.#calls[delta.index] = { id, kind, name, text: "", isWhole: false };
        return this.#callChunks(delta.index, true, "");
      }
      default: {
        const call = this.#calls[delta.index];
        const added = call === undefined ? "" : takeArguments(call, delta);
        return added === "" ? [] : this.#callChunks(delta.index, false, added);
      }
    }
  }

  #callChunks(index: number, isFirst: boolean, text: string): readonly ChunkDelta[] {
    const call = this.#calls[index];
    if (call === undefined) return [];
    const { id, kind, name } = call;
    const called = writeCalled({ kind, text, ...(isFirst ? { name } : {}) });
    if (this.#options.isLegacy) return [{ function_call: called.function }];
    return [{ tool_calls: [{ ...(isFirst ? { index, id, type: kind } : { index }), ...called }] }];
  }

  #message(): object {
    const calls = this.#calls.map(({ id, kind, ...call }) => ({
      id,
      type: kind,
      ...writeCalled({ kind, name: call.name, text: call.text }),
    }));
    const isCall = calls.length > 0;
    const written = this.#options.isLegacy ? { function_call: calls[0]?.function } : { tool_calls: calls };
    return {
      role: "assistant",
      content: isCall && this.#text === "" ? null : this.#text,
      refusal: null,
      ...(this.#reasoning === "" ? {} : { reasoning_content: this.#reasoning }),
      ...(isCall ? written : {}),
    };
  }

  /** A call that was cut off, by the length or by a stop text, is none that a client should make. */
  #finishReason(): ChatFinish {
    const { isNamed, isLegacy } = this.#options;
    const isCalled = this.#calls.length > 0 && this.#calls.every(({ isWhole }) => isWhole);
    if (this.#finish === "length" || !isCalled || isNamed) return this.#finish;
    return isLegacy ? "function_call" : "tool_calls";
  }

  /** The chunks, the first of which with content has the log-probabilities. */
  #withLogprobs(
    deltas: readonly ChunkDelta[],
    logprobs: readonly TokenLogprob[],
  ): readonly ChatChunkChoice[] {
    if (logprobs.length === 0) return deltas.map((delta) => this.#chunk(delta));
    const written = logprobs.map((entry) => writeLogprob(this.#options.tokenizer, entry));
    const first = deltas.findIndex(({ content }) => content !== undefined);
    const all = first < 0 ? [...deltas, { content: "" }] : deltas;
    const place = first < 0 ? deltas.length : first;
    return all.map((delta, i) => this.#chunk(delta, i === place ? { logprobs: written } : {}));
  }

  #chunk(
    delta: ChunkDelta,
    more: { logprobs?: z.output<typeof chatLogprobs>["content"] | undefined; finish?: ChatFinish } = {},
  ): ChatChunkChoice {
    const logprobs = more.logprobs === undefined ? null : { content: more.logprobs, refusal: null };
    return { index: this.#options.index, delta, logprobs, finish_reason: more.finish ?? null };
  }
}
