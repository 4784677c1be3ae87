// A question to the engine, and what comes back.
import { MosError, randomStream } from "#core";
import type { Engine, EngineEvent, EngineRequest } from "#inference";
import type { Ask, Question } from "../types.ts";

/** All answers to one question. */
export interface Answers {
  /** Texts, or the label of the choice. */
  readonly answers: readonly string[];
  /** Of a choice: ln p of each candidate. */
  readonly logprobs?: readonly number[];
  readonly answerTokens: number;
  /** The prompt leaves no room for an answer, which is then empty. */
  readonly tooLong?: true;
}

export interface AskOptions {
  readonly engine: Engine;
  /** null is the base. */
  readonly adapter: string | null;
  /** Of the adapter's content: answers of another one would be another's. */
  readonly digest: string | null;
  readonly seed: number;
  readonly signal?: AbortSignal | undefined;
}

/** One tenant: prompts that begin alike are read once. */
const TENANT = "evaluation";

async function eventsOf(
  request: EngineRequest,
  { engine, adapter, digest }: AskOptions,
  take: (event: EngineEvent) => void,
): Promise<void> {
  for await (const event of engine.submit(request)) {
    if (event.type === "finish" && event.reason === "cancelled")
      throw new MosError("cancelled", "the evaluation was stopped");
    if (event.type === "scheduled" && event.digest !== digest)
      throw new MosError("bad_adapter", `adapter ${adapter} was replaced while it was asked; start again`);
    take(event);
  }
}

async function choose(
  ask: Extract<Ask, { readonly kind: "choice" }>,
  request: EngineRequest,
  options: AskOptions,
): Promise<Answers> {
  let logprobs: readonly number[] = [];
  await eventsOf({ ...request, maxTokens: 0, candidates: ask.candidates }, options, (event) => {
    if (event.type === "candidates") logprobs = event.logprobs;
  });
  // the first of equal ones
  const best = logprobs.indexOf(Math.max(...logprobs));
  return { answers: [ask.labels[best] ?? ""], logprobs, answerTokens: 0 };
}

async function write(request: EngineRequest, options: AskOptions): Promise<{ text: string; tokens: number }> {
  let text = "";
  let tokens = 0;
  await eventsOf(request, options, (event) => {
    if (event.type === "token" || event.type === "finish") text += event.text;
    if (event.type === "finish") tokens = event.usage.completionTokens;
  });
  return { text, tokens };
}

/**
 * Asks a question as often as it wants to be. A prompt too long for the model is answered by nothing, and an answer is cut
 * where the model ends, as the rules' own programs do.
 *
 * @throws MosError `cancelled`, `bad_adapter` for an adapter that was replaced meanwhile, and what the engine throws.
 */
export async function answersTo(question: Question, options: AskOptions): Promise<Answers> {
  const { ask, tokens: prompt, id } = question;
  const { engine, adapter, signal } = options;
  const room = engine.model.maxLength - prompt.length;
  const samples = ask.kind === "text" ? ask.samples : 1;
  if (room < 1) return { answers: Array(samples).fill(""), answerTokens: 0, tooLong: true };
  const request = { prompt, adapter, maxTokens: 0, seed: 0, tenant: TENANT, signal };
  if (ask.kind === "choice") return choose(ask, request, options);
  const written = await Promise.all(
    Array.from({ length: samples }, (_, i) =>
      write(
        {
          ...request,
          maxTokens: Math.min(ask.maxTokens, room),
          sampling: { temperature: ask.temperature, topP: ask.topP },
          stop: ask.stops,
          continuesPrompt: true,
          seed: randomStream(options.seed, `${id} ${i}`).uint32(),
        },
        options,
      ),
    ),
  );
  return {
    answers: written.map(({ text }) => text),
    answerTokens: written.reduce((sum, { tokens }) => sum + tokens, 0),
  };
}
