// A client's sampling fields, and their conversion to engine requests: one for each answer, with tokens, seed and sampling.
import { setImmediate as nextTurn } from "node:timers/promises";
import { z } from "@hono/zod-openapi";
import { monotonicNow, randomStream } from "mixture-of-shards-core/common";
import { encodePrompt } from "mixture-of-shards-core/data";
import type {
  AdapterInfo,
  EngineModel,
  EngineRequest,
  SamplingOptions,
} from "mixture-of-shards-core/inference";
import type { LoadedText } from "mixture-of-shards-core/text";
import type { ApiKey } from "./auth.ts";
import type { RequestContext, ServerContext } from "./context.ts";
import { invalidValue, notFound, tooLong, unknownModel } from "./errors.ts";
import { neutral, ofVllm, optional, unused } from "./request.ts";

const penalty = z.number().min(-2).max(2).optional();

/** Entries of a map or list of token ids. */
const MAX_IDS = 1024;

/** Fields that chat and completions share. */
export const samplingFields = {
  model: z.string().min(1).max(256).describe("Name of the base model or an adapter."),
  temperature: optional(
    z.number().min(0).max(2),
    "0 is greedy decoding. Default: default_parameters of GET /v1/models.",
  ),
  top_p: z.number().min(0).max(1).optional(),
  n: optional(z.int().min(1).max(128), "Number of choices per prompt."),
  seed: optional(
    z.int(),
    "Equal requests with equal seeds give equal output on the same machine if each runs alone; in int8, other requests and cached prompts change it.",
  ),
  stop: optional(
    z.union([z.string().max(1000), z.array(z.string().max(1000)).max(16)]),
    "Stop sequences, not included in the output. Empty ones are ignored.",
  ),
  stream: z.boolean().optional(),
  stream_options: z
    .strictObject({ include_usage: z.boolean().optional(), include_obfuscation: z.literal(false).optional() })
    .optional(),
  presence_penalty: penalty.describe(
    "Subtracted from the logits of tokens that already occur in the output.",
  ),
  frequency_penalty: penalty.describe(
    "Subtracted from the logits of tokens once per occurrence in the output.",
  ),
  logit_bias: optional(
    z
      .record(z.string(), z.number().min(-100).max(100))
      .refine((biases) => Object.keys(biases).length <= MAX_IDS, `an object of at most ${MAX_IDS} token ids`),
    "Values from -100 to 100 added to logits, by token id.",
  ),
  user: unused(z.string().max(1000)),
  top_k: ofVllm(z.int().min(-1), "sample from this many most likely tokens; 0 and -1 disable"),
  min_p: ofVllm(z.number().min(0).max(1), "drop tokens below this fraction of the top token's probability"),
  repetition_penalty: ofVllm(z.number().gt(0).max(100), "penalise tokens that occur in the prompt or output"),
  min_tokens: ofVllm(z.int().min(0), "minimum number of output tokens"),
  ignore_eos: ofVllm(z.boolean(), "do not stop at end-of-sequence tokens"),
  stop_token_ids: ofVllm(z.array(z.int().min(0)).max(MAX_IDS), "additional token ids to stop at"),
  skip_special_tokens: neutral(z.literal(true)),
  spaces_between_special_tokens: unused(z.boolean()),
  include_stop_str_in_output: neutral(z.literal(false)),
};

export type SamplingFields = z.output<z.ZodObject<typeof samplingFields>>;

/** A client's notes on a request, as OpenAI limits them. */
export const metadata = z
  .record(z.string(), z.string().max(512))
  .refine((pairs) => Object.keys(pairs).length <= 16, "an object of at most 16 members")
  .refine(
    (pairs) => Object.keys(pairs).every((key) => key.length <= 64),
    "an object with keys of at most 64 characters",
  );

/** Fields that chats and responses share. Most are about OpenAI's own platform. */
export const clientFields = {
  chat_template_kwargs: ofVllm(z.record(z.string(), z.unknown()), "variables for the model's chat template"),
  safety_identifier: unused(z.string().max(1000)),
  prompt_cache_key: unused(z.string().max(1000)),
  prompt_cache_retention: unused(z.string().max(1000)),
  prompt_cache_options: unused(z.record(z.string(), z.unknown())),
  service_tier: unused(z.string().max(100)),
};

