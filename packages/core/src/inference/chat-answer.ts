// A chat's answer: events of the engine, or its text, reasoning and calls.
import { MosError } from "#common";
import type { AnswerDelta, AnswerParser, ToolCall } from "#text";
import type { AssistantMessage, ChatAnswer, EngineEvent } from "./types.ts";

/** @throws MosError `cancelled` for the end of an answer by its caller's signal, which looks like that of a short one otherwise. */
export function checkCancelled(event: EngineEvent): void {
  if (event.type === "finish" && event.finishReason === "cancelled")
    throw new MosError("cancelled", "the answer was cancelled", { cause: event.cause });
}

/** Takes an answer apart for one reader: either of its events, or of its parts. */
export class ParsedAnswer implements ChatAnswer {
  readonly #events: AsyncIterable<EngineEvent>;
  readonly #makeParser: () => AnswerParser;

  constructor(events: AsyncIterable<EngineEvent>, makeParser: () => AnswerParser) {
    this.#events = events;
    this.#makeParser = makeParser;
  }

  [Symbol.asyncIterator](): AsyncIterator<EngineEvent> {
    return this.#events[Symbol.asyncIterator]();
  }

  async *parts(): AsyncGenerator<AnswerDelta, void> {
    const parser = this.#makeParser();
    for await (const event of this.#events) {
      if ("text" in event) yield* parser.push(event.text);
      if (event.type === "finish") yield* parser.finish();
      checkCancelled(event);
    }
  }

  async message(): Promise<AssistantMessage> {
    const parser = this.#makeParser();
    const calls: ToolCall[] = [];
    const [texts, reasoning]: [string[], string[]] = [[], []];
    let finish: Extract<EngineEvent, { type: "finish" }> | undefined;
    const take = (delta: AnswerDelta): void => {
      if (delta.type === "text") texts.push(delta.text);
      else if (delta.type === "reasoning") reasoning.push(delta.text);
      else if (delta.type === "call") calls.push(emptyCall(delta));
      else if (delta.type === "arguments") calls[delta.index] = longerCall(calls[delta.index], delta.text);
    };
    for await (const event of this.#events) {
      if ("text" in event) parser.push(event.text).forEach(take);
      checkCancelled(event);
      if (event.type !== "finish") continue;
      parser.finish().forEach(take);
      finish = event;
    }
    if (finish === undefined) throw new Error("the answer's events were read before");
    const { finishReason, usage } = finish;
    return {
      role: "assistant",
      content: texts.join(""),
      ...(reasoning.length === 0 ? {} : { reasoning: reasoning.join("") }),
      toolCalls: calls,
      finishReason,
      usage,
    };
  }
}

const emptyCall = ({ id = "", kind, name }: Extract<AnswerDelta, { type: "call" }>): ToolCall =>
  kind === "custom" ? { type: "custom", id, name, input: "" } : { type: "function", id, name, arguments: "" };

const longerCall = (call: ToolCall | undefined, text: string): ToolCall => {
  if (call === undefined) throw new Error("arguments came before their call");
  return call.type === "custom"
    ? { ...call, input: call.input + text }
    : { ...call, arguments: call.arguments + text };
};
