// Errors in the format of Anthropic's API.
import { z } from "@hono/zod-openapi";
import type { ServerContext } from "../context.ts";

/** The paths whose errors have it. */
export const MESSAGES_PATH = "/v1/messages";

export const messageError = z
  .object({
    type: z.literal("error"),
    error: z.object({
      type: z.string(),
      message: z.string(),
      details: z.object({ error_code: z.string().describe("As in OpenAI's format.") }).nullable(),
    }),
    request_id: z.string(),
  })
  .openapi("MessageError");

const TYPES: Readonly<Record<number, string>> = {
  401: "authentication_error",
  403: "permission_error",
  404: "not_found_error",
  413: "request_too_large",
  429: "rate_limit_error",
  504: "timeout_error",
  529: "overloaded_error",
};

/** An error's answer as Anthropic's API has it, with the status that clients know. */
export function toMessageError(
  { status, body: { error } }: ReturnType<ServerContext["answerTo"]>,
  id: string,
) {
  const { code, message } = error;
  const known = status === 503 ? 529 : status;
  const type = TYPES[known] ?? (known >= 500 ? "api_error" : "invalid_request_error");
  // by these words coding agents know that they have to compact the conversation
  const shown = code === "context_length_exceeded" ? `prompt is too long: ${message}` : message;
  const details = code === null ? null : { error_code: code };
  const body = { type: "error" as const, error: { type, message: shown, details }, request_id: id };
  return { status: known, body };
}
