// Fields that several kinds of requests share.
import { z } from "@hono/zod-openapi";
import { neutral, unused } from "./request.ts";

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
  chat_template_kwargs: z
    .record(z.string(), z.unknown())
    .optional()
    .describe("vLLM extension: variables for the model's chat template."),
  safety_identifier: unused(z.string().max(1000)),
  prompt_cache_key: unused(z.string().max(1000)),
  prompt_cache_retention: unused(z.string().max(1000)),
  prompt_cache_options: unused(z.record(z.string(), z.unknown())),
  service_tier: unused(z.string().max(100)),
};
