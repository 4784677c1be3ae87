// Fields that chat and completions share. null was taken away before: it counts as left out.
import { z } from "@hono/zod-openapi";

/** A field of OpenAI's that this server does not serve: only the value that changes nothing is taken. */
export const neutral = <T extends z.ZodType>(schema: T) =>
  schema.optional().describe("Not supported: only the value that changes nothing is taken.");

/** Of a field that only null may stand for, which is left out before. */
export const nothing = z.never().openapi({ type: "null" });

export const stopField = z
  .union([z.string().min(1).max(1000), z.array(z.string().min(1).max(1000)).max(4)])
  .optional()
  .describe("Texts that end the answer and are not part of it.");

export const samplingFields = {
  model: z.string().min(1).max(256).describe("The base model's name or an adapter's."),
  temperature: z.number().min(0).max(2).optional().describe("0 takes the likeliest token. Default 1."),
  top_p: z.number().min(0).max(1).optional(),
  n: z.int().min(1).max(128).optional().describe("Answers for each prompt."),
  seed: z.int().optional().describe("The same request with the same seed has the same answer."),
  stop: stopField,
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

/** What a parsed request says about sampling and streaming. */
export type SamplingFields = z.output<z.ZodObject<typeof samplingFields>>;
