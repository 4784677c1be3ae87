// POST /v1/completions: continues or scores texts.
import { z } from "@hono/zod-openapi";
import { omitUndefined } from "mixture-of-shards-core/common";
import { type Engine, type EngineEvent, unpackLogprobs } from "mixture-of-shards-core/inference";
import { createDetokenizer, type Tokenizer } from "mixture-of-shards-core/text";
import { type ChoiceWriter, jsonObject, sendAnswer } from "../answer.ts";
import { checkChoices, startChoices, toFinishReason } from "../choices.ts";
import {
  checkStrictness,
  constraintSource,
  invalidConstraint,
  readConstraint,
  refusalOf,
  structuredFields,
} from "../constraints.ts";
import type { RequestContext } from "../context.ts";
import {
  checkTokenIds,
  type EncodedPrompt,
  makeRequests,
  resolveAdapter,
  resolveMaxTokens,
  samplingFields,
} from "../engine-requests.ts";
import { ApiError } from "../errors.ts";
import { characters, collectLogprobs } from "../logprobs.ts";
import { promptItems, promptSchema, readPrompts } from "../prompts.ts";
import {
  answerFields,
  chunkFields,
  finishReason,
  neutral,
  nullOnly,
  optional,
  STREAMABLE,
} from "../request.ts";
import { route } from "../route.ts";

/** OpenAI's default of max_tokens, used if the server has none either. */
const DEFAULT_TOKENS = 16;

const completionRequest = z
  .strictObject({
    ...samplingFields,
    ...structuredFields,
    prompt: promptSchema,
    max_tokens: optional(
      z.int().min(0),
      `Default: the server's, else ${DEFAULT_TOKENS}; 0 with echo scores the prompt.`,
    ),
    max_completion_tokens: z.int().min(0).optional(),
    logprobs: z.int().min(0).max(20).optional(),
    echo: optional(z.boolean(), "Include the prompt in the text and the log-probabilities."),
    best_of: optional(z.int(), "Accepted only if equal to n."),
    suffix: neutral(nullOnly),
  })
  .openapi("CompletionRequest");

type CompletionRequest = z.output<typeof completionRequest>;

const completionLogprobs = z.object({
  tokens: z.array(z.string()).readonly(),
  token_logprobs: z.array(z.number().nullable()).readonly(),
  top_logprobs: z.array(z.record(z.string(), z.number()).nullable()).readonly(),
  text_offset: z.array(z.int()).readonly(),
});

const choiceFields = { index: z.int(), text: z.string(), logprobs: completionLogprobs.nullable() };

const completionAnswer = z
  .object({
    ...answerFields,
    object: z.literal("text_completion"),
    choices: z.array(z.object({ ...choiceFields, finish_reason: finishReason })),
  })
  .openapi("CompletionAnswer");

const completionChunk = z
  .object({
    ...chunkFields,
    object: z.literal("text_completion"),
    choices: z.array(z.object({ ...choiceFields, finish_reason: finishReason.nullable() })),
  })
  .openapi("CompletionChunk");

export const completionRoute = route({
  method: "post",
  path: "/v1/completions",
  summary: "Create a completion or score a text",
  body: completionRequest,
  ok: [completionAnswer, STREAMABLE],
  also: { "text/event-stream": completionChunk },
  answer: ({ body, context }) => answerCompletion(context, body),
});