/** An adapter that a key may use, by name. */
export async function findAdapter(
  { engine, extension }: Pick<ServerContext, "engine" | "extension">,
  { name, key }: { readonly name: string; readonly key: ApiKey },
): Promise<AdapterInfo | undefined> {
  // the key first, so that the time reveals nothing about other tenants' names
  if (!key.mayUse(name)) return undefined;
  const find = (): AdapterInfo | undefined => engine.adapters().find((adapter) => adapter.name === name);
  const found = find();
  if (found !== undefined) extension?.models?.use(name);
  if (found !== undefined || !(await extension?.models?.fetch(name))) return found;
  await engine.refreshAdapters();
  return find();
}

/**
 * The adapter that the model of a request means; null is the base. The record has the name by which the model is served.
 *
 * @throws ApiError 404 rather than answering with the base.
 */
export async function resolveAdapter(context: RequestContext, model: string): Promise<string | null> {
  const { server, key, record } = context.var;
  const isServed = async (name: string): Promise<boolean> =>
    name === server.modelName || (await findAdapter(server, { name, key })) !== undefined;
  const isName = await isServed(model);
  const name = isName ? model : await server.extension?.models?.resolve(model, key);
  if (name === undefined) throw unknownModel(model);
  if (!isName && !(await isServed(name))) {
    const target = `${JSON.stringify(name)}, which no longer exists; switch it to another model`;
    throw notFound(`the alias ${JSON.stringify(model)} points to ${target}`, "model_not_found", "model");
  }
  record.model = name;
  if (name === server.modelName) return null;
  server.lastUse.set(name, Math.floor(server.date() / 1000));
  return name;
}

/** A prompt as the engine takes it. */
export interface EncodedPrompt {
  readonly ids: readonly number[];
  /** As it was sent; undefined where token ids were. */
  readonly text?: string;
  /** Tokens that were added before the text, such as a BOS. */
  readonly added?: number;
}

/** Encodes prompts. Its methods throw ApiError 400, naming the field. */
export type PromptReader = ReturnType<typeof createPromptReader>;

/** A text of more characters than this for each token of the context is counted before it is encoded as a whole. */
const COUNTED_FROM = 2;
/** It is counted in chunks of this many characters; each cut may add this many tokens. */
const CHUNK = 1024;
const CUT = 32;
/** Milliseconds of counting after which other requests have their turn. */
const MAX_BUSY_MILLISECONDS = 10;

/** A tokenizer's work grows with the square of a word's length. No word of any language comes near this. */
const MAX_WORD = 4096;

/** Text that tokenizers take as one word: letters, digits, blanks or symbols in a row. */
const WORDS = /\p{L}+|\p{N}+|\s+|[^\s\p{L}\p{N}]+/gu;

function checkWords(text: string, field: string): void {
  if (text.length <= MAX_WORD) return;
  for (const [word] of text.matchAll(WORDS))
    if (word.length > MAX_WORD)
      throw invalidValue(
        `${field} has ${word.length} letters, digits, blanks or symbols in a row; at most ${MAX_WORD} are allowed`,
        field,
      );
}

