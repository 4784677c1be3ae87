// Pieces of the routes' declarations that several of them share: fields of requests, answers, errors.
import { z } from "@hono/zod-openapi";

/** A field of OpenAI's that this server does not support: only the value that changes nothing is taken. */
export const neutral = <T extends z.ZodType>(schema: T) =>
  schema.optional().describe("Not supported: only the neutral value is accepted.");

/** A field that is accepted, since an answer without it is as good. */
export const unused = <T extends z.ZodType>(schema: T) => schema.optional().describe("Accepted and ignored.");

/** Schema of a field that may only be null, which counts as left out. */
export const nullOnly = z.never().openapi({ type: "null" });

const penalty = z.number().min(-2).max(2).optional();

/** Entries of a map or list of token ids. */
const MAX_IDS = 1024;

/** Fields that chat and completions share. */
export const samplingFields = {
  model: z.string().min(1).max(256).describe("Name of the base model or an adapter."),
  temperature: z
    .number()
    .min(0)
    .max(2)
    .optional()
    .describe("0 is greedy decoding. Default: default_parameters of GET /v1/models."),
  top_p: z.number().min(0).max(1).optional(),
  n: z.int().min(1).max(128).optional().describe("Number of choices per prompt."),
  seed: z.int().optional().describe("Equal requests with equal seeds give equal output on the same machine."),
  stop: z
    .union([z.string().max(1000), z.array(z.string().max(1000)).max(16)])
    .optional()
    .describe("Stop sequences, not included in the output. Empty ones are ignored."),
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
  logit_bias: z
    .record(z.string(), z.number().min(-100).max(100))
    .refine((biases) => Object.keys(biases).length <= MAX_IDS, `an object of at most ${MAX_IDS} token ids`)
    .optional()
    .describe("Values from -100 to 100 added to logits, by token id."),
  user: unused(z.string().max(1000)),
  top_k: z
    .int()
    .min(-1)
    .optional()
    .describe("vLLM extension: sample from this many most likely tokens; 0 and -1 disable."),
  min_p: z
    .number()
    .min(0)
    .max(1)
    .optional()
    .describe("vLLM extension: drop tokens below this fraction of the top token's probability."),
  repetition_penalty: z
    .number()
    .gt(0)
    .max(100)
    .optional()
    .describe("vLLM extension: penalise tokens that occur in the prompt or output."),
  min_tokens: z.int().min(0).optional().describe("vLLM extension: minimum number of output tokens."),
  ignore_eos: z.boolean().optional().describe("vLLM extension: do not stop at end-of-sequence tokens."),
  stop_token_ids: z
    .array(z.int().min(0))
    .max(MAX_IDS)
    .optional()
    .describe("vLLM extension: additional token ids to stop at."),
  skip_special_tokens: neutral(z.literal(true)),
  spaces_between_special_tokens: unused(z.boolean()),
  include_stop_str_in_output: neutral(z.literal(false)),
};

/** What a request says about sampling and streaming. */
export type SamplingFields = z.output<z.ZodObject<typeof samplingFields>>;

const error = z
  .object({
    error: z.object({
      message: z.string(),
      type: z.string(),
      param: z.string().nullable(),
      code: z.string().nullable(),
    }),
  })
  .openapi("Error");

const usage = z
  .object({
    prompt_tokens: z.int(),
    completion_tokens: z.int(),
    total_tokens: z.int(),
    prompt_tokens_details: z.object({
      cached_tokens: z.int().describe("Prompt tokens served from the prefix cache."),
    }),
  })
  .openapi("Usage");

/** OpenAI's count of tokens. */
export type UsageFields = z.output<typeof usage>;

const headFields = {
  id: z.string(),
  created: z.int(),
  model: z.string(),
  system_fingerprint: z.string().nullable().describe("Digest of the adapter; null for the base."),
};

/** Fields that the answers of chat and completions share. */
export const answerFields = { ...headFields, usage };

/** Fields that the chunks of their streams share. */
export const chunkFields = {
  ...headFields,
  usage: usage
    .nullable()
    .optional()
    .describe("With stream_options.include_usage: null except in the last chunk, which has no choices."),
};

export const finishReason = z.enum(["stop", "length"]);

export const json = <T extends z.ZodType>(schema: T) => ({ "application/json": { schema } });

/** A JSON answer. */
export const ok = <T extends z.ZodType>(schema: T, description: string) => ({
  content: json(schema),
  description,
});

/** An answer as a whole or as a stream, whose events each have a chunk as JSON. */
export const okOrStream = <T extends z.ZodType, C extends z.ZodType>(schema: T, chunk: C) => ({
  description:
    "The completion or, with stream: true, server-sent events with a chunk each. The last event " +
    "is [DONE], or an error.",
  content: { ...json(schema), "text/event-stream": { schema: chunk } },
});

/** Any other answer. */
export const failed = { content: json(error), description: "An error in OpenAI's format." };

/** The key that a route asks for. */
export const security = [{ key: [] }];
