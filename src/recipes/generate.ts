import { type Adapter, type ExpandedFactors, expandFactors, loadAdapter } from "#adapters";
import { MosError, randomStream } from "#core";
import { missingBos } from "#data";
import {
  type Decoder,
  type GenerateEvent,
  generate as generateRows,
  type SamplingOptions,
} from "#generation";
import { createDecoder, type RowAdapter } from "#inference";
import { geometryOf } from "#models";
import type { CompileOptions } from "#runtime";
import type { ChatMessage } from "#text";
import type { BaseModel } from "./base.ts";

/** What is continued: raw text, or a conversation in the model's chat template. */
export type Prompt =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "chat"; readonly messages: readonly ChatMessage[] };

/** Who answers. */
export interface SessionOptions {
  /** One entry for each answer that is written side by side: an adapter's folder, a loaded adapter, or null for the base. */
  readonly adapters: readonly (string | Adapter | null)[];
  /** The longest sequence, prompt and answer together; 8,192 tokens, or fewer where the model has fewer. */
  readonly maxLength?: number;
  readonly compile?: CompileOptions;
}

/** How an answer is written; greedy, 256 tokens at most and seed 0 unless told otherwise. */
export interface AnswerOptions {
  readonly sampling?: SamplingOptions;
  readonly maxTokens?: number;
  readonly stops?: readonly string[];
  readonly seed?: number;
  readonly signal?: AbortSignal | undefined;
}

/** A base with adapters, ready to answer. Holds native memory: dispose it. */
export interface Session extends AsyncDisposable {
  /** One answer from each of the session's adapters to the same prompt. One call at a time: they share a cache. */
  answer(prompt: Prompt, options?: AnswerOptions): AsyncGenerator<GenerateEvent, void>;
}

async function rowAdapter(base: BaseModel, adapter: string | Adapter | null): Promise<RowAdapter> {
  if (adapter === null) return undefined;
  const { config, fingerprint } = base.model;
  const loaded =
    typeof adapter === "string"
      ? await loadAdapter(adapter, { geometry: geometryOf(config), fingerprint })
      : adapter;
  const factors: ReadonlyMap<string, ExpandedFactors> = await expandFactors(loaded);
  return new Map([...factors].map(([site, { a, b, scale, rank }]) => [site, { rank, a, b, scale }]));
}

/** As in training: a BOS if the tokenizer begins texts with one and this text does not, and never an EOS at its end. */
function promptIds({ text: { tokenizer, template } }: BaseModel, prompt: Prompt): readonly number[] {
  const text =
    prompt.kind === "text" ? prompt.text : template.render(prompt.messages, { addGenerationPrompt: true });
  const ids = tokenizer.encode(text, { addSpecialTokens: false });
  const bos = missingBos(ids, tokenizer);
  return bos === undefined ? ids : [bos, ...ids];
}

/** Tokens that a session has room for unless told otherwise: some models claim millions. */
const DEFAULT_LENGTH = 8192;

/**
 * Prepares a base for answering with the given adapters side by side.
 * Throws `bad_adapter` for an adapter that is broken or belongs to another base.
 */
export async function openSession(base: BaseModel, options: SessionOptions): Promise<Session> {
  const { config, weights } = base.model;
  const rows: RowAdapter[] = [];
  for (const adapter of options.adapters) rows.push(await rowAdapter(base, adapter));
  const maxLength = Math.min(options.maxLength ?? DEFAULT_LENGTH, config.maxPositions);
  const decoder = await createDecoder({
    config,
    weightData: weights,
    rows,
    maxLength,
    ...(options.compile === undefined ? {} : { compile: options.compile }),
  });
  return {
    answer: (prompt, answerOptions) =>
      answer({ base, decoder, rows: rows.length, maxLength }, prompt, answerOptions ?? {}),
    [Symbol.asyncDispose]: () => decoder[Symbol.asyncDispose](),
  };
}

interface OpenSession {
  readonly base: BaseModel;
  readonly decoder: Decoder;
  readonly rows: number;
  readonly maxLength: number;
}

async function* answer(
  { base, decoder, rows, maxLength }: OpenSession,
  prompt: Prompt,
  options: AnswerOptions,
): AsyncGenerator<GenerateEvent, void> {
  const { seed = 0, maxTokens = 256, sampling = {}, stops = [], signal } = options;
  const { tokenizer } = base.text;
  const ids = promptIds(base, prompt);
  const room = maxLength - ids.length;
  if (room < 1)
    throw new MosError(
      "bad_option",
      `the prompt has ${ids.length} tokens and leaves no room for an answer within ${maxLength}; shorten it`,
    );
  decoder.clear();
  yield* generateRows(
    decoder,
    Array.from({ length: rows }, () => ids),
    {
      tokenizer,
      sampling,
      stops,
      continues: prompt.kind === "text",
      maxTokens: Math.min(maxTokens, room),
      endTokens: [...new Set([...base.model.config.eosTokens, ...tokenizer.eosTokens])],
      // every row draws the same numbers, so that answers side by side differ by their adapters alone
      random: () => randomStream(seed, "sampling"),
      signal,
    },
  );
}

/** An answer's options, and the adapter that gives it: a folder or a loaded one; the base without. */
export interface GenerateOptions extends AnswerOptions, Omit<SessionOptions, "adapters"> {
  readonly adapter?: string | Adapter;
}

/**
 * Answers one prompt, streamed. For several prompts keep a session open with `openSession`.
 *
 * @example
 * const base = await loadModel("assets/tiny-english");
 * for await (const event of generate(base, { kind: "text", text: "Once upon a time" }))
 *   if (event.type === "text") process.stdout.write(event.text);
 */
export async function* generate(
  base: BaseModel,
  prompt: Prompt,
  options: GenerateOptions = {},
): AsyncGenerator<GenerateEvent, void> {
  await using session = await openSession(base, { ...options, adapters: [options.adapter ?? null] });
  yield* session.answer(prompt, options);
}
