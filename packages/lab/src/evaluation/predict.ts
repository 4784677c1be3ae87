// One question to the engine, and the predictions that come back.
import { type Engine, MosError } from "mixture-of-shards";
import { omitUndefined, randomStream } from "mixture-of-shards-core/common";
import type { Question } from "./benchmark.ts";

interface PredictOptions {
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
export async function predict(question: Question, options: PredictOptions) {
  const { output, tokens: prompt, id } = question;
  const { engine, adapter, signal } = options;
  const room = engine.model.maxLength - prompt.length;
  const samples = output.kind === "text" ? output.samples : 1;
  if (room < 1) return { predictions: Array<string>(samples).fill(""), tokens: 0, tooLong: true as const };
  const request = { prompt, adapter, tenant: TENANT, signal };
  if (output.kind === "choice") {
    const { logprobs } = await ask({ ...request, maxTokens: 0, candidates: output.candidates }, options);
    // the first of equal ones
    const best = logprobs.indexOf(Math.max(...logprobs));
    return { predictions: [output.labels[best] ?? ""], logprobs, tokens: 0 };
  }
  const text = {
    ...request,
    maxTokens: Math.min(output.maxTokens, room),
    sampling: { ...NO_OTHER_SAMPLING, temperature: output.temperature, topP: output.topP },
    stop: output.stop,
    ...omitUndefined({ grammar: output.grammar }),
    continuesPrompt: true,
  };
  const seeds = Array.from({ length: samples }, (_, i) => randomStream(options.seed, `${id} ${i}`).uint32());
  const written = await Promise.all(seeds.map((seed) => ask({ ...text, seed }, options)));
  return {
    predictions: written.map(({ text }) => output.read?.(text) ?? text),
    tokens: written.reduce((sum, { tokens }) => sum + tokens, 0),
  };
}

/** What comes back of one request: a text, or the log-probabilities of candidates. */
async function ask(request: Parameters<Engine["submit"]>[0], { engine, adapter, digest }: PredictOptions) {
  let [text, tokens] = ["", 0];
  let logprobs: readonly number[] = [];
  for await (const event of engine.submit(request)) {
    if (event.type === "finish" && event.finishReason === "cancelled")
      throw new MosError("cancelled", "the evaluation was interrupted");
    if (event.type === "scheduled" && event.digest !== digest)
      throw new MosError("bad_adapter", `adapter ${adapter} was replaced during the evaluation; start again`);
    if (event.type === "candidates") logprobs = event.logprobs;
    if (event.type === "token" || event.type === "finish") text += event.text;
    if (event.type === "finish") tokens = event.usage.completionTokens;
  }
  return { text, tokens, logprobs };
}
