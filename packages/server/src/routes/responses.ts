// The routes of the Responses API: answers, whole or as events, and those that are stored, so that later requests may refer to them.
import { z } from "@hono/zod-openapi";
import type { MiddlewareHandler } from "hono";
import { errorText, omitUndefined } from "mixture-of-shards-core/common";
import { samplingBy } from "mixture-of-shards-core/inference";
import { type AnswerDelta, toSchemaFormat } from "mixture-of-shards-core/text";
import { AnswerReader, newId, streamTypedEvents } from "../answer.ts";
import type { RequestContext, ServerEnv } from "../context.ts";
import {
  type ConversationFields,
  planConversation,
  type StartedConversation,
  startConversation,
} from "../conversation.ts";
import { invalidValue, notFound } from "../errors.ts";
import { writeLogprob } from "../logprobs.ts";
import { jsonBody } from "../request.ts";
import { checkCalls, checkItemTypes, inputItem, toMessages } from "../responses/items.ts";
import { type OutputEvent, OutputWriter } from "../responses/output.ts";
import {
  askedFor,
  type ResponseRequest,
  readInput,
  responseEvent,
  responseRequest,
  responseResource,
} from "../responses/request.ts";
import type { StoredResponse } from "../responses/store.ts";
import { readTools } from "../responses/tools.ts";
import { type AddRoute, deleted, pages, idParams as params, route } from "../route.ts";

const path = "/v1/responses";

/** Kinds of items are checked first: a union's complaint would name none of them. */
const checkItems: MiddlewareHandler<ServerEnv> = async (context, next) => {
  checkItemTypes((await context.req.json<{ readonly input?: unknown }>()).input);
  await next();
};

export const itemBody = [jsonBody, checkItems];

const body = { body: responseRequest, middleware: itemBody };

export const responseRoutes: readonly AddRoute[] = [
  route({
    ...body,
    method: "post",
    path,
    summary: "Create a response",
    ok: [
      responseResource,
      "The response or, with stream: true, server-sent events, whose last one has the whole response.",
    ],
    also: { "text/event-stream": responseEvent },
    answer: async ({ body, context }) => answerRequest(context, await readRequest(context, body)),
  }),
  route({
    ...body,
    method: "post",
    path: `${path}/input_tokens`,
    summary: "Count the tokens of a response's input",
    ok: [
      z.object({ object: z.literal("response.input_tokens"), input_tokens: z.int() }),
      "The tokens of the prompt.",
    ],
    answer: async ({ body, context }) => {
      const { fields } = await readRequest(context, body);
      const { prompt } = await planConversation(context, fields);
      return { object: "response.input_tokens" as const, input_tokens: prompt.ids.length };
    },
  }),
  route({
    method: "get",
    path: `${path}/{id}`,
    summary: "Retrieve a stored response",
    params,
    // clients that ask for events wait for them forever if they get an object
    query: z.object({ stream: z.literal("false").optional().describe("Only false: it comes as a whole.") }),
    ok: [responseResource, "The response."],
    answer: async ({ params: { id }, context }) =>
      (await findStored(context, id)).response as z.output<typeof responseResource>,
  }),
  route({
    method: "delete",
    path: `${path}/{id}`,
    summary: "Delete a stored response",
    params,
    ok: [deleted.schema("response"), "It is deleted."],
    answer: async ({ params, server, key, context }) => {
      const { id } = await findStored(context, params.id);
      await server.responses?.delete(key.name, id);
      return deleted.json("response", id);
    },
  }),
  route({
    method: "post",
    path: `${path}/{id}/cancel`,
    summary: "Cancel a background response, which this server does not have",
    params,
    answer: async ({ params: { id }, context }) => {
      await findStored(context, id);
      throw invalidValue(
        "only background responses can be cancelled; close the connection to cancel this one",
      );
    },
  }),
  route({
    method: "get",
    path: `${path}/{id}/input_items`,
    summary: "List the input items of a stored response",
    params,
    query: z.object({
      limit: z.coerce.number().int().min(1).max(100).default(20),
      order: z.enum(["asc", "desc"]).default("desc"),
      after: z.string().max(200).optional(),
    }),
    ok: [pages.schema(inputItem), "The items."],
    answer: async ({ params: { id }, query: { limit, order, after }, context }) => {
      const { input } = await findStored(context, id);
      const ordered = order === "asc" ? input : [...input].reverse();
      const start = after === undefined ? 0 : ordered.findIndex((item) => item.id === after) + 1;
      const data = ordered.slice(start, start + limit);
      return pages.json(data, start + data.length < ordered.length);
    },
  }),
];