export function createPromptReader(
  { tokenizer }: Pick<LoadedText, "tokenizer">,
  { vocabularySize, maxLength }: Pick<EngineModel, "vocabularySize" | "maxLength">,
) {
  let maxTokenBytes = 1;
  for (let id = 0; id < tokenizer.vocabularySize; id++)
    // no token stands for more bytes than its spelling has; bytesOf would keep those of a quarter million tokens
    maxTokenBytes = Math.max(maxTokenBytes, Buffer.byteLength(tokenizer.idToToken(id) ?? ""));
  const checkLength = async (text: string, field: string): Promise<void> => {
    if (Buffer.byteLength(text) > maxLength * maxTokenBytes)
      throw tooLong(maxLength, `a text of ${text.length} characters has more`, field);
    if (text.length < COUNTED_FROM * maxLength) return;
    let tokens = 0;
    let since = monotonicNow();
    for (let start = 0; start < text.length; start += CHUNK) {
      const chunk = text.slice(start, start + CHUNK);
      tokens += Math.max(0, tokenizer.encode(chunk, { addSpecialTokens: false }).length - CUT);
      if (tokens > maxLength) throw tooLong(maxLength, `a text of ${text.length} characters has more`, field);
      if (monotonicNow() - since < MAX_BUSY_MILLISECONDS) continue;
      await nextTurn();
      since = monotonicNow();
    }
  };
  const checked = (prompt: EncodedPrompt, field: string): EncodedPrompt => {
    const { ids } = prompt;
    if (ids.length === 0) throw invalidValue(`${field} is empty`, field);
    if (ids.length > maxLength) throw tooLong(maxLength, `the prompt has ${ids.length}`, field);
    return prompt;
  };
  return {
    /**
     * As in training. A whole text is to be embedded: no answer follows it, so the tokenizer's end token does, where it adds one.
     * Other requests are answered while the tokens of a long text are counted.
     */
    fromText: async (text: string, field: string, { isWhole = false } = {}): Promise<EncodedPrompt> => {
      if (isWhole && text === "") throw invalidValue(`${field} is empty`, field);
      await checkLength(text, field);
      checkWords(text, field);
      if (isWhole) return checked({ ids: tokenizer.encode(text), text }, field);
      const ids = encodePrompt(text, tokenizer);
      const bos = ids[0] === tokenizer.bosToken ? tokenizer.idToToken(ids[0] ?? -1) : undefined;
      return checked({ ids, text, added: bos === undefined || text.startsWith(bos) ? 0 : 1 }, field);
    },
    fromIds: (ids: readonly number[], field: string): EncodedPrompt => {
      const wrong = ids.find((id) => id >= vocabularySize);
      if (wrong !== undefined)
        throw invalidValue(
          `${field} has token ${wrong}; the vocabulary ends at ${vocabularySize - 1}`,
          field,
        );
      return checked({ ids }, field);
    },
  };
}

/** Fields with the length of an answer. */
export type LengthFields = Pick<SamplingFields, "min_tokens"> & {
  readonly max_tokens?: number | undefined;
  readonly max_completion_tokens?: number | undefined;
};

/**
 * Maximum number of tokens of an answer.
 *
 * @param options `maxLength`: limit of prompt and answer together; `fallback`: tokens if the request names no number, cut to what
 * is left of the context.
 * @throws ApiError 400 if prompt and answer do not fit into the context, or the answer has to be longer than it may be.
 */
export function resolveMaxTokens(
  { ids: { length } }: EncodedPrompt,
  { max_completion_tokens, max_tokens, min_tokens = 0 }: LengthFields,
  { maxLength, fallback, field }: { maxLength: number; fallback: number; field: string },
): number {
  const left = maxLength - length;
  const asked = max_completion_tokens ?? max_tokens;
  const max = asked ?? Math.min(fallback, left);
  if (max > left || (left <= 0 && asked === undefined))
    throw tooLong(
      maxLength,
      asked === undefined
        ? `the prompt has ${length}, which leaves no room for the answer`
        : `${length + asked} were requested (${length} in the prompt, ${asked} in the answer)`,
      field,
    );
  if (min_tokens <= max) return max;
  throw invalidValue(`min_tokens is ${min_tokens}, more than the answer may have (${max})`, "min_tokens");
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
      throw invalidValue(
        `${field} has ${JSON.stringify(wrong).slice(0, 100)}; token ids are whole numbers from 0 to ${vocabularySize - 1}`,
        field,
      );
  }
}

/** The engine's requests for one prompt, one for each of its n choices. The seed is a whole number of either sign. */
export function makeRequests(
  prompt: EncodedPrompt,
  fields: SamplingFields,
  own: Omit<EngineRequest, "prompt" | "seed"> & { readonly seed: number },
): readonly EngineRequest[] {
  const { n = 1, stop = [], stop_token_ids = [], min_tokens = 0, ignore_eos = false } = fields;
  if (ignore_eos && own.grammar !== undefined)
    throw invalidValue(
      "ignore_eos conflicts with tools, a response_format or a grammar, which say where the answer ends; omit it",
      "ignore_eos",
    );
  const sampling = toSampling(fields);
  return Array.from({ length: n }, (_, i) => ({
    prompt: prompt.ids,
    minTokens: min_tokens,
    sampling,
    stop: [stop].flat().filter((text) => text !== ""),
    stopTokens: stop_token_ids,
    ignoreEos: ignore_eos,
    ...own,
    seed: seedAt(own.seed, i),
  }));
}

/** The request's own sampling options; the engine fills in the rest. */
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
