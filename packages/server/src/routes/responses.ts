// The routes of the Responses API: answers, and those that are stored.
import { z } from "@hono/zod-openapi";
import type { MiddlewareHandler } from "hono";
import type { RequestContext, ServerApp, ServerEnv } from "../context.ts";
import { planConversation } from "../conversation.ts";
import { invalidValue, notFound } from "../errors.ts";
import {
  apiRoute,
  checkedBy,
  deletedSchema,
  json,
  jsonBody,
  ok,
  pageSchema,
  idParams as params,
  toPage,
} from "../request.ts";
import { answerRequest, readRequest } from "../responses/answer.ts";
import { checkItemTypes, inputItem } from "../responses/items.ts";
import { responseRequest } from "../responses/request.ts";
import { responseEvent, responseResource } from "../responses/resource.ts";
import type { StoredResponse } from "../responses/store.ts";

const path = "/v1/responses";
const request = { body: { required: true, content: json(responseRequest) } };

/** Kinds of items are checked first: a union's complaint would name none of them. */
const checkItems: MiddlewareHandler<ServerEnv> = async (context, next) => {
  checkItemTypes((await context.req.json<{ readonly input?: unknown }>()).input);
  await next();
};

const createResponse = apiRoute({
  method: "post",
  path,
  summary: "Create a response",
  middleware: [jsonBody, checkItems],
  request,
  responses: {
    200: {
      description:
        "The response or, with stream: true, server-sent events, whose last one has the whole response.",
      content: { ...json(responseResource), "text/event-stream": { schema: responseEvent } },
    },
  },
});

const countTokens = apiRoute({
  method: "post",
  path: `${path}/input_tokens`,
  summary: "Count the tokens of a response's input",
  middleware: [jsonBody, checkItems],
  request,
  responses: {
    200: ok(
      z.object({ object: z.literal("response.input_tokens"), input_tokens: z.int() }),
      "The tokens of the prompt.",
    ),
  },
});

const getResponse = apiRoute({
  method: "get",
  path: `${path}/{id}`,
  summary: "Retrieve a stored response",
  request: {
    params,
    // clients that ask for events wait for them forever if they get an object
    query: z.object({ stream: z.literal("false").optional().describe("Only false: it comes as a whole.") }),
  },
  responses: { 200: ok(responseResource, "The response.") },
});

const deleteResponse = apiRoute({
  method: "delete",
  path: `${path}/{id}`,
  summary: "Delete a stored response",
  request: { params },
  responses: { 200: ok(deletedSchema("response"), "It is deleted.") },
});

const cancelResponse = apiRoute({
  method: "post",
  path: `${path}/{id}/cancel`,
  summary: "Cancel a background response, which this server does not have",
  request: { params },
  responses: {},
});

const itemQuery = z.object({
  limit: z.coerce.number().int().min(1).max(100).default(20),
  order: z.enum(["asc", "desc"]).default("desc"),
  after: z.string().max(200).optional(),
});

const listItems = apiRoute({
  method: "get",
  path: `${path}/{id}/input_items`,
  summary: "List the input items of a stored response",
  request: {
    params,
    query: itemQuery,
  },
  responses: { 200: ok(pageSchema(inputItem), "The items.") },
});

export function responseRoutes(app: ServerApp): void {
  app.openapi(
    createResponse,
    // the answer is written piece by piece, which the type of a route does not know
    async (context) => {
      const body = context.req.valid("json");
      return (await answerRequest(context, await readRequest(context, body))) as never;
    },
    checkedBy(responseRequest),
  );
  app.openapi(
    countTokens,
    async (context) => {
      const { fields } = await readRequest(context, context.req.valid("json"));
      const { prompt } = await planConversation(context, fields);
      return context.json({ object: "response.input_tokens" as const, input_tokens: prompt.ids.length }, 200);
    },
    checkedBy(responseRequest),
  );
  app.openapi(getResponse, async (context) => {
    const { response } = await findStored(context, context.req.valid("param").id);
    return context.json(response as z.output<typeof responseResource>, 200);
  });
  app.openapi(deleteResponse, async (context) => {
    const { id } = await findStored(context, context.req.valid("param").id);
    await context.var.server.responses?.delete(context.var.key.name, id);
    return context.json({ id, object: "response" as const, deleted: true as const }, 200);
  });
  app.openapi(cancelResponse, async (context) => {
    await findStored(context, context.req.valid("param").id);
    throw invalidValue("only background responses can be cancelled; close the connection to cancel this one");
  });
  app.openapi(listItems, async (context) => {
    const { input } = await findStored(context, context.req.valid("param").id);
    return context.json(itemPage(input, context.req.valid("query")), 200);
  });
}

/** @throws ApiError 404 for a response that is not stored, or is another key's. */
async function findStored(context: RequestContext, id: string): Promise<StoredResponse> {
  const { server, key } = context.var;
  const stored = await server.responses?.get(key.name, id);
  if (stored !== undefined) return stored;
  const hint = server.responses === undefined ? "; this server stores none (--response-bytes 0)" : "";
  throw notFound(`there is no response ${JSON.stringify(id)}${hint}`, "response_not_found", "id");
}

function itemPage(input: StoredResponse["input"], { limit, order, after }: z.output<typeof itemQuery>) {
  const ordered = order === "asc" ? input : [...input].reverse();
  const start = after === undefined ? 0 : ordered.findIndex(({ id }) => id === after) + 1;
  const data = ordered.slice(start, start + limit);
  return toPage(data, start + data.length < ordered.length);
}