/** @throws ApiError 404 for a response that is not stored, or is another key's. */
async function findStored(context: RequestContext, id: string): Promise<StoredResponse> {
  const { server, key } = context.var;
  const stored = await server.responses?.get(key.name, id);
  if (stored !== undefined) return stored;
  const hint = server.responses === undefined ? "; this server stores none (--response-bytes 0)" : "";
  throw notFound(`there is no response ${JSON.stringify(id)}${hint}`, "response_not_found", "id");
}

/** Everything about a request that its answer needs. */
type Planned = Awaited<ReturnType<typeof readRequest>>;

/** Reads a request: its conversation, with what it continues, and its tools. Throws ApiError. */
export async function readRequest(context: RequestContext, request: ResponseRequest) {
  const { server, key } = context.var;
  const tools = readTools(request);
  const input = await readInput(request, { store: server.responses, tenant: key.name, nextId: newId });
  checkCalls(input.all, input.all.length - input.own.length);
  const { instructions, include = [], top_logprobs: top } = request;
  const wantsLogprobs = top !== undefined || include.includes("message.output_text.logprobs");
  const fields: ConversationFields = {
    messages: toMessages(input.all, { instructions, names: tools.names }),
    tools,
    constraint: toConstraint(request.text?.format),
    variables: request.chat_template_kwargs,
    sampling: { ...request, stream_options: undefined, max_completion_tokens: request.max_output_tokens },
    logprobs: wantsLogprobs ? (top ?? 0) : undefined,
    field: "input",
  };
  return { request, input, tools, fields };
}

function toConstraint(
  format: NonNullable<ResponseRequest["text"]>["format"],
): ConversationFields["constraint"] {
  const field = "text.format";
  if (format === undefined || format.type === "text") return undefined;
  if (format.type === "json_object") return { field, responseFormat: { type: "json_object" } };
  return {
    field,
    param: `${field}.schema`,
    code: "invalid_json_schema",
    responseFormat: toSchemaFormat(format),
  };
}

/** Answers a request. Throws as `startConversation`. */
async function answerRequest(context: RequestContext, planned: Planned) {
  if (planned.tools.skipped.length > 0) context.header("x-skipped-tools", planned.tools.skipped.join(", "));
  const answer = await startResponse(context, planned);
  if (planned.request.stream === true) return streamTypedEvents(context, numbered(answer.stream()));
  return context.json(await answer.whole());
}

/** Starts the answer of a request. Throws as `startConversation`. */
export async function startResponse(context: RequestContext, planned: Planned) {
  const isStream = planned.request.stream === true;
  return new ResponseAnswer(context, planned, await startConversation(context, planned.fields, { isStream }));
}

async function* numbered(events: AsyncGenerator<OutputEvent, void>) {
  let sequence_number = 0;
  for await (const event of events) yield { ...event, sequence_number: sequence_number++ };
}

/** One response while it is written. */
class ResponseAnswer {
  readonly #id = newId("resp");
  readonly #createdAt: number;
  readonly #context: RequestContext;
  readonly #planned: Planned;
  readonly #events: StartedConversation["events"];
  readonly #reader: AnswerReader;
  readonly #writer: OutputWriter;
  #reasoningTokens = 0;
  #lastDelta: AnswerDelta["type"] | undefined;
  #isCut = false;

  constructor(context: RequestContext, planned: Planned, { events, format }: StartedConversation) {
    this.#context = context;
    this.#planned = planned;
    this.#events = events;
    this.#reader = new AnswerReader(format.parser());
    this.#createdAt = this.#now();
    this.#writer = new OutputWriter({ nextId: newId, names: planned.tools.names });
  }

