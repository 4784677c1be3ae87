// POST /v1/completions: continues or scores texts.
import { randomUUID } from "node:crypto";
import { setImmediate as nextTurn } from "node:timers/promises";
import { createRoute, z } from "@hono/zod-openapi";
import type { EngineEvent, EngineRequest } from "#inference";
import { createDetokenizer, type Tokenizer } from "#text";
import { adapterOf, checkChoices, finishReasonOf, type RunningChoices, startChoices } from "../choices.ts";
import type { RequestContext, ServerApp, ServerContext } from "../context.ts";
import { checkTokenIds, maxTokensOf, requestsOf } from "../engine-requests.ts";
import { ApiError } from "../errors.ts";
import { type JsonPieces, jsonList, jsonObject, sendJson } from "../json.ts";
import { characters, collectLogprobs, type LogprobsCollector, noLogprobs } from "../logprobs.ts";
import type { EncodedPrompt, PromptReader } from "../prompts.ts";
import { checkedBy, jsonBody } from "../request.ts";
import {
  answerFields,
  chunkFields,
  failed,
  finishReason,
  json,
  neutral,
  nothing,
  okOrStream,
  samplingFields,
  security,
  type UsageFields,
} from "../schemas.ts";
import { streamChunks } from "../sse.ts";

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

const promptSchema = z
  .custom<PromptInput>(isPrompt, "a text, its token ids, or a list of texts or of lists of token ids")
  .openapi({
    type: ["string", "array"],
    anyOf: [
      { type: "string" },
      { type: "array", items: { type: "string" } },
      idsSchema,
      { type: "array", items: idsSchema },
    ],
  });

/** What OpenAI's API generates if max_tokens is missing, and here if the server has no default either. */
const DEFAULT_TOKENS = 16;

