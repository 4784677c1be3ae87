// POST /v1/completions: continues or scores texts.
import { z } from "@hono/zod-openapi";
import { omitUndefined } from "mixture-of-shards-core/common";
import {
  type Engine,
  type EngineEvent,
  type EngineRequest,
  unpackLogprobs,
} from "mixture-of-shards-core/inference";
import { createDetokenizer, type Tokenizer } from "mixture-of-shards-core/text";
import { type ChoiceWriter, type JsonPieces, jsonObject, sendAnswer } from "../answer.ts";
import { checkChoices, startChoices, toFinishReason } from "../choices.ts";
import {
  checkStrictness,
  constraintSource,
  invalidConstraint,
  readConstraint,
  refusalOf,
  structuredFields,
} from "../constraints.ts";
import type { RequestContext, ServerApp } from "../context.ts";
import {
  checkTokenIds,
  type EncodedPrompt,
  makeRequests,
  resolveAdapter,
  resolveMaxTokens,
  samplingFields,
} from "../engine-requests.ts";
import { ApiError } from "../errors.ts";
import { characters, collectLogprobs, type LogprobsCollector } from "../logprobs.ts";
import { promptItems, promptSchema, readPrompts } from "../prompts.ts";
import {
  answerFields,
  apiRoute,
  checkedBy,
  chunkFields,
  finishReason,
  json,
  jsonBody,
  neutral,
  nullOnly,
  okOrStream,
} from "../request.ts";

/** OpenAI's default of max_tokens, used if the server has none either. */
const DEFAULT_TOKENS = 16;

const completionRequest = z
  .strictObject({
    ...samplingFields,
    ...structuredFields,
    prompt: promptSchema,
    max_tokens: z
      .int()
      .min(0)
      .optional()
      .describe(`Default: the server's, else ${DEFAULT_TOKENS}; 0 with echo scores the prompt.`),
    max_completion_tokens: z.int().min(0).optional(),
    logprobs: z.int().min(0).max(20).optional(),
    echo: z.boolean().optional().describe("Include the prompt in the text and the log-probabilities."),
    best_of: z.int().optional().describe("Accepted only if equal to n."),
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

const completionRoute = apiRoute({
  method: "post",
  path: "/v1/completions",
  summary: "Create a completion or score a text",
  middleware: jsonBody,
  request: { body: { required: true, content: json(completionRequest) } },
  responses: { 200: okOrStream(completionAnswer, completionChunk) },
});

export function completionRoutes(app: ServerApp): void {
  app.openapi(
    completionRoute,
    async (context) => await answerCompletion(context, context.req.valid("json")),
    checkedBy(completionRequest),
  );
}

async function answerCompletion(context: RequestContext, request: CompletionRequest) {
  const { server, key } = context.var;
  const { engine } = server;
  const adapter = await resolveAdapter(context, request.model);
  checkBestOf(request);
  const { n = 1 } = request;
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
    return new CompletionWriter({ index, engine, request, prompt });
  });
  const format = { idPrefix: "cmpl", object: "text_completion", chunkObject: "text_completion" };
  return await sendAnswer(context, { format, request, events, writers });
}

function checkBestOf({ best_of, n = 1 }: CompletionRequest): void {
  if (best_of !== undefined && best_of !== n)
    throw new ApiError(`best_of is ${best_of} and n is ${n}; only equal values are supported`, {
      status: 400,
      code: "unsupported_parameter",
      param: "best_of",
    });
}

/**
 * Harnesses score a prompt with echo, log-probabilities and one more token, and drop the last entry. So there has to be
 * one even if the model would end.
 */
const scoresOnly = ({ echo, logprobs }: CompletionRequest, maxTokens: number): boolean =>
  echo === true && logprobs !== undefined && maxTokens === 1;

function engineOptions(
  request: CompletionRequest,
  maxTokens: number,
): Pick<EngineRequest, "logprobs" | "promptLogprobs" | "ignoreEos" | "continuesPrompt"> {
  const { logprobs, echo } = request;
  return {
    // a blank before the first word is part of the answer, which continues the prompt
    continuesPrompt: true,
    ...omitUndefined({
      logprobs,
      promptLogprobs: echo === true ? logprobs : undefined,
      ignoreEos: scoresOnly(request, maxTokens) ? true : undefined,
    }),
  };
}

interface CompletionWriterOptions {
  readonly index: number;
  readonly engine: Engine;
  readonly request: CompletionRequest;
  readonly prompt: EncodedPrompt;
}

class CompletionWriter implements ChoiceWriter {
  readonly #options: CompletionWriterOptions;
  /** The prompt's text, where the answer begins with it. */
  readonly #echoed: string;
  readonly #logprobs: LogprobsCollector;
  #lastId = -1;
  #text = "";
  #finish: "stop" | "length" = "stop";

  constructor(options: CompletionWriterOptions) {
    const { tokenizer } = options.engine.text;
    this.#options = options;
    const { request, prompt } = options;
    this.#echoed = request.echo === true ? echoPrompt(prompt, tokenizer) : "";
    this.#logprobs = collectLogprobs(tokenizer, characters(this.#echoed));
  }

  add(event: EngineEvent): void {
    const { text, finish } = this.#read(event);
    this.#text += text;
    this.#finish = finish ?? this.#finish;
  }

  toJson(): JsonPieces {
    const { index, request } = this.#options;
    const logprobs = request.logprobs === undefined ? null : this.#logprobs.json();
    return jsonObject({ index, text: this.#text, logprobs, finish_reason: this.#finish });
  }

  stream(event: EngineEvent): readonly z.output<typeof completionChunk>["choices"][number][] {
    const { index, request } = this.#options;
    const { text, finish } = this.#read(event);
    const isLast = finish !== null && request.logprobs !== undefined;
    const logprobs = this.#logprobs.isEmpty && !isLast ? null : this.#logprobs.take();
    if (text === "" && logprobs === null && finish === null) return [];
    return [{ index, text, logprobs, finish_reason: finish }];
  }

  /** Reads what an event adds to the text and to the log-probabilities. */
  #read(event: EngineEvent): { readonly text: string; readonly finish: "stop" | "length" | null } {
    const { engine, request, prompt } = this.#options;
    if (event.type === "scheduled") return { text: this.#echoed, finish: null };
    if (event.type === "prompt") this.#logprobs.prompt(unpackLogprobs(event), prompt.added ?? 0);
    if (event.type === "token") {
      this.#lastId = event.id;
      for (const entry of unpackLogprobs(event)) this.#logprobs.token(entry);
      return { text: event.text, finish: null };
    }
    if (event.type !== "finish") return { text: "", finish: null };
    const finish = toFinishReason(event.finishReason);
    const endsAnyway = request.ignore_eos !== true && engine.model.endTokens.includes(this.#lastId);
    return { text: event.text, finish: endsAnyway ? "stop" : finish };
  }
}

/** A prompt as text: as it was sent, or what its ids stand for. */
function echoPrompt({ text, ids }: EncodedPrompt, tokenizer: Tokenizer): string {
  if (text !== undefined) return text;
  const detokenizer = createDetokenizer(tokenizer);
  return ids.map((id) => detokenizer.push(id)).join("") + detokenizer.flush();
}
