import { MosError } from "#core";
import { checkSampling } from "#generation";
import type { LlamaConfig } from "#models";
import { bytesPerPosition, capacityFor } from "./kv-cache.ts";
import type { EngineModel, EngineRequest } from "./types.ts";

/** A request with its defaults filled in; the signal stays with the caller. */
export type FullRequest = Required<
  Omit<EngineRequest, "signal" | "logprobs" | "promptLogprobs" | "candidates">
> &
  Pick<EngineRequest, "logprobs" | "promptLogprobs" | "candidates">;

const DEFAULTS = {
  adapter: null,
  maxTokens: 256,
  sampling: {},
  seed: 0,
  stop: [],
  ignoreEos: false,
  continuesPrompt: false,
  tenant: "default",
} satisfies Partial<EngineRequest>;

/** What a request is when the settings that it leaves out have their defaults. */
export const fullRequest = ({ signal: _, ...request }: EngineRequest): FullRequest => ({
  ...DEFAULTS,
  ...request,
});

interface RequestBounds {
  readonly model: EngineModel;
  readonly config: LlamaConfig;
  readonly cacheLimit: number;
}

const wrong = (message: string): MosError => new MosError("bad_option", message);

function checkCount(name: string, value: number | undefined, most: number): void {
  if (value !== undefined && !(Number.isInteger(value) && value >= 0 && value <= most))
    throw wrong(`${name} is ${value}; it must be a whole number from 0 to ${most}`);
}

function checkTokens(where: string, ids: readonly number[], { vocabularySize }: LlamaConfig): void {
  const odd = ids.find((id) => !(Number.isInteger(id) && id >= 0 && id < vocabularySize));
  if (odd !== undefined)
    throw new MosError(
      "bad_data",
      `token ${odd} of ${where} is outside the model's vocabulary of ${vocabularySize}`,
    );
}

/** Refuses what could not run to its end. Throws `bad_option`, `bad_data`. */
export function checkRequest(request: FullRequest, { model, config, cacheLimit }: RequestBounds): void {
  const { prompt, maxTokens, sampling, seed, stop, logprobs, promptLogprobs } = request;
  if (prompt.length === 0) throw new MosError("bad_data", "the prompt is empty; give at least one token");
  checkCount("maxTokens", maxTokens, Number.MAX_SAFE_INTEGER);
  checkCount("seed", seed, Number.MAX_SAFE_INTEGER);
  checkCount("logprobs", logprobs, config.vocabularySize);
  checkCount("promptLogprobs", promptLogprobs, config.vocabularySize);
  checkSampling(sampling);
  if (stop.includes("")) throw wrong("a stop string is empty; leave it out");
  const length = prompt.length + maxTokens;
  if (length > model.maxLength)
    throw wrong(
      `a prompt of ${prompt.length} tokens and an answer of up to ${maxTokens} are ${length}; ${model.maxLength} fit`,
    );
  // rows are given with room for one token more
  if (capacityFor(Math.max(length, prompt.length + 1)) * bytesPerPosition(config) > cacheLimit)
    throw wrong(
      `${length} tokens need more than the ${cacheLimit} bytes for keys and values of this engine; ask for fewer tokens, or raise it with --cache-memory of mos serve`,
    );
  checkTokens("the prompt", prompt, config);
  checkTokens("the candidates", request.candidates ?? [], config);
}
