// From what a client asked for to what the engine is asked for.
import type { EngineRequest } from "#inference";
import type { ServerContext } from "./context.ts";
import { findAdapter } from "./context.ts";
import type { ApiKey } from "./key-ring.ts";
import { type Prompt, tooLong } from "./prompts.ts";
import { Refusal } from "./refusal.ts";
import type { SamplingFields } from "./sampling-fields.ts";

/** Which adapter a model name means; null is the base. @throws Refusal 404, never the base instead. */
export function adapterOf(
  { engine, modelName }: Pick<ServerContext, "engine" | "modelName">,
  { model, key }: { readonly model: string; readonly key: ApiKey },
): string | null {
  if (model === modelName) return null;
  if (findAdapter(engine, { name: model, key }) !== undefined) return model;
  throw new Refusal(
    `the model ${JSON.stringify(model)} does not exist or you do not have access to it; GET /v1/models lists those there are`,
    { status: 404, reason: "model_not_found", field: "model" },
  );
}

export interface LengthFields {
  readonly max_tokens?: number | undefined;
  readonly max_completion_tokens?: number | undefined;
}

export interface LengthOptions {
  readonly maxLength: number;
  /** Tokens where the request names no number; as many as fit are taken of them. */
  readonly missing: number;
  readonly field: string;
}

/** How many tokens an answer may have. @throws Refusal 400 where prompt and answer do not fit. */
export function answerLength(
  prompt: Prompt,
  { max_completion_tokens, max_tokens }: LengthFields,
  { maxLength, missing, field }: LengthOptions,
): number {
  const left = maxLength - prompt.ids.length;
  const asked = max_completion_tokens ?? max_tokens;
  if (asked === undefined && left > 0) return Math.min(missing, left);
  if (asked !== undefined && asked <= left) return asked;
  const length = prompt.ids.length;
  throw tooLong(
    maxLength,
    asked === undefined
      ? `the prompt has ${length}, which leaves none for the answer`
      : `${length + asked} were asked for (${length} in the prompt, ${asked} in the answer)`,
    field,
  );
}

export interface AnswerOptions {
  readonly prompt: Prompt;
  readonly maxTokens: number;
  readonly adapter: string | null;
  readonly fields: SamplingFields;
  /** A whole number of either sign, of the first answer; each further one has the next. */
  readonly seed: number;
  readonly tenant: string;
  readonly more?: Partial<
    Pick<EngineRequest, "logprobs" | "promptLogprobs" | "ignoreEos" | "continuesPrompt">
  >;
}

/** The engine's seeds begin at 0 and end below this; others come round. */
const SEEDS = Number.MAX_SAFE_INTEGER + 1;

/** The seed that is so many behind another one. */
function seedAt(seed: number, further: number): number {
  const first = seed < 0 ? seed + SEEDS : seed;
  const left = SEEDS - first;
  return further < left ? first + further : further - left;
}

/** The requests of one prompt, one for each of the n answers. */
export function answersOf(options: AnswerOptions): readonly EngineRequest[] {
  const { prompt, maxTokens, adapter, fields, seed, tenant, more = {} } = options;
  const { n = 1, temperature = 1, top_p = 1, top_k = 0, min_p = 0, repetition_penalty = 1, stop } = fields;
  const stops = typeof stop === "string" ? [stop] : (stop ?? []);
  // the smallest set of tokens whose probabilities reach 0 is the likeliest token
  const chosen = top_p === 0 ? { temperature: 0 } : { temperature, topP: top_p };
  return Array.from({ length: n }, (_, i) => ({
    prompt: prompt.ids,
    adapter,
    maxTokens,
    sampling: { ...chosen, topK: top_k, minP: min_p, repetitionPenalty: repetition_penalty },
    seed: seedAt(seed, i),
    stop: stops,
    tenant,
    ...more,
  }));
}

/** @throws Refusal 400 where one request asks for too many answers. */
export function checkChoices(count: number, limit: number): void {
  if (count > limit)
    throw new Refusal(`the request asks for ${count} answers; at most ${limit} are given at once`, {
      status: 400,
      reason: "invalid_value",
      field: "n",
    });
}
