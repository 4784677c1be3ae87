// POST /v1/completions
import { randomUUID } from "node:crypto";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Context } from "hono";
import type { EngineEvent, EngineRequest } from "#inference";
import { createDetokenizer } from "#text";
import { type Answering, asRunning, finishOf, startAnswering, type UsageFields } from "./answering.ts";
import { readJsonBody } from "./body.ts";
import { type CompletionLogprobs, collectLogprobs } from "./completion-logprobs.ts";
import { type CompletionRequest, completionRequest, type PromptInput } from "./completion-schema.ts";
import type { ServerContext, ServerEnv } from "./context.ts";
import { adapterOf, answerLength, answersOf, checkChoices } from "./engine-requests.ts";
import { parseRequest } from "./parse-request.ts";
import type { Prompt, PromptReader } from "./prompts.ts";
import { Refusal } from "./refusal.ts";
import { respondStream } from "./respond.ts";
import { characters } from "./token-text.ts";

/** What OpenAI's API generates where max_tokens is missing. */
const DEFAULT_TOKENS = 16;

const isIds = (item: unknown): item is readonly number[] => Array.isArray(item);

/** A list of texts, or of lists of ids: one prompt alone is a list of one. */
function promptItems(input: PromptInput): readonly (string | readonly number[])[] {
  if (typeof input === "string") return [input];
  const ids = input.filter((item) => typeof item === "number");
  if (ids.length > 0) return [ids];
  return input.filter((item) => typeof item === "string" || isIds(item));
}

/** One prompt in each turn of the event loop: many long ones hold nobody else up. */
async function readPrompts(input: PromptInput, reader: PromptReader): Promise<readonly Prompt[]> {
  const prompts: Prompt[] = [];
  for (const item of promptItems(input)) {
    prompts.push(typeof item === "string" ? reader.fromText(item, "prompt") : reader.fromIds(item, "prompt"));
    await nextTurn();
  }
  return prompts;
}

function checkBestOf({ best_of, n = 1 }: CompletionRequest): void {
  if (best_of !== undefined && best_of !== n)
    throw new Refusal(`best_of is ${best_of} and n is ${n}; only the same number is supported`, {
      status: 400,
      reason: "unsupported_parameter",
      field: "best_of",
    });
}

/**
 * Whoever scores a prompt with echo, log-probabilities and one token more leaves the last entry out, so there has to
 * be one even where the model would end.
 */
const scoresOnly = ({ echo, logprobs }: CompletionRequest, maxTokens: number): boolean =>
  echo === true && logprobs !== undefined && maxTokens === 1;

function engineOptions(
  request: CompletionRequest,
  maxTokens: number,
): Partial<Pick<EngineRequest, "logprobs" | "promptLogprobs" | "ignoreEos" | "continuesPrompt">> {
  const { logprobs, echo } = request;
  // a blank before the first word is part of the answer, which goes on with the prompt
  if (logprobs === undefined) return { continuesPrompt: true };
  return {
    continuesPrompt: true,
    logprobs,
    ...(echo === true ? { promptLogprobs: logprobs } : {}),
    ...(scoresOnly(request, maxTokens) ? { ignoreEos: true } : {}),
  };
}

/** Continues one or several texts. */
export function answerCompletion(server: ServerContext, context: Context<ServerEnv>): Promise<Response> {
  return asRunning(server, context, async (running) => {
    const key = context.get("key");
    const record = context.get("record");
    const body = await readJsonBody(context.req.raw, server.limits.bodyBytes);
    const request = parseRequest(completionRequest, body);
    const adapter = adapterOf(server, { model: request.model, key });
    record.model = request.model;
    checkBestOf(request);
    const { n = 1 } = request;
    checkChoices(n * promptItems(request.prompt).length, server.limits.choices);
    const prompts = await readPrompts(request.prompt, server.prompts);
    const { maxLength } = server.engine.model;
    const seed = request.seed ?? server.nextSeed();
    const requests = prompts.flatMap((prompt) => {
      const maxTokens = answerLength(prompt, request, {
        maxLength,
        missing: DEFAULT_TOKENS,
        field: "prompt",
      });
      const more = engineOptions(request, maxTokens);
      return answersOf({ prompt, maxTokens, adapter, fields: request, seed, tenant: key.name, more });
    });
    const promptTokens = prompts.reduce((sum, { ids }) => sum + ids.length, 0);
    const answering = await startAnswering(server, { record, running }, { requests, promptTokens });
    const writers = requests.map((_, i) => createWriter(server, request, prompts[Math.floor(i / n)]));
    const form = { server, request, answering, writers, id: `cmpl-${randomUUID().replaceAll("-", "")}` };
    if (request.stream === true) return respondStream(context, answering, completionChunks(form));
    return context.json(await wholeCompletion(form));
  });
}

