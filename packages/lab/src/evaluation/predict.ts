// One question to the engine, and the predictions that come back.
import { type Engine, type EngineEvent, MosError } from "mixture-of-shards";
import { omitUndefined, randomStream } from "mixture-of-shards-core/common";
import type { OutputSpec, Question } from "./benchmark.ts";

type Request = Parameters<Engine["submit"]>[0];

/** All predictions for one question. */
export interface Predictions {
  /** Texts, or the label of the choice. */
  readonly predictions: readonly string[];
  /** Log-probability of each candidate of a choice. */
  readonly logprobs?: readonly number[];
  /** Tokens of all predictions together. */
  readonly tokens: number;
  /** The prompt leaves no room for a prediction, which is then empty. */
  readonly tooLong?: true;
}

export interface PredictOptions {
  readonly engine: Engine;
  /** null is the base. */
  readonly adapter: string | null;
  /** Digest of the adapter's content: another content would make other predictions. */
  readonly digest: string | null;
  readonly seed: number;
  readonly signal?: AbortSignal | undefined;
}

/** One tenant: prompts that begin alike share their prefix. */
const TENANT = "evaluation";

/** An engine may have defaults of its model, which are no part of a benchmark's rules. */
const NO_OTHER_SAMPLING = { topK: 0, minP: 0, repetitionPenalty: 1, presencePenalty: 0, frequencyPenalty: 0 };

/**
 * Asks the engine as often as the question needs predictions. A prompt that is too long for the model gets an empty
 * prediction, and a prediction is cut where the model's context ends, as the rules' own programs do.
 *
 * @throws MosError `cancelled`, `bad_adapter` for an adapter that was replaced meanwhile, and what the engine throws.
 */
export async function predict(question: Question, options: PredictOptions): Promise<Predictions> {
  const { output, tokens: prompt, id } = question;
  const { engine, adapter, signal } = options;
  const room = engine.model.maxLength - prompt.length;
  const samples = output.kind === "text" ? output.samples : 1;
  if (room < 1) return { predictions: Array(samples).fill(""), tokens: 0, tooLong: true };
  const request = { prompt, adapter, tenant: TENANT, signal };
  if (output.kind === "choice") return choose(output, request, options);
  const written = await Promise.all(
    Array.from({ length: samples }, (_, i) =>
      write(
        {
          ...request,
          maxTokens: Math.min(output.maxTokens, room),
          sampling: { ...NO_OTHER_SAMPLING, temperature: output.temperature, topP: output.topP },
          stop: output.stop,
          ...omitUndefined({ grammar: output.grammar }),
          continuesPrompt: true,
          seed: randomStream(options.seed, `${id} ${i}`).uint32(),
        },
        options,
      ),
    ),
  );
  return {
    predictions: written.map(({ text }) => output.read?.(text) ?? text),
    tokens: written.reduce((sum, { tokens }) => sum + tokens, 0),
  };
}

async function choose(
  output: Extract<OutputSpec, { readonly kind: "choice" }>,
  request: Request,
  options: PredictOptions,
): Promise<Predictions> {
  let logprobs: readonly number[] = [];
  await takeEvents({ ...request, maxTokens: 0, candidates: output.candidates }, options, (event) => {
    if (event.type === "candidates") logprobs = event.logprobs;
  });
  // the first of equal ones
  const best = logprobs.indexOf(Math.max(...logprobs));
  return { predictions: [output.labels[best] ?? ""], logprobs, tokens: 0 };
}

async function write(request: Request, options: PredictOptions) {
  let text = "";
  let tokens = 0;
  await takeEvents(request, options, (event) => {
    if (event.type === "token" || event.type === "finish") text += event.text;
    if (event.type === "finish") tokens = event.usage.completionTokens;
  });
  return { text, tokens };
}

async function takeEvents(
  request: Request,
  { engine, adapter, digest }: PredictOptions,
  take: (event: EngineEvent) => void,
): Promise<void> {
  for await (const event of engine.submit(request)) {
    if (event.type === "finish" && event.finishReason === "cancelled")
      throw new MosError("cancelled", "the evaluation was interrupted");
    if (event.type === "scheduled" && event.digest !== digest)
      throw new MosError("bad_adapter", `adapter ${adapter} was replaced during the evaluation; start again`);
    take(event);
  }
}
