// DELETE /v1/models: a fine-tuned model, or one of its checkpoints, is not needed any more.
import { createRoute, z } from "@hono/zod-openapi";
import { failed, ok, security } from "mixture-of-shards/server";
import { type AddRoutes, found, ownerOf } from "./service-env.ts";

const deleted = z.object({ id: z.string(), object: z.literal("model"), deleted: z.literal(true) });

const removeRoute = createRoute({
  method: "delete",
  path: "/v1/models/{model{.+}}",
  summary: "Delete a fine-tuned model",
  security,
  request: { params: z.object({ model: z.string().max(512) }) },
  responses: {
    200: ok(deleted, "It is deleted. Requests that run with it end as they began."),
    default: failed,
  },
});

export const modelRoutes: AddRoutes = (app, { jobs, unpublish }) => {
  app.openapi(removeRoute, async (context) => {
    const { key, server } = context.var;
    const id = context.req.valid("param").model;
    await found(jobs.removeModel(ownerOf(key), id), "model");
    await unpublish(id);
    await server.engine.refreshAdapters();
    return context.json({ id, object: "model" as const, deleted: true as const }, 200);
  });
};
