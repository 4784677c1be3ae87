// What a request may be: its kinds, its defaults, and what is refused before anything runs.
import { z } from "zod";
import { checkCall, kinds, MosError, type OptionKinds } from "#common";
import { NO_DEFAULTS, samplingSettings } from "./engine-options.ts";
import { checkSampling, samplingBy } from "./sampler.ts";
import { capacityFor } from "./slots.ts";
import type { AnswerDefaults, EngineModel, EngineRequest, FullRequest, TextRequest } from "./types.ts";

/** Limits for admitting requests, sent by the engine's process to this one. */
export interface AdmissionLimits {
  /** Requests that run side by side. */
  readonly maxBatch: number;
  /** Requests of one tenant that may wait. */
  readonly maxWaiting: number;
  /** Bytes of keys and values of one position, and of all slots. */
  readonly bytesPerPosition: number;
  readonly cacheMemory: number;
}

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

export const requestKinds: OptionKinds<TextRequest> = {
  adapter: z.unknown(),
  maxTokens: kinds.number.optional(),
  sampling: samplingSettings,
  seed: kinds.number.optional(),
  grammar: kinds.object.optional(),
  stop: kinds.array.optional(),
  stopTokens: kinds.array.optional(),
  ignoreEos: z.boolean().optional(),
  minTokens: kinds.number.optional(),
  continuesPrompt: z.boolean().optional(),
  logprobs: kinds.number.optional(),
  promptLogprobs: kinds.number.optional(),
  candidates: kinds.array.optional(),
  tenant: z.string().optional(),
  signal: kinds.object.optional(),
};

export const invalid = (message: string): MosError => new MosError("bad_option", message);

export function checkCount(
  name: string,
  value: number | undefined,
  { min = 0, max }: { min?: number; max: number },
): void {
  if (value !== undefined && !(Number.isInteger(value) && value >= min && value <= max))
    throw invalid(`${name} is ${value}; it must be a whole number from ${min} to ${max}`);
}

function checkTokens(where: string, ids: readonly number[], vocabularySize: number): void {
  const odd = ids.find((id) => !(Number.isInteger(id) && id >= 0 && id < vocabularySize));
  if (odd !== undefined)
    throw new MosError(
      "bad_data",
      `token ${odd} of ${where} is outside the model's vocabulary of ${vocabularySize}`,
    );
}

/** A grammar says where an answer may end. Throws `bad_option`. */
function checkConstrained({ ignoreEos, pooling }: FullRequest): void {
  if (ignoreEos)
    throw invalid("ignoreEos conflicts with a grammar, whose answers end where it says; omit one of them");
  if (pooling !== undefined)
    throw invalid("an embedding has no answer that a grammar could describe; omit it");
}

/** Fills in the defaults but the grammar's digest, and refuses what could not run to its end. Throws `bad_option`, `bad_data`. */
export function fullRequest(
  { signal: _, grammar, ...given }: EngineRequest,
  {
    model,
    defaults = NO_DEFAULTS,
    bytesPerPosition,
    cacheMemory,
  }: Omit<AdmissionLimits, "maxBatch" | "maxWaiting"> & {
    readonly model: Pick<EngineModel, "vocabularySize" | "maxLength">;
    readonly defaults?: AnswerDefaults;
  },
): FullRequest {
  checkCall<Omit<EngineRequest, "signal">>("request", grammar === undefined ? given : { ...given, grammar }, {
    ...requestKinds,
    prompt: kinds.array,
    calls: kinds.object.optional(),
    pooling: z.string().optional(),
  });
  const { vocabularySize, maxLength } = model;
  const room = Math.max(1, maxLength - given.prompt.length);
  const answer = given.maxTokens ?? Math.min(defaults.maxTokens ?? MAX_TOKENS, room);
  const maxTokens = given.pooling === undefined ? answer : 0;
  const sampling = samplingBy(defaults, given.sampling);
  const request = { ...DEFAULTS, ...given, maxTokens, sampling };
  const { prompt, minTokens, seed, stop, stopTokens } = request;
  const { logprobs, promptLogprobs, candidates = [], pooling } = request;
  if (prompt.length === 0)
    throw new MosError("bad_data", "the prompt is empty; at least one token is required");
  checkCount("maxTokens", maxTokens, { max: Number.MAX_SAFE_INTEGER });
  checkCount("minTokens", minTokens, { max: maxTokens });
  checkCount("seed", seed, { max: Number.MAX_SAFE_INTEGER });
  checkCount("logprobs", logprobs, { max: vocabularySize });
  checkCount("promptLogprobs", promptLogprobs, { max: vocabularySize });
  checkSampling(sampling);
  if (pooling !== undefined && pooling !== "last" && pooling !== "mean")
    throw invalid(`pooling: ${JSON.stringify(pooling)} is invalid; expected last or mean`);
  if (grammar !== undefined) checkConstrained(request);
  if (stop.includes("")) throw invalid("a stop sequence is empty; omit it");
  const length = prompt.length + maxTokens;
  if (length > maxLength)
    throw invalid(
      `a prompt of ${prompt.length} tokens and an answer of up to ${maxTokens} are ${length} in total; the limit is ${maxLength}`,
    );
  if (capacityFor(length) * bytesPerPosition > cacheMemory)
    throw invalid(
      `${length} tokens need more than the ${cacheMemory} bytes for keys and values of this engine; ask for fewer tokens, or raise it with --cache-memory of mos serve`,
    );
  checkTokens("the prompt", prompt, vocabularySize);
  checkTokens("the candidates", candidates, vocabularySize);
  checkTokens("the stop tokens", stopTokens, vocabularySize);
  checkTokens("logitBias", [...(given.sampling?.logitBias?.keys() ?? [])], vocabularySize);
  return request;
}
