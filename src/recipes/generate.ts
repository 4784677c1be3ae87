import type { Adapter } from "#adapters";
import { type EngineEvent, openEngine, type TextRequest } from "#inference";
import type { Device } from "#runtime";
import type { ChatMessage } from "#text";
import type { BaseModel } from "./base.ts";

/** What is continued: raw text, or a conversation in the model's chat template. */
export type Prompt =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "chat"; readonly messages: readonly ChatMessage[] };

/** A request's options, which adapter answers it, and how much of the machine it takes. */
export interface GenerateOptions extends Omit<TextRequest, "adapter"> {
  /** An adapter or its folder; the base answers without. */
  readonly adapter?: string | Adapter | undefined;
  /** Whether what the options leave out is as the model's files have it ("auto"), or as if they had nothing. */
  readonly generationConfig?: "auto" | "none" | undefined;
  /** The longest sequence, prompt and answer together (8,192 tokens, or fewer where the model has fewer). */
  readonly maxLength?: number | undefined;
  /** Where steps are computed ("cpu"). */
  readonly device?: Device | undefined;
  /** Threads to compute with (one for each core). */
  readonly threads?: number | undefined;
}

/**
 * Answers one prompt with a base that is in memory already, and closes its engine. For several prompts keep one open
 * with `openEngine`.
 *
 * @throws MosError what `openEngine` and the `chat` and `complete` of its engine throw.
 * @example
 * const base = await loadModel("assets/tiny-english");
 * for await (const event of generate(base, { kind: "text", text: "Once upon a time" }))
 *   if (event.type === "token" || event.type === "finish") process.stdout.write(event.text);
 */
export async function* generate(
  base: BaseModel,
  prompt: Prompt,
  { adapter, generationConfig, maxLength = 8192, device, threads, ...request }: GenerateOptions = {},
): AsyncGenerator<EngineEvent, void> {
  await using engine = await openEngine({
    ...{ model: base, mergedAdapter: adapter, maxLength, device, threads },
    defaults: { generationConfig },
  });
  yield* prompt.kind === "chat"
    ? engine.chat(prompt.messages, request)
    : engine.complete(prompt.text, request);
}
