// Asks a model, by chat completions as OpenAI's API has them: an endpoint, or an engine at hand.
import { z } from "zod";
import { errorText } from "#common";
import type { ChatMessage } from "#text";
import { type EndpointOptions, openEndpoint } from "./endpoint.ts";

/** A request, of which any fields of OpenAI's may be set. */
export interface ChatCompletionRequest {
  readonly model: string;
  readonly messages: readonly Pick<ChatMessage, "role" | "content">[];
  readonly max_tokens?: number;
  readonly [field: string]: unknown;
}

/** What is read of an answer. */
export const chatCompletionSchema = z.object({
  model: z.string().optional(),
  choices: z
    .array(z.object({ message: z.object({ content: z.string().nullish(), refusal: z.string().nullish() }) }))
    .min(1),
  usage: z.object({ prompt_tokens: z.int(), completion_tokens: z.int() }).nullish(),
});

export type ChatCompletion = z.output<typeof chatCompletionSchema>;

/** Asks a model. */
export type ChatClient = (
  request: ChatCompletionRequest,
  signal?: AbortSignal | undefined,
) => Promise<ChatCompletion>;

/** The newer name of `max_tokens`. */
const NEWER_LIMIT = "max_completion_tokens";

/** Asks the models of an endpoint. Throws what `openEndpoint` throws. */
export function openChatClient(options: EndpointOptions): ChatClient {
  const ask = openEndpoint(
    { path: "chat/completions", answer: chatCompletionSchema, answerName: "a chat completion" },
    options,
  );
  // some models of OpenAI refuse the older name, and some other servers do not know the newer one
  let limitField = "max_tokens";
  return async ({ max_tokens, ...request }, signal) => {
    if (max_tokens === undefined) return await ask(request as ChatCompletionRequest, signal);
    const send = (field: string) => ask({ ...request, [field]: max_tokens } as ChatCompletionRequest, signal);
    const tried = limitField;
    try {
      return await send(tried);
    } catch (error) {
      if (tried === NEWER_LIMIT || !errorText(error).includes(NEWER_LIMIT)) throw error;
      limitField = NEWER_LIMIT;
      return await send(NEWER_LIMIT);
    }
  };
}
