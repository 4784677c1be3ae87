// GET /v1/models: the base and the adapters that a key may use.
import { createRoute, z } from "@hono/zod-openapi";
import type { AdapterInfo } from "#inference";
import { findAdapter } from "../choices.ts";
import type { ServerApp, ServerContext } from "../context.ts";
import { ApiError } from "../errors.ts";
import { failed, ok, security } from "../schemas.ts";

const modelSchema = z
  .object({
    id: z.string(),
    object: z.literal("model"),
    created: z.int(),
    owned_by: z.string(),
    root: z.string(),
    parent: z.string().nullable(),
  })
  .openapi("Model");

const listRoute = createRoute({
  method: "get",
  path: "/v1/models",
  summary: "The base and the adapters that the key may use",
  security,
  responses: {
    200: ok(z.object({ object: z.literal("list"), data: z.array(modelSchema) }), "All models."),
    default: failed,
  },
});

const describeRoute = createRoute({
  method: "get",
  path: "/v1/models/{model{.+}}",
  summary: "One of them",
  security,
  request: { params: z.object({ model: z.string() }) },
  responses: { 200: ok(modelSchema, "The model."), default: failed },
});

type Model = z.output<typeof modelSchema>;

const baseModel = ({ modelName, createdAt }: ServerContext): Model => ({
  id: modelName,
  object: "model",
  created: createdAt,
  owned_by: "mos",
  root: modelName,
  parent: null,
});

const adapterModel = ({ modelName }: ServerContext, { name, changedAt }: AdapterInfo): Model => ({
  id: name,
  object: "model",
  created: Math.floor(changedAt),
  owned_by: "mos",
  root: modelName,
  parent: modelName,
});

export function modelRoutes(app: ServerApp): void {
  app.openapi(listRoute, (context) => {
    const { server, key } = context.var;
    const adapters = server.engine
      .adapters()
      .filter(({ name }) => key.mayUse(name) && name !== server.modelName)
      .map((adapter) => adapterModel(server, adapter));
    return context.json({ object: "list" as const, data: [baseModel(server), ...adapters] }, 200);
  });
  app.openapi(describeRoute, async (context) => {
    const { server, key } = context.var;
    const name = context.req.valid("param").model;
    if (name === server.modelName) return context.json(baseModel(server), 200);
    const found = await findAdapter(server, { name, key });
    if (found !== undefined) return context.json(adapterModel(server, found), 200);
    // also for another tenant's adapter
    throw new ApiError(`the model ${JSON.stringify(name)} does not exist or you do not have access to it`, {
      status: 404,
      code: "model_not_found",
      param: "model",
    });
  });
}
