// A conversation as the engine takes it, which chats and responses share: the prompt with its tools, the engine's requests with the
// grammar of the answer, and the parser that finds calls in it.
import { errorText, MosError } from "#core";
import type { EngineRequest } from "#inference";
import type { ChatMessage, LoadedText, TemplateVariables } from "#text";
import type { AnswerDelta, AnswerParser } from "./answer-reader.ts";
import { checkChoices } from "./choices.ts";
import type { RequestContext } from "./context.ts";
import {
  checkTokenIds,
  type EncodedPrompt,
  type LengthFields,
  makeRequests,
  resolveAdapter,
  resolveMaxTokens,
} from "./engine-requests.ts";
import { invalidValue } from "./errors.ts";
import type { SamplingFields } from "./request.ts";
import type { AnswerForm } from "./structured.ts";
import type { RequestedTools } from "./tools.ts";

/** What a request says of a conversation, whichever API it came by. */
export interface ConversationFields {
  readonly messages: readonly ChatMessage[];
  readonly tools?: Pick<RequestedTools, "tools" | "choice" | "parallel" | "placeOf"> | undefined;
  readonly form?: AnswerForm | undefined;
  /** Variables for the chat template. */
  readonly variables?: TemplateVariables | undefined;
  readonly addGenerationPrompt?: boolean | undefined;
  readonly continueFinalMessage?: boolean | undefined;
  /** Fields with the same names in both APIs. */
  readonly sampling: SamplingFields & LengthFields;
  /** Alternatives of each token's log-probabilities; left out, there are none. */
  readonly logprobs?: number | undefined;
  /** The field with the messages, for errors. */
  readonly field: string;
}

/** What is enforced of an answer, and what finds its parts. */
export interface AnswerFormat {
  /** Each answer needs a parser of its own. */
  parser(): AnswerParser;
}

/** A conversation that can be answered. */
export interface Conversation {
  /** One for each choice. */
  readonly requests: readonly EngineRequest[];
  readonly prompt: EncodedPrompt;
  readonly format: AnswerFormat;
}

/** @throws ApiError 400 and 404 for what does not fit the model, its template or its context. */
export async function planConversation(
  context: RequestContext,
  fields: ConversationFields,
): Promise<Conversation> {
  const { server, key } = context.var;
  const { sampling, logprobs, field } = fields;
  const { model, defaults, text } = server.engine;
  const adapter = await resolveAdapter(context, sampling.model);
  checkChoices(sampling.n ?? 1, server.limits.choices);
  const prompt = await server.prompts.fromText(render(text, fields), field);
  checkTokenIds(sampling, model);
  const { maxLength } = model;
  const fallback = defaults.maxTokens ?? maxLength;
  const requests = makeRequests(prompt, sampling, {
    adapter,
    tenant: key.name,
    seed: sampling.seed ?? server.nextSeed(),
    maxTokens: resolveMaxTokens(prompt, sampling, { maxLength, fallback, field }),
    ...(logprobs === undefined ? {} : { logprobs }),
    // a blank before the first word is part of an answer that continues a message
    continuesPrompt: fields.continueFinalMessage === true,
  });
  return { requests, prompt, format: { parser: plainParser } };
}

/** The prompt. @throws ApiError 400 if the template refuses the messages, such as roles in an order it does not know. */
function render({ template }: Pick<LoadedText, "template">, fields: ConversationFields): string {
  const {
    messages,
    field,
    addGenerationPrompt = true,
    continueFinalMessage = false,
    variables = {},
  } = fields;
  try {
    return template.render(messages, { addGenerationPrompt, continueFinalMessage, variables });
  } catch (cause) {
    const reason = errorText(cause);
    if (cause instanceof MosError && cause.code === "bad_option")
      throw invalidValue(`chat_template_kwargs: ${reason}`, "chat_template_kwargs", cause);
    throw invalidValue(`${field}: rejected by the model's chat template: ${reason}`, field, cause);
  }
}

const plainParser = (): AnswerParser => ({
  push: (text): readonly AnswerDelta[] => (text === "" ? [] : [{ type: "text", text }]),
  finish: () => [],
});
