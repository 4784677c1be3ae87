import { z } from "@hono/zod-openapi";
import { neutral, nothing, samplingFields } from "./sampling-fields.ts";

/** One text, the ids of one, or several of either. */
export type PromptInput = string | readonly string[] | readonly number[] | readonly (readonly number[])[];

const isId = (value: unknown): boolean =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0;

/** By hand: a union would collect an error for each of a million wrong items. */
function isPrompt(value: unknown): value is PromptInput {
  if (typeof value === "string") return true;
  if (!Array.isArray(value) || value.length === 0) return false;
  if (typeof value[0] === "string") return value.every((item) => typeof item === "string");
  if (typeof value[0] === "number") return value.every(isId);
  return value.every((item) => Array.isArray(item) && item.length > 0 && item.every(isId));
}

const ids = { type: "array" as const, items: { type: "integer" as const, minimum: 0 } };

const prompt = z
  .custom<PromptInput>(isPrompt, "a text, its token ids, or a list of texts or of lists of token ids")
  .openapi({
    type: ["string", "array"],
    anyOf: [
      { type: "string" },
      { type: "array", items: { type: "string" } },
      ids,
      { type: "array", items: ids },
    ],
  });

/** The body of POST /v1/completions. */
export const completionRequest = z
  .strictObject({
    ...samplingFields,
    prompt,
    max_tokens: z.int().min(0).optional().describe("Default 16; 0 with echo scores the prompt."),
    max_completion_tokens: z.int().min(0).optional(),
    logprobs: z.int().min(0).max(20).optional(),
    echo: z.boolean().optional().describe("The prompt is part of the text, and of the log-probabilities."),
    best_of: z.int().optional().describe("Only where it equals n."),
    suffix: neutral(nothing),
  })
  .openapi("CompletionRequest");

export type CompletionRequest = z.output<typeof completionRequest>;
