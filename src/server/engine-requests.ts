// Conversion of a client's fields to engine requests: one for each answer, with tokens, seed and sampling.
import { randomStream } from "#core";
import type { EngineModel, EngineRequest, SamplingOptions } from "#inference";
import { ApiError } from "./errors.ts";
import { type EncodedPrompt, tooLong } from "./prompts.ts";
import type { SamplingFields } from "./schemas.ts";

const invalidField = (message: string, param: string): ApiError =>
  new ApiError(message, { status: 400, code: "invalid_value", param });

export interface LengthFields {
  readonly max_tokens?: number | undefined;
  readonly max_completion_tokens?: number | undefined;
  readonly min_tokens?: number | undefined;
}

export interface LengthOptions {
  /** Limit of prompt and answer together, in tokens. */
  readonly maxLength: number;
  /** Tokens if the request names no number, cut to what is left of the context. */
  readonly fallback: number;
  readonly field: string;
}

/**
 * Maximum number of tokens of an answer.
 *
 * @throws ApiError 400 if prompt and answer do not fit into the context, or the answer has to be longer than it may be.
 */
export function resolveMaxTokens(
  prompt: EncodedPrompt,
  fields: LengthFields,
  options: LengthOptions,
): number {
  const { min_tokens = 0 } = fields;
  const max = answerRoom(prompt, fields, options);
  if (min_tokens <= max) return max;
  throw invalidField(`min_tokens is ${min_tokens}, more than the answer may have (${max})`, "min_tokens");
}

function answerRoom(
  { ids: { length } }: EncodedPrompt,
  { max_completion_tokens, max_tokens }: LengthFields,
  { maxLength, fallback, field }: LengthOptions,
): number {
  const left = maxLength - length;
  const asked = max_completion_tokens ?? max_tokens;
  if (asked === undefined && left > 0) return Math.min(fallback, left);
  if (asked !== undefined && asked <= left) return asked;
  throw tooLong(
    maxLength,
    asked === undefined
      ? `the prompt has ${length}, which leaves no room for the answer`
      : `${length + asked} were requested (${length} in the prompt, ${asked} in the answer)`,
    field,
  );
}

/** The engine's seeds are whole numbers from 0 to just below this; others wrap around. */
const SEEDS = Number.MAX_SAFE_INTEGER + 1;

/** The first choice has the request's own seed. Those of others are drawn: no choice of the next seed has the same. */
function seedAt(seed: number, index: number): number {
  const first = seed < 0 ? seed + SEEDS : seed;
  return index === 0 ? first : Math.floor(randomStream(first, `choice ${index}`).uniform() * SEEDS);
}

/** @throws ApiError 400 for a token that the model does not have. */
export function checkTokenIds(
  { logit_bias = {}, stop_token_ids = [] }: SamplingFields,
  { vocabularySize }: Pick<EngineModel, "vocabularySize">,
): void {
  const odd = (id: string | number): boolean => !(/^\d+$/.test(String(id)) && Number(id) < vocabularySize);
  for (const [field, ids] of Object.entries({ logit_bias: Object.keys(logit_bias), stop_token_ids })) {
    const wrong = ids.find(odd);
    if (wrong !== undefined)
      throw invalidField(
        `${field} has ${JSON.stringify(wrong).slice(0, 100)}; token ids are whole numbers from 0 to ${vocabularySize - 1}`,
        field,
      );
  }
}

export interface ChoiceOptions {
  readonly prompt: EncodedPrompt;
  readonly maxTokens: number;
  readonly adapter: string | null;
  readonly fields: SamplingFields;
  /** A whole number of either sign. */
  readonly seed: number;
  readonly tenant: string;
  readonly more?: Partial<
    Pick<EngineRequest, "logprobs" | "promptLogprobs" | "ignoreEos" | "continuesPrompt">
  >;
}

/** The engine's requests for one prompt, one for each of its n choices. */
export function makeRequests(options: ChoiceOptions): readonly EngineRequest[] {
  const { prompt, maxTokens, adapter, fields, seed, tenant, more = {} } = options;
  const { n = 1, stop = [], stop_token_ids = [], min_tokens = 0, ignore_eos = false } = fields;
  const sampling = toSampling(fields);
  return Array.from({ length: n }, (_, i) => ({
    prompt: prompt.ids,
    adapter,
    maxTokens,
    minTokens: min_tokens,
    sampling,
    seed: seedAt(seed, i),
    stop: [stop].flat().filter((text) => text !== ""),
    stopTokens: stop_token_ids,
    ignoreEos: ignore_eos,
    tenant,
    ...more,
  }));
}

/** What the request says; of the rest the engine has defaults. */
function toSampling(fields: SamplingFields): SamplingOptions {
  const { temperature, top_p, top_k, logit_bias } = fields;
  return {
    // the smallest set of tokens whose probabilities reach 0 is the likeliest token
    ...(top_p === 0 ? { temperature: 0 } : { temperature, topP: top_p }),
    topK: top_k === undefined ? undefined : Math.max(0, top_k),
    minP: fields.min_p,
    repetitionPenalty: fields.repetition_penalty,
    presencePenalty: fields.presence_penalty,
    frequencyPenalty: fields.frequency_penalty,
    logitBias:
      logit_bias && new Map(Object.entries(logit_bias).map(([id, bias]) => [Number(id), bias] as const)),
  };
}
