// Answers over a base that is in memory already. Where it is not, and for many requests, `openEngine` is the way.
import type { Adapter } from "#adapters";
import {
  type Engine,
  type EngineEvent,
  type FinishReason,
  openEngine,
  type SamplingOptions,
} from "#inference";
import { geometryOf } from "#models";
import type { Device } from "#runtime";
import type { ChatMessage } from "#text";
import type { BaseModel } from "./base.ts";

/** What is continued: raw text, or a conversation in the model's chat template. */
export type Prompt =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "chat"; readonly messages: readonly ChatMessage[] };

/** Which adapters answer, and how much of the machine they may take. */
export interface SessionOptions {
  /** One entry for each answer that is written side by side: an adapter's folder, or null for the base. */
  readonly adapters: readonly (string | null)[];
  /** The longest sequence, prompt and answer together; 8,192 tokens, or fewer where the model has fewer. */
  readonly maxLength?: number;
  readonly compile?: { readonly device?: Device; readonly threads?: number };
}

/** How an answer is written; greedy, 256 tokens at most and seed 0 by default. */
export interface AnswerOptions {
  readonly sampling?: SamplingOptions;
  readonly maxTokens?: number;
  readonly stops?: readonly string[];
  readonly seed?: number;
  readonly signal?: AbortSignal | undefined;
}

/** What happens while answers are written: tokens and text as they come, and one `end` for each answer. */
export type GenerateEvent =
  /** Text that is now certain, of the answer of one adapter; never half a character. */
  | { readonly type: "text"; readonly row: number; readonly text: string }
  | { readonly type: "token"; readonly row: number; readonly id: number }
  | {
      readonly type: "end";
      readonly row: number;
      readonly reason: FinishReason;
      readonly text: string;
      readonly ids: readonly number[];
    };

/** A base with adapters, ready to answer. Holds native memory: dispose it. */
export interface Session extends AsyncDisposable {
  /** One answer from each of the session's adapters to the same prompt; the events of one follow those of another. */
  answer(prompt: Prompt, options?: AnswerOptions): AsyncGenerator<GenerateEvent, void>;
}

/** Tokens that a session has room for by default: some models claim millions. */
const DEFAULT_LENGTH = 8192;

/** Numbers of linear layers up to which a session holds them a second time, with its adapter merged. */
const MERGE_LIMIT = 300e6;

function linearNumbers({ model: { config } }: BaseModel): number {
  const { layers, widths } = geometryOf(config);
  return layers * Object.values(widths).reduce((sum, width) => sum + width.in * width.out, 0);
}

/**
 * Prepares a base for answering with the given adapters side by side. A lone adapter is merged into a copy of
 * weights that are not large, which is as fast as the base alone.
 *
 * @throws MosError `bad_adapter` for a lone adapter that is broken or belongs to another base; of several, `answer`
 * throws it.
 */
export async function openSession(base: BaseModel, options: SessionOptions): Promise<Session> {
  const { adapters } = options;
  const [lone = null] = adapters;
  const isMerged = adapters.length === 1 && (lone === null || linearNumbers(base) <= MERGE_LIMIT);
  if (isMerged) return sessionOf(base, [null], { ...options, merged: lone });
  const folders = Object.fromEntries(
    adapters.flatMap((folder) => (folder === null ? [] : [[folder, folder]])),
  );
  return sessionOf(base, adapters, { ...options, folders });
}

interface Opening extends Omit<SessionOptions, "adapters"> {
  readonly merged?: string | Adapter | null;
  readonly folders?: Readonly<Record<string, string>>;
}

async function sessionOf(
  model: BaseModel,
  names: readonly (string | null)[],
  { merged = null, folders, maxLength = DEFAULT_LENGTH, compile = {} }: Opening,
): Promise<Session> {
  const engine = await openEngine({
    ...{ model, maxLength, maxBatch: Math.max(1, names.length) },
    ...(merged === null ? {} : { mergedAdapter: merged }),
    ...(folders === undefined ? {} : { adapters: folders }),
    ...compile,
  });
  return {
    answer: (prompt, options = {}) => answers(engine, prompt, { ...options, names }),
    [Symbol.asyncDispose]: () => engine[Symbol.asyncDispose](),
  };
}

async function* answers(
  engine: Engine,
  prompt: Prompt,
  { names, stops: stop = [], ...options }: AnswerOptions & { readonly names: readonly (string | null)[] },
): AsyncGenerator<GenerateEvent, void> {
  // all at once, so that they share steps; each draws the same numbers, so that they differ by their adapters alone
  const running = names.map((adapter) => {
    const request = { ...options, stop, adapter };
    return prompt.kind === "chat"
      ? engine.chat(prompt.messages, request)
      : engine.complete(prompt.text, request);
  });
  for (const [row, events] of running.entries()) yield* answerOf(events, row);
}

async function* answerOf(
  events: AsyncIterable<EngineEvent>,
  row: number,
): AsyncGenerator<GenerateEvent, void> {
  const ids: number[] = [];
  let text = "";
  for await (const event of events) {
    if (event.type !== "token" && event.type !== "finish") continue;
    if (event.type === "token") {
      ids.push(event.id);
      yield { type: "token", row, id: event.id };
    }
    text += event.text;
    if (event.text !== "") yield { type: "text", row, text: event.text };
    if (event.type === "finish") yield { type: "end", row, reason: event.reason, text, ids };
  }
}

/** An answer's options, and the adapter that gives it: a folder or a loaded one; the base without. */
export interface GenerateOptions extends AnswerOptions, Omit<SessionOptions, "adapters"> {
  readonly adapter?: string | Adapter;
}

/**
 * Answers one prompt, streamed. For several prompts keep a session open with `openSession`, or an engine with
 * `openEngine`.
 *
 * @example
 * const base = await loadModel("assets/tiny-english");
 * for await (const event of generate(base, { kind: "text", text: "Once upon a time" }))
 *   if (event.type === "text") process.stdout.write(event.text);
 */
export async function* generate(
  base: BaseModel,
  prompt: Prompt,
  { adapter, ...options }: GenerateOptions = {},
): AsyncGenerator<GenerateEvent, void> {
  await using session = await sessionOf(base, [null], { ...options, merged: adapter ?? null });
  yield* session.answer(prompt, options);
}
