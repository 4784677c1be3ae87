// /v1/models: until when a fine-tuned model, or one of its checkpoints, is needed.
import { z } from "@hono/zod-openapi";
import { apiRoute, deletedSchema, ok } from "mixture-of-shards/server";
import { lifetimeSchema, type ModelRow } from "#store";
import { type AddRoutes, addRoute, invalid, seconds, storedBody, toOwner } from "./routes.ts";

const path = "/v1/models/{model{.+}}";
const params = z.object({ model: z.string().max(512) });

export const modelSchema = z.object({
  id: z.string(),
  object: z.literal("model"),
  created: z.int(),
  owned_by: z.string(),
  expires_at: z.int().optional(),
});

const removeRoute = apiRoute({
  method: "delete",
  path,
  summary: "Delete a fine-tuned model",
  request: { params },
  responses: {
    200: ok(
      deletedSchema("model"),
      "The model was deleted. Running requests finish with it. A model with an alias cannot be deleted.",
    ),
  },
});

/** The last second of the year 9999. */
const LATEST = 253_402_300_799;

const updateRequest = z
  .strictObject({
    expires_at: z.int().max(LATEST).optional().describe("Unix time in seconds."),
    expires_after: lifetimeSchema.optional().describe("Seconds from now."),
  })
  .openapi("UpdateModelRequest");

const updateRoute = apiRoute({
  method: "post",
  path,
  summary: "Set or remove the expiry of a fine-tuned model",
  middleware: storedBody,
  request: { params, body: { content: { "application/json": { schema: updateRequest } } } },
  responses: { 200: ok(modelSchema, "The model.") },
});

/** Expiry in a request. */
function readExpiry({ expires_at: at, expires_after: after }: z.output<typeof updateRequest>, now: number) {
  if (at !== undefined && after !== undefined)
    throw invalid("expires_at and expires_after cannot be used together", "expires_at");
  if (at !== undefined && at * 1000 <= now)
    throw invalid("expires_at is in the past; use DELETE to remove a model", "expires_at");
  if (at !== undefined) return { at };
  return after === undefined ? null : { after };
}

export const toModelObject = ({ name, created_at, expires_at }: ModelRow): z.output<typeof modelSchema> => ({
  id: name,
  object: "model",
  created: seconds(created_at),
  owned_by: "mos",
  ...(expires_at === null ? {} : { expires_at: seconds(expires_at) }),
});

export const modelRoutes: AddRoutes = (app, { contents, models, objects, unpublish, checkExpiry }) => {
  addRoute(app, removeRoute, {
    param: "model",
    answer: async (context) => {
      const { key, server } = context.var;
      const id = context.req.valid("param").model;
      await models.remove(toOwner(key), id);
      await unpublish(id);
      // the server retries and reports what fails now
      await contents.collect(objects.remove).catch(() => undefined);
      await server.engine.refreshAdapters();
      return context.json({ id, object: "model" as const, deleted: true as const }, 200);
    },
  });
  addRoute(app, updateRoute, {
    param: "model",
    body: updateRequest,
    answer: async (context) => {
      const { key, server } = context.var;
      const expiry = readExpiry(context.req.valid("json"), server.now());
      const row = await models.setExpiry(toOwner(key), context.req.valid("param").model, expiry);
      await checkExpiry();
      return context.json(toModelObject(row), 200);
    },
  });
};
