// Pieces of the routes' declarations that several of them share: fields of requests, answers, errors.
import { z } from "@hono/zod-openapi";

/** A field of OpenAI's that this server does not support: only the value that changes nothing is taken. */
export const neutral = <T extends z.ZodType>(schema: T) =>
  schema.optional().describe("Not supported: only the value that changes nothing is taken.");

/** Of a field that may only be null, which counts as left out. */
export const nothing = z.never().openapi({ type: "null" });

/** Fields that chat and completions share. */
export const samplingFields = {
  model: z.string().min(1).max(256).describe("The base model's name or an adapter's."),
  temperature: z.number().min(0).max(2).optional().describe("0 takes the likeliest token. Default 1."),
  top_p: z.number().min(0).max(1).optional(),
  n: z.int().min(1).max(128).optional().describe("Answers for each prompt."),
  seed: z.int().optional().describe("The same request with the same seed has the same answer."),
  stop: z
    .union([z.string().min(1).max(1000), z.array(z.string().min(1).max(1000)).max(4)])
    .optional()
    .describe("Texts that end the answer and are not part of it."),
  stream: z.boolean().optional(),
  stream_options: z
    .strictObject({ include_usage: z.boolean().optional(), include_obfuscation: z.literal(false).optional() })
    .optional(),
  user: z.string().max(1000).optional().describe("Taken and not used."),
  top_k: z.int().min(0).optional().describe("Beyond OpenAI's API: this many tokens; 0 keeps all."),
  min_p: z.number().min(0).max(1).optional().describe("Beyond OpenAI's API."),
  repetition_penalty: z.number().gt(0).max(100).optional().describe("Beyond OpenAI's API."),
  frequency_penalty: neutral(z.literal(0)),
  presence_penalty: neutral(z.literal(0)),
  logit_bias: neutral(z.strictObject({})),
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
  .object({ prompt_tokens: z.int(), completion_tokens: z.int(), total_tokens: z.int() })
  .openapi("Usage");

/** Fields that the answers of chat and completions share. */
export const answerFields = {
  id: z.string(),
  created: z.int(),
  model: z.string(),
  system_fingerprint: z.string().nullable().describe("Digest of the adapter's content; null for the base."),
  usage,
};

export const finishReason = z.enum(["stop", "length"]);

export const json = <T extends z.ZodType>(schema: T) => ({ "application/json": { schema } });

/** A JSON answer. */
export const ok = <T extends z.ZodType>(schema: T, description: string) => ({
  content: json(schema),
  description,
});

/** An answer as a whole or as a stream. */
export const okOrStream = <T extends z.ZodType>(schema: T) => ({
  description: "The answer, or with stream: true its parts as server-sent events that end with [DONE].",
  content: { ...json(schema), "text/event-stream": { schema: z.string() } },
});

export const failed = { content: json(error), description: "An error in OpenAI's form." };

/** The key that a route asks for. */
export const security = [{ key: [] }];
