// /v1/models: an adapter that was trained elsewhere becomes a model of the service, which is then as those of jobs; and until when a
// model is needed.
import { rm } from "node:fs/promises";
import { z } from "@hono/zod-openapi";
import { type Engine, MosError } from "mixture-of-shards";
import { type ApiError, deleted, optional } from "mixture-of-shards/server";
import { makeTemporaryFolder } from "mixture-of-shards-core/files";
import { type Owner, randomId } from "#database";
import type { Files } from "#objects";
import { lifetimeSchema, type ModelRow, modelName } from "#store";
import { addForm } from "./forms.ts";
import {
  type AddRoutes,
  addRoute,
  type Context,
  chooseTenant,
  collect,
  invalid,
  type ServiceEnv,
  seconds,
  toObject,
  toOwner,
} from "./routes.ts";

const badAdapter = (reason: string): ApiError => invalid(reason, "adapter_model", "bad_adapter");

/** Throws ApiError 400 for files that are no adapter of the model. */
async function checkFolder(
  files: Files,
  { objects, server }: Pick<ServiceEnv, "objects"> & { readonly server: Context["var"]["server"] },
): Promise<void> {
  const folder = await makeTemporaryFolder("mos-import-");
  try {
    await objects.restore(files, folder);
    await server.checkAdapter?.(folder);
  } catch (cause) {
    const isFault =
      cause instanceof MosError && ["bad_adapter", "bad_config", "unsupported"].includes(cause.code);
    throw isFault
      ? badAdapter(cause.message.replaceAll(`${folder}/`, "").replaceAll(folder, "the adapter"))
      : cause;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Publishes a model that the engine accepts; what fails leaves none. Throws ApiError 400. */
async function publishChecked(
  service: ServiceEnv,
  name: string,
  { owner, engine }: { readonly owner: Owner; readonly engine: Engine },
): Promise<void> {
  try {
    await service.publish(name);
    // only the engine, which has read the weights, knows whether it was trained on them
    const served = await engine.refreshAdapters();
    if (served.some((adapter) => adapter.name === name)) return;
    const refused = engine.refusedAdapters().find((adapter) => adapter.name === name);
    throw badAdapter(refused?.reason ?? "not an adapter of this model");
  } catch (error) {
    await service.models.remove(owner, name);
    await service.unpublish(name);
    await collect(service);
    throw error;
  }
}

export const importRoutes: AddRoutes = (app, service) => {
  addForm(app, service, {
    path: "/v1/models",
    summary: "Import an adapter that was trained elsewhere",
    name: "ImportForm",
    files: {
      adapter_model: "adapter_model.safetensors of the adapter's folder.",
      adapter_config: "adapter_config.json of the adapter's folder.",
    },
    fields: z.strictObject({
      suffix: optional(z.string().max(64), "A part of the model's name, as of a job."),
      owner: optional(z.string().regex(/^[^:\0]{1,128}$/), "Administrators: the tenant who gets the model."),
    }),
    ok: [modelSchema, "The model. It is listed, served and deleted as others."],
    answer: async ({ files: sent, fields: { suffix, owner }, bytes, arrival }, { key, server }) => {
      const files = {
        "adapter_config.json": sent.adapter_config.digest,
        "adapter_model.safetensors": sent.adapter_model.digest,
      };
      const tenant = chooseTenant(key, { given: owner, param: "owner" });
      await checkFolder(files, { ...service, server });
      const name = modelName({ id: randomId("import-"), model: service.modelName, tenant, suffix });
      const row = await service.models.add({ name, tenant, files, bytes, arrival });
      await publishChecked(service, name, { owner: toOwner(key), engine: server.engine });
      return toModelObject(row);
    },
  });
};

const path = "/v1/models/{model{.+}}";
const params = z.object({ model: z.string().max(512) });

const modelSchema = z.object({
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
    expires_at: optional(z.int().max(LATEST), "Unix time in seconds."),
    expires_after: optional(lifetimeSchema, "Seconds from now."),
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

const toModelObject = (model: ModelRow) =>
  toObject(modelSchema, model, { id: model.name, created: seconds(model.created_at), owned_by: "mos" });

export const modelRoutes: AddRoutes = (app, service) => {
  const { models, unpublish, checkExpiry } = service;
  addRoute(app, {
    method: "delete",
    path,
    summary: "Delete a fine-tuned model",
    params,
    ok: [
      deleted.schema("model"),
      "The model was deleted. Running requests finish with it. A model with an alias cannot be deleted.",
    ],
    param: "model",
    answer: async ({ params: { model: id }, owner, server }) => {
      await models.remove(owner, id);
      await unpublish(id);
      await collect(service);
      await server.engine.refreshAdapters();
      return deleted.json("model", id);
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
