// A conversation as the engine takes it, which chats and responses share: the prompt with its tools, and the engine's requests with
// the grammar of the answer. What the grammar refuses is explained by the field that is to blame.
import { attempt, errorText, MosError, omitUndefined } from "mixture-of-shards-core/common";
import {
  type AnswerDelta,
  type AnswerFormat,
  type AnswerParser,
  answerFormat,
  type ChatMessage,
  type LoadedText,
  type TemplateVariables,
  withFormat,
} from "mixture-of-shards-core/text";
import { newId } from "./answer.ts";
import { checkChoices, startChoices } from "./choices.ts";
import { checkStrictness, findUnenforceable, type OutputConstraint, refusalOf } from "./constraints.ts";
import type { RequestContext } from "./context.ts";
import {
  checkTokenIds,
  type LengthFields,
  makeRequests,
  resolveAdapter,
  resolveMaxTokens,
  type SamplingFields,
} from "./engine-requests.ts";
import { invalidValue, unsupportedValue } from "./errors.ts";
import type { CallRecord } from "./metrics.ts";
import type { RequestedTools } from "./tools.ts";

/** What a request says of a conversation, whichever API it came by. */
export interface ConversationFields {
  readonly messages: readonly ChatMessage[];
  readonly tools?: Pick<RequestedTools, "tools" | "choice" | "parallel" | "places"> | undefined;
  readonly constraint?: OutputConstraint | undefined;
  readonly variables?: TemplateVariables | undefined;
  readonly addGenerationPrompt?: boolean | undefined;
  readonly continueFinalMessage?: boolean | undefined;
  /** Fields with the same names in both APIs. */
  readonly sampling: SamplingFields & LengthFields;
  /** Tokens of the answer at most, cut to what is left of the context; left out, the server's default. */
  readonly maxTokens?: number | undefined;
  /** Alternatives of each token's log-probabilities; left out, there are none. */
  readonly logprobs?: number | undefined;
  /** The field with the messages, for errors. */
  readonly field: string;
}

/**
 * Plans a conversation: the engine's requests, one for each choice, with their prompt and the format of the answer.
 *
 * @param unenforced Names of functions whose arguments are any object, as far as the grammar goes.
 * @throws ApiError 400 and 404 for what does not fit the model, its template or its context.
 */
export async function planConversation(
  context: RequestContext,
  fields: ConversationFields,
  unenforced: ReadonlySet<string> = new Set(),
) {
  const { server, key } = context.var;
  const { sampling, maxTokens, logprobs, field } = fields;
  const { model, defaults, text } = server.engine;
  const { constraint, tools } = fields;
  if (constraint?.grammar !== undefined && tools !== undefined && tools.choice.mode !== "none")
    throw invalidValue(
      `${constraint.field} leaves no room for calls of tools; use response_format, or send tool_choice: "none"`,
      constraint.field,
    );
  checkStrictness(fields);
  const adapter = await resolveAdapter(context, sampling.model);
  checkChoices(sampling.n ?? 1, server.limits.choices);
  const prompt = await server.prompts.fromText(render(text, fields), field);
  checkTokenIds(sampling, model);
  const { maxLength } = model;
  const fallback = maxTokens ?? defaults.maxTokens ?? maxLength;
  const format = formatOf(text, fields, { prompt: prompt.text ?? "", unenforced });
  const requests = makeRequests(prompt, sampling, {
    adapter,
    tenant: key.name,
    seed: sampling.seed ?? server.nextSeed(),
    maxTokens: resolveMaxTokens(prompt, sampling, { maxLength, fallback, field }),
    calls: format.calls,
    ...omitUndefined({ grammar: format.grammar, logprobs }),
    // a blank before the first word is part of an answer that continues a message
    continuesPrompt: fields.continueFinalMessage === true,
  });
  return { requests, prompt, format };
}

/**
 * Plans a conversation and starts its choices. Functions that are not strict and whose parameters cannot be enforced take any
 * object; the header `x-unenforced-tools` names them.
 *
 * @throws as `planConversation` and `startChoices`; ApiError 400 for a constraint, and for tools, that cannot be enforced.
 */
export async function startConversation(
  context: RequestContext,
  fields: ConversationFields,
  { isStream, callPrefix = "call" }: { readonly isStream: boolean; readonly callPrefix?: string },
) {
  const start = async (unenforced?: ReadonlySet<string>) => {
    const conversation = await planConversation(context, fields, unenforced);
    const events = await startChoices(context, { requests: conversation.requests, isStream });
    const nextId = () => newId(callPrefix);
    const parser = () => recordCalls(conversation.format.parser({ nextId }), context.var);
    return { ...conversation, format: { ...conversation.format, parser }, events };
  };
  try {
    return await start();
  } catch (error) {
    const refusal = refusalOf(error);
    if (refusal === undefined) throw error;
    const { server, key } = context.var;
    const { form } = server.engine.text.template.answerLayout().syntax;
    const unenforced = await findUnenforceable(server.engine, fields, {
      refusal,
      tenant: key.name,
      notation: form?.notation,
    });
    context.header("x-unenforced-tools", unenforced.join(","));
    return await start(new Set(unenforced));
  }
}

/** A parser that also writes the calls that it finds into the record of the request, where traces are made of it. */
function recordCalls(
  parser: AnswerParser,
  { record, server }: Pick<RequestContext["var"], "record" | "server">,
): AnswerParser {
  if (server.telemetry === undefined) return parser;
  let call: CallRecord | undefined;
  const noted = (deltas: readonly AnswerDelta[]): readonly AnswerDelta[] => {
    for (const delta of deltas) {
      if (delta.type === "call") {
        call = { id: delta.id, name: delta.name, beganAt: server.now() };
        record.calls.push(call);
      }
      if (delta.type === "call_end" && call !== undefined) call.endedAt = server.now();
    }
    return deltas;
  };
  return { push: (text) => noted(parser.push(text)), finish: () => noted(parser.finish()) };
}

/** A conversation whose choices run. */
export type StartedConversation = Awaited<ReturnType<typeof startConversation>>;

/** @throws ApiError 400 for tools that this model's calls cannot have beside a constrained answer. */
function formatOf(
  text: LoadedText,
  { tools, constraint }: ConversationFields,
  { prompt, unenforced }: { readonly prompt: string; readonly unenforced: ReadonlySet<string> },
): AnswerFormat {
  const { choice: toolChoice, parallel } = tools ?? {};
  const asked = { tools: tools?.tools, unenforced, toolChoice, parallel, ...constraint };
  const format = attempt(() => answerFormat(text, asked, prompt));
  if (!(format instanceof MosError)) return format;
  throw format.code === "unsupported" ? unsupportedValue(format.message, "tools", format) : format;
}

/** The prompt. @throws ApiError 400 if the template refuses the messages, such as roles in an order it does not know. */
function render({ template }: Pick<LoadedText, "template">, fields: ConversationFields): string {
  const { field, addGenerationPrompt = true, continueFinalMessage = false, variables = {} } = fields;
  try {
    // tools are shown although none may be called, so that requests with another choice find the same prefix in the cache
    const messages = withFormat(fields.messages, fields.constraint?.responseFormat, template);
    const tools = fields.tools?.tools ?? [];
    return template.render(messages, { tools, addGenerationPrompt, continueFinalMessage, variables });
  } catch (cause) {
    const reason = errorText(cause);
    if (cause instanceof MosError && cause.code === "bad_option")
      throw invalidValue(`chat_template_kwargs: ${reason}`, "chat_template_kwargs", cause);
    throw invalidValue(`${field}: rejected by the model's chat template: ${reason}`, field, cause);
  }
}