const completionRequest = z
  .strictObject({
    ...samplingFields,
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
    suffix: neutral(nothing),
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

type CompletionChunk = z.output<typeof completionChunk>;

const completionRoute = createRoute({
  method: "post",
  path: "/v1/completions",
  summary: "Create a completion or score a text",
  security,
  middleware: jsonBody,
  request: { body: { required: true, content: json(completionRequest) } },
  responses: { 200: okOrStream(completionAnswer, completionChunk), default: failed },
});

export function completionRoutes(app: ServerApp): void {
  app.openapi(
    completionRoute,
    async (context) => {
      const request = context.req.valid("json");
      const answer = await startCompletion(context, request);
      if (request.stream === true) return streamChunks(context, answer.chunks());
      return sendJson(context, await answer.whole());
    },
    checkedBy(completionRequest),
  );
}

async function startCompletion(context: RequestContext, request: CompletionRequest): Promise<Answer> {
  const { server, key } = context.var;
  const adapter = await adapterOf(context, request.model);
  checkBestOf(request);
  const { n = 1 } = request;
  checkChoices(n * promptItems(request.prompt).length, server.limits.choices);
  checkTokenIds(request, server.engine.model);
  const prompts = await readPrompts(request.prompt, server.prompts);
  const { model, defaults } = server.engine;
  const { maxLength } = model;
  const fallback = defaults.maxTokens ?? DEFAULT_TOKENS;
  const seed = request.seed ?? server.nextSeed();
  const requests = prompts.flatMap((prompt) => {
    const lengths = { maxLength, fallback, field: "prompt" };
    const maxTokens = maxTokensOf(prompt, request, lengths);
    const more = engineOptions(request, maxTokens);
    return requestsOf({ prompt, maxTokens, adapter, fields: request, seed, tenant: key.name, more });
  });
  const choices = await startChoices(context, { requests, isStream: request.stream === true });
  const writers = requests.map((_, i) => createWriter(server, request, prompts[Math.floor(i / n)]));
  return new Answer({ request, choices, writers, created: Math.floor(server.now() / 1000) });
}

const isIds = (item: unknown): item is readonly number[] => Array.isArray(item);

/** A list of texts, or of lists of ids. A single prompt becomes a list of one. */
function promptItems(input: PromptInput): readonly (string | readonly number[])[] {
  if (typeof input === "string") return [input];
  const ids = input.filter((item) => typeof item === "number");
  if (ids.length > 0) return [ids];
  return input.filter((item) => typeof item === "string" || isIds(item));
}

/** One prompt in each turn of the event loop, so that many long ones do not delay other requests. */
async function readPrompts(input: PromptInput, reader: PromptReader): Promise<readonly EncodedPrompt[]> {
  const prompts: EncodedPrompt[] = [];
  for (const item of promptItems(input)) {
    const isText = typeof item === "string";
    prompts.push(isText ? await reader.fromText(item, "prompt") : reader.fromIds(item, "prompt"));
    await nextTurn();
  }
  return prompts;
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
  // a blank before the first word is part of the answer, which continues the prompt
  if (logprobs === undefined) return { continuesPrompt: true };
  return {
    continuesPrompt: true,
    logprobs,
    ...(echo === true ? { promptLogprobs: logprobs } : {}),
    ...(scoresOnly(request, maxTokens) ? { ignoreEos: true } : {}),
  };
}

/** Turns the events of one choice into its text and lists. */
interface ChoiceWriter {
  /** What an event adds. */
  write(event: EngineEvent): { readonly text: string; readonly finish: "stop" | "length" | null };
  readonly logprobs: LogprobsCollector;
}

function createWriter(
  { engine }: ServerContext,
  request: CompletionRequest,
  prompt: EncodedPrompt | undefined,
): ChoiceWriter {
  const { tokenizer } = engine.text;
  const echoed = request.echo === true && prompt !== undefined ? echoOf(prompt, tokenizer) : "";
  const collector = collectLogprobs(tokenizer, characters(echoed));
  let lastId: number | undefined;
  const collect = (event: EngineEvent): void => {
    if (event.type === "prompt") collector.prompt(event.logprobs, prompt?.added ?? 0);
    if (event.type !== "token") return;
    lastId = event.id;
    if (event.logprob !== undefined) collector.token(event.logprob);
  };
  return {
    write(event) {
      collect(event);
      if (event.type === "scheduled") return { text: echoed, finish: null };
      if (event.type === "token") return { text: event.text, finish: null };
      if (event.type !== "finish") return { text: "", finish: null };
      const finish = finishReasonOf(event.finishReason);
      const endsAnyway = request.ignore_eos !== true && engine.model.endTokens.includes(lastId ?? -1);
      return { text: event.text, finish: endsAnyway ? "stop" : finish };
    },
    logprobs: collector,
  };
}

/** A prompt as text: as it was sent, or what its ids stand for. */
function echoOf({ text, ids }: EncodedPrompt, tokenizer: Tokenizer): string {
  if (text !== undefined) return text;
  const detokenizer = createDetokenizer(tokenizer);
  return ids.map((id) => detokenizer.push(id)).join("") + detokenizer.flush();
}

interface WholeChoice {
  text: string;
  finish: "stop" | "length";
}

interface AnswerParts {
  readonly request: CompletionRequest;
  readonly choices: RunningChoices;
  /** One for each choice. */
  readonly writers: readonly ChoiceWriter[];
  readonly created: number;
}

/** A completion's choices in OpenAI's form: as one object, or as chunks. */
class Answer {
  readonly #parts: AnswerParts;
  readonly #id = `cmpl-${randomUUID().replaceAll("-", "")}`;

  constructor(parts: AnswerParts) {
    this.#parts = parts;
  }

  /** The fields that every object begins with. The fingerprint says which content of an adapter answers. */
  #head() {
    const { choices, created } = this.#parts;
    return {
      id: this.#id,
      object: "text_completion" as const,
      created,
      model: choices.model,
      system_fingerprint: choices.digest,
    };
  }

  /** As `completionAnswer` describes it. */
  async whole(): Promise<JsonPieces> {
    const { request, choices, writers } = this.#parts;
    const written = writers.map((): WholeChoice => ({ text: "", finish: "stop" }));
    for await (const { choice, event } of choices.events) {
      const [writer, whole] = [writers[choice], written[choice]];
      if (writer === undefined || whole === undefined) continue;
      const { text, finish } = writer.write(event);
      whole.text += text;
      whole.finish = finish ?? whole.finish;
    }
    const listed = written.map(({ text, finish }, index) => {
      const logprobs = request.logprobs === undefined ? null : writers[index]?.logprobs.json();
      return jsonObject({ index, text, logprobs, finish_reason: finish });
    });
    return jsonObject({ ...this.#head(), choices: jsonList(() => listed), usage: choices.usage() });
  }

  async *chunks(): AsyncGenerator<CompletionChunk, void> {
    const { choices, writers, request } = this.#parts;
    const withUsage = request.stream_options?.include_usage === true;
    const chunk = (parts: CompletionChunk["choices"], usage: UsageFields | null = null): CompletionChunk => ({
      ...this.#head(),
      choices: parts,
      ...(withUsage ? { usage } : {}),
    });
    for await (const { choice: index, event } of choices.events) {
      const writer = writers[index];
      if (writer === undefined) continue;
      const { text, finish } = writer.write(event);
      const none = finish !== null && request.logprobs !== undefined ? noLogprobs : null;
      const logprobs = writer.logprobs.take() ?? none;
      if (text !== "" || logprobs !== null || finish !== null)
        yield chunk([{ index, text, logprobs, finish_reason: finish }]);
    }
    if (withUsage) yield chunk([], choices.usage());
  }
}
