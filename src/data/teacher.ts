// A teacher that writes: a model behind an OpenAI-compatible endpoint.
import { z } from "zod";
import type { ChatMessage } from "#text";
import { type EndpointOptions, openEndpoint } from "./endpoint.ts";

/** A request to a teacher. */
export interface TeacherRequest {
  readonly messages: readonly ChatMessage[];
  /** Tokens of the answer at most. */
  readonly maxTokens: number;
  readonly signal?: AbortSignal | undefined;
}

/** Answer of a teacher. */
export interface TeacherAnswer {
  readonly text: string;
  readonly promptTokens: number;
  readonly completionTokens: number;
}

/** A model that writes questions and answers. */
export type Teacher = (request: TeacherRequest) => Promise<TeacherAnswer>;

const completionSchema = z.object({
  choices: z.array(z.object({ message: z.object({ content: z.string().nullish() }) })).min(1),
  usage: z.object({ prompt_tokens: z.number(), completion_tokens: z.number() }).nullish(),
});

/** A teacher behind an endpoint. Throws what `openEndpoint` throws. */
export function remoteTeacher(options: EndpointOptions): Teacher {
  const ask = openEndpoint(
    { path: "chat/completions", answer: completionSchema, answerName: "a chat completion" },
    options,
  );
  // some models of OpenAI refuse the older name, and some other servers do not know the newer one
  let limitField = "max_tokens";
  return async ({ messages, maxTokens, signal }) => {
    let tried = limitField;
    const { choices, usage } = await ask({
      fields() {
        tried = limitField;
        return { messages, [tried]: maxTokens };
      },
      learnsFrom(refusal) {
        if (tried !== "max_tokens" || !refusal.includes("max_completion_tokens")) return false;
        limitField = "max_completion_tokens";
        return true;
      },
      signal,
    });
    const { prompt_tokens: promptTokens = 0, completion_tokens: completionTokens = 0 } = usage ?? {};
    return { text: choices[0]?.message.content ?? "", promptTokens, completionTokens };
  };
}
