// The prompts of completions and embeddings: one text, its token ids, or several of either.
import { setImmediate as nextTurn } from "node:timers/promises";
import { z } from "@hono/zod-openapi";
import type { EncodedPrompt, PromptReader } from "./engine-requests.ts";

/** One text, the ids of one, or several of either. */
type PromptInput = string | readonly string[] | readonly number[] | readonly (readonly number[])[];

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

const idsSchema = { type: "array" as const, items: { type: "integer" as const, minimum: 0 } };

export const promptSchema = z
  .custom<PromptInput>(isPrompt, "a string, its token ids, or a list of strings or of lists of token ids")
  .openapi({
    type: ["string", "array"],
    anyOf: [
      { type: "string" },
      { type: "array", items: { type: "string" } },
      idsSchema,
      { type: "array", items: idsSchema },
    ],
  });

/** A list of texts, or of lists of ids. A single prompt becomes a list of one. */
export function promptItems(input: PromptInput): readonly (string | readonly number[])[] {
  const isOne = typeof input === "string" || typeof input[0] === "number";
  return (isOne ? [input] : input) as ReturnType<typeof promptItems>;
}

/**
 * Reads one prompt in each turn of the event loop, so that many long ones do not delay other requests.
 *
 * @throws ApiError 400 for one that is empty, too long or wrong, by its place in the field.
 */
export async function readPrompts(
  input: PromptInput,
  options: { readonly reader: PromptReader; readonly field: string; readonly isWhole?: boolean },
): Promise<readonly EncodedPrompt[]> {
  const { reader, field } = options;
  const prompts: EncodedPrompt[] = [];
  const items = promptItems(input);
  for (const [i, item] of items.entries()) {
    const place = items.length === 1 ? field : `${field}.${i}`;
    const isText = typeof item === "string";
    prompts.push(isText ? await reader.fromText(item, place, options) : reader.fromIds(item, place));
    await nextTurn();
  }
  return prompts;
}