interface CompletionForm {
  readonly server: ServerContext;
  readonly request: CompletionRequest;
  readonly answering: Answering;
  readonly writers: readonly ChoiceWriter[];
  readonly id: string;
}

/** Turns the events of one answer into its text and lists. */
interface ChoiceWriter {
  /** What an event adds. */
  write(event: EngineEvent): { readonly text: string; readonly finish: "stop" | "length" | null };
  /** The log-probabilities since the last time. */
  logprobs(): CompletionLogprobs | null;
}

function createWriter(
  { text, engine }: ServerContext,
  request: CompletionRequest,
  prompt: Prompt | undefined,
): ChoiceWriter {
  const echoed = request.echo === true && prompt !== undefined ? echoOf(prompt, text.tokenizer) : "";
  const collector = collectLogprobs(text.tokenizer, characters(echoed));
  let lastId: number | undefined;
  const note = (event: EngineEvent): void => {
    if (event.type === "prompt") collector.prompt(event.logprobs, prompt?.before ?? 0);
    if (event.type !== "token") return;
    lastId = event.id;
    if (event.logprob !== undefined) collector.token(event.logprob);
  };
  return {
    write(event) {
      note(event);
      if (event.type === "scheduled") return { text: echoed, finish: null };
      if (event.type === "token") return { text: event.text, finish: null };
      if (event.type !== "finish") return { text: "", finish: null };
      const finish = finishOf(event.reason);
      const isEnd = lastId !== undefined && engine.model.endTokens.includes(lastId);
      return { text: event.text, finish: isEnd ? "stop" : finish };
    },
    logprobs: () => collector.take() ?? null,
  };
}

/** A prompt as text: as it was sent, or what its ids stand for. */
function echoOf({ text, ids }: Prompt, tokenizer: ServerContext["text"]["tokenizer"]): string {
  if (text !== undefined) return text;
  const detokenizer = createDetokenizer(tokenizer);
  return ids.map((id) => detokenizer.push(id)).join("") + detokenizer.flush();
}

const head = ({ server, request, answering, id }: CompletionForm) => ({
  id,
  object: "text_completion",
  created: Math.floor(server.now() / 1000),
  model: request.model,
  system_fingerprint: answering.digest() ?? null,
});

async function wholeCompletion(form: CompletionForm): Promise<object> {
  const { answering, writers } = form;
  const texts = writers.map(() => "");
  const finishes: ("stop" | "length" | null)[] = writers.map(() => null);
  for await (const { choice, event } of answering.events) {
    const added = writers[choice]?.write(event);
    texts[choice] += added?.text ?? "";
    finishes[choice] = added?.finish ?? null;
  }
  return {
    ...head(form),
    choices: writers.map((writer, index) => ({
      index,
      text: texts[index] ?? "",
      logprobs: writer.logprobs(),
      finish_reason: finishes[index] ?? null,
    })),
    usage: answering.usage(),
  };
}

async function* completionChunks(form: CompletionForm): AsyncGenerator<object, void> {
  const { answering, writers, request } = form;
  const withUsage = request.stream_options?.include_usage === true;
  const begin = head(form);
  const chunk = (choices: readonly object[], usage: UsageFields | null = null): object => ({
    ...begin,
    choices,
    ...(withUsage ? { usage } : {}),
  });
  for await (const { choice: index, event } of answering.events) {
    const writer = writers[index];
    if (writer === undefined) continue;
    const { text, finish } = writer.write(event);
    const logprobs = writer.logprobs();
    if (text !== "" || logprobs !== null || finish !== null)
      yield chunk([{ index, text, logprobs, finish_reason: finish }]);
  }
  if (withUsage) yield chunk([], answering.usage());
}
