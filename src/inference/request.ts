// Validation of requests, with all defaults filled in.
import { MosError } from "#core";
import { NO_DEFAULTS, samplingBy } from "./answer-defaults.ts";
import { capacityFor } from "./kv-cache.ts";
import { checkSampling } from "./sampler.ts";
import type { AnswerDefaults, EngineModel, EngineRequest } from "./types.ts";

/** A request with its defaults filled in; the signal stays with the caller. */
export type FullRequest = Required<
  Omit<EngineRequest, "signal" | "maxTokens" | "logprobs" | "promptLogprobs" | "candidates">
> &
  Pick<EngineRequest, "logprobs" | "promptLogprobs" | "candidates"> & { readonly maxTokens: number };

/** Tokens of an answer where neither its request nor an option nor the model says how many. */
const MAX_TOKENS = 256;

const DEFAULTS = {
  adapter: null,
  seed: 0,
  stop: [],
  stopTokens: [],
  ignoreEos: false,
  minTokens: 0,
  continuesPrompt: false,
  tenant: "default",
} satisfies Partial<EngineRequest>;

/** The bounds that requests are checked against. */
export interface RequestBounds {
  readonly model: Pick<EngineModel, "vocabularySize" | "maxLength">;
  /** Bytes of keys and values of one position. */
  readonly bytesPerPosition: number;
  /** Bytes of keys and values of all slots. */
  readonly cacheMemory: number;
}

interface FullRequestOptions extends RequestBounds {
  readonly defaults?: AnswerDefaults;
}

const invalid = (message: string): MosError => new MosError("bad_option", message);

function checkCount(name: string, value: number | undefined, max: number): void {
  if (value !== undefined && !(Number.isInteger(value) && value >= 0 && value <= max))
    throw invalid(`${name} is ${value}; it must be a whole number from 0 to ${max}`);
}

function checkTokens(where: string, ids: readonly number[], vocabularySize: number): void {
  const odd = ids.find((id) => !(Number.isInteger(id) && id >= 0 && id < vocabularySize));
  if (odd !== undefined)
    throw new MosError(
      "bad_data",
      `token ${odd} of ${where} is outside the model's vocabulary of ${vocabularySize}`,
    );
}

/** Fills in the defaults, and refuses what could not run to its end. Throws `bad_option`, `bad_data`. */
export function fullRequest(
  { signal: _, ...given }: EngineRequest,
  { model, defaults = NO_DEFAULTS, bytesPerPosition, cacheMemory }: FullRequestOptions,
): FullRequest {
  const { vocabularySize, maxLength } = model;
  const room = Math.max(1, maxLength - given.prompt.length);
  const maxTokens = given.maxTokens ?? Math.min(defaults.maxTokens ?? MAX_TOKENS, room);
  const sampling = samplingBy(defaults, given.sampling);
  const request = { ...DEFAULTS, ...given, maxTokens, sampling };
  const { prompt, minTokens, seed, stop, stopTokens } = request;
  const { logprobs, promptLogprobs, candidates = [] } = request;
  if (prompt.length === 0)
    throw new MosError("bad_data", "the prompt is empty; at least one token is required");
  checkCount("maxTokens", maxTokens, Number.MAX_SAFE_INTEGER);
  checkCount("minTokens", minTokens, maxTokens);
  checkCount("seed", seed, Number.MAX_SAFE_INTEGER);
  checkCount("logprobs", logprobs, vocabularySize);
  checkCount("promptLogprobs", promptLogprobs, vocabularySize);
  checkSampling(sampling);
  if (stop.includes("")) throw invalid("a stop sequence is empty; omit it");
  const length = prompt.length + maxTokens;
  if (length > maxLength)
    throw invalid(
      `a prompt of ${prompt.length} tokens and an answer of up to ${maxTokens} are ${length}; ${maxLength} fit`,
    );
  // a slot has room for one token more than its sequence has when it gets the slot
  if (capacityFor(Math.max(length, prompt.length + 1)) * bytesPerPosition > cacheMemory)
    throw invalid(
      `${length} tokens need more than the ${cacheMemory} bytes for keys and values of this engine; ask for fewer tokens, or raise it with --cache-memory of mos serve`,
    );
  checkTokens("the prompt", prompt, vocabularySize);
  checkTokens("the candidates", candidates, vocabularySize);
  checkTokens("the stop tokens", stopTokens, vocabularySize);
  checkTokens("logitBias", [...(given.sampling?.logitBias?.keys() ?? [])], vocabularySize);
  return request;
}