  /** All events of a stream. An error in the middle becomes events, too, since the status was sent long before. */
  async *stream(): AsyncGenerator<OutputEvent, void> {
    const begun = this.#resource("in_progress");
    yield { type: "response.created", response: begun };
    yield { type: "response.in_progress", response: begun };
    try {
      yield* this.#write();
      const response = await this.#finish();
      yield { type: `response.${response.status}`, response };
    } catch (thrown) {
      yield* this.#fail(thrown);
    }
  }

  async whole() {
    for await (const _ of this.#write());
    return await this.#finish();
  }

  async *#write(): AsyncGenerator<OutputEvent, void> {
    const { tokenizer } = this.#context.var.server.engine.text;
    for await (const [, event] of this.#events) {
      const { deltas, logprobs, finish } = this.#reader.read(event);
      // they belong to the last text
      const last = deltas.findLastIndex(({ type }) => type === "text");
      for (const [i, delta] of deltas.entries())
        yield* this.#writer.write(
          delta,
          i === last ? logprobs.map((entry) => writeLogprob(tokenizer, entry)) : [],
        );
      this.#lastDelta = deltas.at(-1)?.type ?? this.#lastDelta;
      if (event.type === "token" && this.#lastDelta === "reasoning") this.#reasoningTokens++;
      if (finish === undefined) continue;
      this.#isCut = finish === "length";
      yield* this.#writer.finish(this.#isCut);
    }
  }

  /** The whole response, which is stored if it is to be. */
  async #finish() {
    const whole = this.#resource(this.#isCut ? "incomplete" : "completed", { completed_at: this.#now() });
    const { request, input } = this.#planned;
    const { server, key, record } = this.#context.var;
    if (!this.#isStored) return whole;
    const stored: StoredResponse = {
      id: this.#id,
      createdAt: this.#createdAt,
      response: whole,
      input: input.own,
      output: this.#writer.items,
      ...omitUndefined({ previous: request.previous_response_id }),
    };
    // the client has its answer in any case
    await server.responses?.put(key.name, stored).catch((error: unknown) => {
      server.log.error({ request: record.id, reason: errorText(error) }, "a response was not stored");
    });
    return whole;
  }

  *#fail(thrown: unknown): Generator<OutputEvent, void> {
    const { server, record } = this.#context.var;
    const { message, code, param } = server.answerTo(thrown).body.error;
    record.error = errorText(thrown);
    yield { type: "error", code, message, param };
    const error = { code: code ?? "server_error", message };
    yield { type: "response.failed", response: this.#resource("failed", { error }) };
  }

  get #isStored(): boolean {
    return this.#planned.request.store !== false && this.#context.var.server.responses !== undefined;
  }

  #now(): number {
    return Math.floor(this.#context.var.server.date() / 1000);
  }

  /** The response as JSON, at any state of it. */
  #resource(
    status: z.output<typeof responseResource>["status"],
    more: { completed_at?: number; error?: { code: string; message: string } } = {},
  ) {
    const { request, tools } = this.#planned;
    const { server, record } = this.#context.var;
    const { promptTokens, cachedTokens, completionTokens } = record;
    // as it is, defaults filled in
    const { temperature, topP = 1 } = samplingBy(server.engine.defaults, {
      temperature: request.temperature,
      topP: request.top_p,
    });
    const usage = {
      input_tokens: promptTokens,
      input_tokens_details: { cached_tokens: cachedTokens },
      output_tokens: completionTokens,
      output_tokens_details: { reasoning_tokens: this.#reasoningTokens },
      total_tokens: promptTokens + completionTokens,
    };
    return {
      ...askedFor(request, tools.shown),
      id: this.#id,
      object: "response",
      created_at: this.#createdAt,
      completed_at: null,
      status,
      incomplete_details: status === "incomplete" ? { reason: "max_output_tokens" } : null,
      error: null,
      model: record.model ?? server.modelName,
      store: this.#isStored,
      temperature,
      top_p: topP,
      output: this.#writer.items,
      usage: status === "in_progress" ? null : usage,
      ...more,
    } as const;
  }
}
