// POST /v1/models: an adapter that was trained elsewhere becomes a model of the service, which is then as those of jobs.
import { rm } from "node:fs/promises";
import { z } from "@hono/zod-openapi";
import { type Engine, MosError } from "mixture-of-shards";
import { ApiError, type ApiKey, apiRoute, invalidForm, ok, readMultipart } from "mixture-of-shards/server";
import { makeTemporaryFolder } from "mixture-of-shards-core/files";
import { randomId } from "#database";
import type { Files } from "#objects";
import { type Arrival, type ModelRow, modelName, toLimits } from "#store";
import { tooLarge } from "./files.ts";
import { modelSchema, toModelObject } from "./models.ts";
import { type AddRoutes, invalid, type ServiceEnv, toOwner, withHttpErrors } from "./routes.ts";

const binary = z.string().openapi({ format: "binary" });

const importRoute = apiRoute({
  method: "post",
  path: "/v1/models",
  summary: "Import an adapter that was trained elsewhere",
  request: {
    body: {
      content: {
        "multipart/form-data": {
          schema: z
            .strictObject({
              adapter_config: binary.describe("adapter_config.json of the adapter's folder."),
              adapter_model: binary.describe("adapter_model.safetensors of the adapter's folder."),
              suffix: z.string().max(64).optional().describe("A part of the model's name, as of a job."),
              owner: z.string().optional().describe("Administrators: the tenant who gets the model."),
            })
            .openapi("ImportForm"),
        },
      },
    },
  },
  responses: {
    200: ok(modelSchema, "The model. It is listed, served and deleted as others."),
  },
});

/** What the server knows about adapters. */
interface ServedAdapters {
  readonly engine: Engine;
  readonly checkAdapter?: ((folder: string) => Promise<void>) | undefined;
}

/** File names by the form's fields. */
const FILE_NAMES: ReadonlyMap<string, string> = new Map([
  ["adapter_config", "adapter_config.json"],
  ["adapter_model", "adapter_model.safetensors"],
]);
const [MAX_PARTS, MAX_FIELD] = [8, 256];

interface Received {
  readonly files: Files;
  readonly fields: ReadonlyMap<string, string>;
  readonly bytes: number;
}

/** Reads the form; what it has goes to the storage, where `arrival` makes room. Throws ApiError 400, 413; MosError `busy`. */
async function readImport(
  request: Request,
  {
    objects,
    maxFileBytes,
    arrival,
  }: Pick<ServiceEnv, "objects" | "maxFileBytes"> & { readonly arrival: Arrival },
): Promise<Received> {
  const fields = new Map<string, string>();
  const files: Record<string, string> = {};
  let bytes = 0;
  async function* counted(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
    for await (const chunk of body) {
      bytes += chunk.length;
      await arrival.reserve(bytes);
      yield chunk;
    }
  }
  await readMultipart(request, {
    maxBytes: maxFileBytes,
    maxParts: MAX_PARTS,
    fields: { maxBytes: MAX_FIELD, take: (name, value) => void fields.set(name, value) },
    async onFile({ field, body }) {
      const name = FILE_NAMES.get(field);
      if (name === undefined || name in files)
        throw invalidForm(`the form must have one file each named ${[...FILE_NAMES.keys()].join(" and ")}`);
      files[name] = (await objects.put(counted(body), arrival)).digest;
    },
    drains: true,
  });
  for (const [field, name] of FILE_NAMES)
    if (!(name in files)) throw invalidForm(`the form has no file ${field}: ${name} of the adapter's folder`);
  for (const field of fields.keys())
    if (field !== "suffix" && field !== "owner")
      throw invalidForm(`unknown field ${field}; send suffix or owner`);
  return { files, fields, bytes };
}

/** The tenant who gets the model. Throws ApiError 403. */
function chooseOwner({ name, isAdmin }: ApiKey, owner: string | undefined): string {
  if (owner === undefined || owner === name) return name;
  if (isAdmin && /^[^:\0]{1,128}$/.test(owner)) return owner;
  throw new ApiError("owner: only an administrator's key imports a model for another tenant", {
    status: 403,
    code: "admin_key_required",
    param: "owner",
  });
}

const badAdapter = (reason: string): ApiError => invalid(reason, "adapter_model", "bad_adapter");

/** Throws ApiError 400 for files that are no adapter of the model. */
async function checkFolder(
  files: Files,
  { objects, server }: Pick<ServiceEnv, "objects"> & { readonly server: ServedAdapters },
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
  { name }: ModelRow,
  {
    models,
    contents,
    objects,
    publish,
    unpublish,
    key,
    engine,
  }: Pick<ServiceEnv, "models" | "contents" | "objects" | "publish" | "unpublish"> & {
    readonly key: ApiKey;
    readonly engine: Engine;
  },
): Promise<void> {
  try {
    await publish(name);
    // only the engine, which has read the weights, knows whether it was trained on them
    const served = await engine.refreshAdapters();
    if (served.some((adapter) => adapter.name === name)) return;
    const refused = engine.refusedAdapters().find((adapter) => adapter.name === name);
    throw badAdapter(refused?.reason ?? "not an adapter of this model");
  } catch (error) {
    await models.remove(toOwner(key), name);
    await unpublish(name);
    await contents.collect(objects.remove).catch(() => undefined);
    throw error;
  }
}

async function importModel(
  service: ServiceEnv,
  {
    request,
    key,
    server,
  }: { readonly request: Request; readonly key: ApiKey; readonly server: ServedAdapters },
) {
  const { contents, models } = service;
  const length = Number(request.headers.get("content-length") ?? 0);
  const arrival = contents.arrive(key.name, {
    maxStorageBytes: toLimits(key).max_storage_bytes,
    mostBytes: length > 0 ? length : undefined,
  });
  try {
    const { fields, ...received } = await readImport(request, { ...service, arrival });
    const tenant = chooseOwner(key, fields.get("owner"));
    await checkFolder(received.files, { ...service, server });
    const suffix = fields.get("suffix");
    const name = modelName({ id: randomId("import-"), model: service.modelName, tenant, suffix });
    const row = await models.add({ name, tenant, ...received, arrival: arrival.id });
    await publishChecked(row, { ...service, key, engine: server.engine });
    return row;
  } finally {
    await arrival.end().catch(() => undefined); // of a database that is away: it is forgotten after a while
  }
}

export const importRoutes: AddRoutes = (app, service) => {
  // the document has the form, which is not read by its schema but as it arrives
  app.openAPIRegistry.registerPath(importRoute);
  app.post(importRoute.path, async (context) => {
    const { key, server } = context.var;
    const row = await withHttpErrors(
      importModel(service, { request: context.req.raw, key, server }).catch(tooLarge("adapter_model")),
      "adapter_model",
    );
    return context.json(toModelObject(row), 200);
  });
};
