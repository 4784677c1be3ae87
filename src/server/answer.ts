// The answer to a request in OpenAI's form, as one object or as chunks. Routes say what an object of theirs holds.
import { randomUUID } from "node:crypto";
import type { EngineEvent } from "#inference";
import type { RunningChoices } from "./choices.ts";
import type { ServerContext } from "./context.ts";
import { type JsonPieces, jsonList, jsonObject } from "./json.ts";
import type { SamplingFields, UsageFields } from "./schemas.ts";

/** Writes one choice of an answer. */
export interface ChoiceWriter<ChunkChoice> {
  /** Takes an event into the whole choice. */
  add(event: EngineEvent): void;
  /** The whole choice, after its last event. */
  toJson(): JsonPieces;
  /** What an event adds to a streamed answer: nothing, or a choice for each chunk. */
  stream(event: EngineEvent): readonly ChunkChoice[];
}

/** The objects of a route, such as chat.completion and chat.completion.chunk. */
export interface AnswerFormat<ChunkObject extends string> {
  readonly idPrefix: string;
  readonly object: string;
  readonly chunkObject: ChunkObject;
}

export interface AnswerParts<ChunkChoice, ChunkObject extends string> {
  readonly format: AnswerFormat<ChunkObject>;
  readonly request: Pick<SamplingFields, "stream_options">;
  readonly choices: RunningChoices;
  /** One for each choice. */
  readonly writers: readonly ChoiceWriter<ChunkChoice>[];
  readonly now: ServerContext["now"];
}

/** An answer whose choices run. It is read once, in one of the two forms. */
export class Answer<ChunkChoice, ChunkObject extends string> {
  readonly #parts: AnswerParts<ChunkChoice, ChunkObject>;
  readonly #id: string;
  readonly #created: number;

  constructor(parts: AnswerParts<ChunkChoice, ChunkObject>) {
    this.#parts = parts;
    this.#id = `${parts.format.idPrefix}-${randomUUID().replaceAll("-", "")}`;
    this.#created = Math.floor(parts.now() / 1000);
  }

  /** The fields that every object begins with. The fingerprint says which content of an adapter answers. */
  #head<T extends string>(object: T) {
    const { model, digest } = this.#parts.choices;
    return { id: this.#id, object, created: this.#created, model, system_fingerprint: digest };
  }

  /** Waits for all choices. */
  async toResponse(): Promise<JsonPieces> {
    const { format, choices, writers } = this.#parts;
    for await (const [choice, event] of choices.events) writers[choice]?.add(event);
    const written = writers.map((writer) => writer.toJson());
    return jsonObject({
      ...this.#head(format.object),
      choices: jsonList(() => written),
      usage: choices.usage(),
    });
  }

  async *chunks() {
    const { format, request, choices, writers } = this.#parts;
    const withUsage = request.stream_options?.include_usage === true;
    const chunk = (listed: ChunkChoice[], usage: UsageFields | null = null) => ({
      ...this.#head(format.chunkObject),
      choices: listed,
      ...(withUsage ? { usage } : {}),
    });
    for await (const [choice, event] of choices.events)
      for (const part of writers[choice]?.stream(event) ?? []) yield chunk([part]);
    if (withUsage) yield chunk([], choices.usage());
  }
}
