// GET /v1/models: the base and the adapters that a key may use.
import { z } from "@hono/zod-openapi";
import { omitUndefined } from "mixture-of-shards-core/common";
import { samplingBy } from "mixture-of-shards-core/inference";
import type { ModelNotes, RequestContext, ServerContext } from "../context.ts";
import { findAdapter } from "../engine-requests.ts";
import { unknownModel } from "../errors.ts";
import { route } from "../route.ts";

const parametersSchema = z
  .object({
    temperature: z.number(),
    top_p: z.number(),
    top_k: z.int(),
    min_p: z.number(),
    repetition_penalty: z.number(),
    presence_penalty: z.number(),
    frequency_penalty: z.number(),
    max_tokens: z.int().optional(),
  })
  .describe(
    "Sampling parameters of requests that omit them, from the server's options or else the model's files.",
  );

const modelSchema = z
  .object({
    id: z.string(),
    object: z.literal("model"),
    created: z.int(),
    owned_by: z.string(),
    root: z.string(),
    parent: z.string().nullable(),
    expires_at: z.int().optional(),
    default_parameters: parametersSchema,
  })
  .openapi("Model");

type Model = z.output<typeof modelSchema>;

function defaultParameters({ engine: { defaults } }: ServerContext) {
  const { temperature, topP = 1, topK = 0, minP = 0, ...penalties } = samplingBy(defaults);
  const { repetitionPenalty = 1, presencePenalty = 0, frequencyPenalty = 0 } = penalties;
  return {
    temperature,
    top_p: topP,
    top_k: topK,
    min_p: minP,
    repetition_penalty: repetitionPenalty,
    presence_penalty: presencePenalty,
    frequency_penalty: frequencyPenalty,
    ...omitUndefined({ max_tokens: defaults.maxTokens }),
  };
}

/** A model with what all have in common. */
const toModel = (
  server: ServerContext,
  { id, created, ...own }: Pick<Model, "id" | "created"> & Partial<Model>,
): Model => ({
  id,
  object: "model",
  created,
  owned_by: "mos",
  root: server.modelName,
  parent: server.modelName,
  default_parameters: defaultParameters(server),
  ...own,
});

const baseModel = (server: ServerContext): Model =>
  toModel(server, { id: server.modelName, created: server.createdAt, parent: null });

const NO_NOTES: ModelNotes = { aliases: [], models: new Map() };

/** Adapters and aliases that a key may use. An alias has the name of what it stands for as its root. */
async function adapterModels({ server, key }: RequestContext["var"]): Promise<readonly Model[]> {
  const { aliases, models } = (await server.extension?.models?.describe(key)) ?? NO_NOTES;
  const here = server.engine
    .adapters()
    .map(({ name, changedAt }) => [name, { changedAt, expiresAt: undefined }] as const);
  const adapters = [...new Map([...here, ...models])]
    .filter(([id]) => key.mayUse(id) && id !== server.modelName)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([id, { changedAt, expiresAt }]) =>
      toModel(server, { id, created: Math.floor(changedAt), ...omitUndefined({ expires_at: expiresAt }) }),
    );
  const hidden = new Set([server.modelName, ...adapters.map(({ id }) => id)]);
  const named = aliases
    .filter(({ id }) => !hidden.has(id))
    .map(({ id, model: root, changedAt }) => toModel(server, { id, root, created: Math.floor(changedAt) }));
  return [...adapters, ...named];
}

export const modelRoutes = [
  route({
    method: "get",
    path: "/v1/models",
    summary: "List the base and the adapters that the key may use",
    ok: [z.object({ object: z.literal("list"), data: z.array(modelSchema) }), "The models."],
    answer: async ({ context }) => {
      const data = [baseModel(context.var.server), ...(await adapterModels(context.var))];
      return { object: "list" as const, data };
    },
  }),
  route({
    method: "get",
    path: "/v1/models/{model{.+}}",
    summary: "Retrieve a model",
    params: z.object({ model: z.string() }),
    ok: [modelSchema, "The model."],
    answer: async ({ params: { model: name }, server, key, context }) => {
      if (name === server.modelName) return baseModel(server);
      await findAdapter(server, { name, key }); // it may not be here yet
      const found = (await adapterModels(context.var)).find(({ id }) => id === name);
      if (found === undefined) throw unknownModel(name); // also for another tenant's adapter
      return found;
    },
  }),
];
