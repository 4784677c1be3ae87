// /v1/files: what clients upload to train on, and what jobs leave.
import { open } from "node:fs/promises";
import { Readable } from "node:stream";
import { createRoute, z } from "@hono/zod-openapi";
import { MosError } from "mixture-of-shards";
import { storageError } from "mixture-of-shards/cli";
import { ApiError, type ApiKey, failed, ok, security } from "mixture-of-shards/server";
import { toLimits } from "#store";
import { fileSchema, pageQuery, pageSchema, toFileObject, toListObject } from "./serializers.ts";
import {
  type AddRoutes,
  invalid,
  type ServiceEnv,
  toOwner,
  wholeNumber,
  withHttpErrors,
} from "./service-env.ts";
import { FORM_BYTES, readUpload } from "./upload.ts";

const PURPOSES = ["fine-tune"] as const;
const params = z.object({ id: z.string().max(200) });

const uploadForm = z.object({
  file: z.string().openapi({ format: "binary" }),
  purpose: z.enum(PURPOSES),
  "expires_after[anchor]": z.literal("created_at").optional(),
  "expires_after[seconds]": z
    .string()
    .optional()
    .describe("Seconds after which the file is deleted, from 3600 to 2592000."),
});

const addRoute = createRoute({
  method: "post",
  path: "/v1/files",
  summary: "Upload a JSON Lines file for training or validation",
  security,
  responses: {
    200: ok(fileSchema, "The file; its status says whether it passed validation."),
    default: failed,
  },
});

const listRoute = createRoute({
  method: "get",
  path: "/v1/files",
  summary: "List files",
  security,
  request: {
    query: z.object({
      ...pageQuery({ standard: 10_000, most: 10_000 }),
      purpose: z.string().max(100).optional(),
      order: z.enum(["asc", "desc"]).optional(),
    }),
  },
  responses: { 200: ok(pageSchema(fileSchema), "A page of files."), default: failed },
});

const getRoute = createRoute({
  method: "get",
  path: "/v1/files/{id}",
  summary: "Retrieve a file",
  security,
  request: { params },
  responses: { 200: ok(fileSchema, "The file object."), default: failed },
});

const contentRoute = createRoute({
  method: "get",
  path: "/v1/files/{id}/content",
  summary: "Download file content",
  security,
  request: { params },
  responses: { 200: { description: "The content of the file." }, default: failed },
});

const deleted = z.object({ id: z.string(), object: z.literal("file"), deleted: z.literal(true) });

const removeRoute = createRoute({
  method: "delete",
  path: "/v1/files/{id}",
  summary: "Delete a file",
  security,
  request: { params },
  responses: { 200: ok(deleted, "The file was deleted; jobs that use it continue."), default: failed },
});

const expirySeconds = wholeNumber(3600, 2_592_000);

/** Seconds after which a file goes, as its form says. */
function expiry(fields: ReadonlyMap<string, string>): number | undefined {
  const given = fields.get("expires_after[seconds]");
  if (given === undefined) return undefined;
  const seconds = expirySeconds.safeParse(given);
  if (!seconds.success)
    throw invalid("expires_after[seconds] must be a whole number from 3600 to 2592000", "expires_after");
  return seconds.data;
}

/** The tenant's files take too much. */
function tooLarge(error: unknown): never {
  if (!(error instanceof MosError) || error instanceof ApiError || error.code !== "busy") throw error;
  throw new ApiError(error.message, {
    status: 413,
    code: "storage_limit_exceeded",
    param: "file",
    cause: error,
  });
}

function readFields(fields: ReadonlyMap<string, string>) {
  const purpose = fields.get("purpose") ?? "missing";
  if (!PURPOSES.some((known) => known === purpose))
    throw invalid(`purpose is ${JSON.stringify(purpose)}; send ${PURPOSES.join(" or ")}`, "purpose");
  return { purpose, expiresSeconds: expiry(fields) };
}

interface Upload {
  readonly request: Request;
  readonly key: ApiKey;
  /** Fires when the client has left. */
  readonly signal: AbortSignal;
}

async function addFile(service: ServiceEnv, { request, key, signal }: Upload) {
  const { name: tenant } = key;
  const { jobs, objects, maxFileBytes: maxBytes } = service;
  const maxStorageBytes = toLimits(key).max_storage_bytes;
  const length = Number(request.headers.get("content-length") ?? 0);
  const arrival = jobs.arrive(tenant, { maxStorageBytes, mostBytes: length > 0 ? length : undefined });
  try {
    // of a file that cannot fit, nothing is read
    await arrival.reserve(Math.max(1, length - FORM_BYTES));
    const { fields, filename, file } = await readUpload(request, { objects, maxBytes, readFields, arrival });
    const path = await objects.locate(file.digest);
    const wrong = await service.checkFile(path, { tenant, signal }).catch((error: unknown) => {
      throw signal.aborted ? signal.reason : error;
    });
    return await jobs.addFile({
      tenant,
      filename,
      ...fields,
      ...file,
      maxStorageBytes,
      arrival: arrival.id,
      ...(wrong === undefined
        ? { status: "processed", status_details: null }
        : { status: "error", status_details: wrong }),
    });
  } finally {
    await arrival.end().catch(() => undefined); // of a database that is away: it is forgotten after a while
  }
}

/** Opens a content before the answer begins: it can be deleted while it is sent. */
async function openContent(path: string): Promise<Readable> {
  const handle = await open(path).catch((error: unknown) => {
    throw storageError(error, path);
  });
  return handle.createReadStream();
}

export const fileRoutes: AddRoutes = (app, service) => {
  const { jobs, objects } = service;
  // the document has the form, which is not read by its schema but as it arrives
  app.openAPIRegistry.registerPath({
    ...addRoute,
    request: { body: { content: { "multipart/form-data": { schema: uploadForm } } } },
  });
  app.post(addRoute.path, async (context) => {
    const { key, running } = context.var;
    const upload = { request: context.req.raw, key, signal: running.signal };
    const row = await withHttpErrors(addFile(service, upload).catch(tooLarge));
    return context.json(toFileObject(row), 200);
  });
  app.openapi(listRoute, async (context) => {
    const { rows, hasMore } = await withHttpErrors(
      jobs.files(toOwner(context.var.key), context.req.valid("query")),
    );
    return context.json(toListObject(rows.map(toFileObject), hasMore), 200);
  });
  app.openapi(getRoute, async (context) => {
    const row = await withHttpErrors(jobs.file(toOwner(context.var.key), context.req.valid("param").id));
    return context.json(toFileObject(row), 200);
  });
  app.openapi(contentRoute, async (context) => {
    const row = await withHttpErrors(jobs.file(toOwner(context.var.key), context.req.valid("param").id));
    const bytes = Readable.toWeb(
      await withHttpErrors(openContent(await withHttpErrors(objects.locate(row.digest)))),
    );
    return context.body(bytes as ReadableStream, 200, {
      "content-type": "application/octet-stream",
      "content-length": String(row.bytes),
      "content-disposition": `attachment; filename*=UTF-8''${encodeURIComponent(row.filename)}`,
    });
  });
  app.openapi(removeRoute, async (context) => {
    const { id } = context.req.valid("param");
    await withHttpErrors(jobs.removeFile(toOwner(context.var.key), id));
    // the server retries and reports what fails now
    await jobs.collect(objects.remove).catch(() => undefined);
    return context.json({ id, object: "file" as const, deleted: true as const }, 200);
  });
};
