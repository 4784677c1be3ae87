// /v1/models: until when a fine-tuned model, or one of its checkpoints, is needed.
import { z } from "@hono/zod-openapi";
import { deletedSchema } from "mixture-of-shards/server";
import { lifetimeSchema, type ModelRow } from "#store";
import { type AddRoutes, addRoute, collect, deleted, invalid, seconds } from "./routes.ts";

const path = "/v1/models/{model{.+}}";
const params = z.object({ model: z.string().max(512) });

export const modelSchema = z.object({
  id: z.string(),
  object: z.literal("model"),
  created: z.int(),
  owned_by: z.string(),
  expires_at: z.int().optional(),
});

/** The last second of the year 9999. */
const LATEST = 253_402_300_799;

const updateRequest = z
  .strictObject({
    expires_at: z.int().max(LATEST).optional().describe("Unix time in seconds."),
    expires_after: lifetimeSchema.optional().describe("Seconds from now."),
  })
  .openapi("UpdateModelRequest");

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

export const modelRoutes: AddRoutes = (app, service) => {
  const { models, unpublish, checkExpiry } = service;
  addRoute(app, {
    method: "delete",
    path,
    summary: "Delete a fine-tuned model",
    params,
    ok: [
      deletedSchema("model"),
      "The model was deleted. Running requests finish with it. A model with an alias cannot be deleted.",
    ],
    param: "model",
    answer: async ({ params: { model: id }, owner, server }) => {
      await models.remove(owner, id);
      await unpublish(id);
      await collect(service);
      await server.engine.refreshAdapters();
      return deleted("model", id);
    },
  });
  addRoute(app, {
    method: "post",
    path,
    summary: "Set or remove the expiry of a fine-tuned model",
    params,
    body: updateRequest,
    ok: [modelSchema, "The model."],
    param: "model",
    answer: async ({ params: { model }, body, owner, server }) => {
      const row = await models.setExpiry(owner, model, readExpiry(body, server.now()));
      await checkExpiry();
      return toModelObject(row);
    },
  });
};