async function answerCompletion(context: RequestContext, request: CompletionRequest) {
  const { server, key } = context.var;
  const { engine } = server;
  const adapter = await resolveAdapter(context, request.model);
  const { n = 1, best_of = n } = request;
  if (best_of !== n)
    throw new ApiError(`best_of is ${best_of} and n is ${n}; only equal values are supported`, {
      status: 400,
      code: "unsupported_parameter",
      param: "best_of",
    });
  checkChoices(n * promptItems(request.prompt).length, server.limits.choices);
  checkTokenIds(request, engine.model);
  const prompts = await readPrompts(request.prompt, { reader: server.prompts, field: "prompt" });
  const fallback = engine.defaults.maxTokens ?? DEFAULT_TOKENS;
  const lengths = { maxLength: engine.model.maxLength, fallback, field: "prompt" };
  const seed = request.seed ?? server.nextSeed();
  const constraint = readConstraint(request);
  checkStrictness({ constraint });
  const grammar = constraintSource(constraint);
  const requests = prompts.flatMap((prompt) => {
    const maxTokens = resolveMaxTokens(prompt, request, lengths);
    const more = engineOptions(request, maxTokens);
    return makeRequests(prompt, request, { maxTokens, adapter, seed, tenant: key.name, grammar, ...more });
  });
  const isStream = request.stream === true;
  const events = await startChoices(context, { requests, isStream }).catch((error: unknown) => {
    const refusal = refusalOf(error);
    throw constraint === undefined || refusal === undefined ? error : invalidConstraint(constraint, refusal);
  });
  const writers = requests.map((_, index) => {
    const prompt = prompts[Math.floor(index / n)] as EncodedPrompt;
    return completionWriter({ index, engine, request, prompt });
  });
  const format = { idPrefix: "cmpl", object: "text_completion", chunkObject: "text_completion" };
  return await sendAnswer(context, { format, request, events, writers });
}

function engineOptions({ logprobs, echo }: CompletionRequest, maxTokens: number) {
  const promptLogprobs = echo === true ? logprobs : undefined;
  // harnesses that score a prompt ask for one more token and drop its entry: there has to be one even if the model would end
  const scoresOnly = promptLogprobs !== undefined && maxTokens === 1;
  // a blank before the first word is part of the answer
  return {
    continuesPrompt: true,
    ...omitUndefined({ logprobs, promptLogprobs }),
    ...(scoresOnly && { ignoreEos: true }),
  };
}

interface CompletionWriterOptions {
  readonly index: number;
  readonly engine: Engine;
  readonly request: CompletionRequest;
  readonly prompt: EncodedPrompt;
}

function completionWriter({ index, engine, request, prompt }: CompletionWriterOptions): ChoiceWriter {
  const { tokenizer } = engine.text;
  /** The prompt's text, where the answer begins with it. */
  const echoed = request.echo === true ? echoPrompt(prompt, tokenizer) : "";
  const collected = collectLogprobs(tokenizer, characters(echoed));
  let lastId = -1;
  let whole = "";
  let end: "stop" | "length" = "stop";
  /** Reads what an event adds to the text and to the log-probabilities. */
  const read = (event: EngineEvent): { readonly text: string; readonly finish?: typeof end } => {
    if (event.type === "scheduled") return { text: echoed };
    if (event.type === "prompt") collected.prompt(unpackLogprobs(event), prompt.added ?? 0);
    if (event.type === "token") {
      lastId = event.id;
      for (const entry of unpackLogprobs(event)) collected.token(entry);
      return { text: event.text };
    }
    if (event.type !== "finish") return { text: "" };
    const finish = toFinishReason(event.finishReason);
    const endsAnyway = request.ignore_eos !== true && engine.model.endTokens.includes(lastId);
    return { text: event.text, finish: endsAnyway ? "stop" : finish };
  };
  return {
    add: (event) => {
      const { text, finish = end } = read(event);
      whole += text;
      end = finish;
    },
    toJson: () => {
      const logprobs = request.logprobs === undefined ? null : collected.json();
      return jsonObject({ index, text: whole, logprobs, finish_reason: end });
    },
    stream: (event): z.output<typeof completionChunk>["choices"] => {
      const { text, finish = null } = read(event);
      const isLast = finish !== null && request.logprobs !== undefined;
      const logprobs = collected.isEmpty && !isLast ? null : collected.take();
      if (text === "" && logprobs === null && finish === null) return [];
      return [{ index, text, logprobs, finish_reason: finish }];
    },
  };
}

/** A prompt as text: as it was sent, or what its ids stand for. */
function echoPrompt({ text, ids }: EncodedPrompt, tokenizer: Tokenizer): string {
  if (text !== undefined) return text;
  const detokenizer = createDetokenizer(tokenizer);
  return ids.map((id) => detokenizer.push(id)).join("") + detokenizer.flush();
}
