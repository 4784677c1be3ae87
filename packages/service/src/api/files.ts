// /v1/files: what clients upload to train on, and what jobs leave.
import { open } from "node:fs/promises";
import { Readable } from "node:stream";
import { z } from "@hono/zod-openapi";
import { MosError } from "mixture-of-shards";
import {
  ApiError,
  type ApiKey,
  apiRoute,
  deletedSchema,
  type FormFile,
  invalidForm,
  ok,
  readMultipart,
} from "mixture-of-shards/server";
import { storageError } from "mixture-of-shards-core/files";
import { storable } from "#database";
import type { StoredObject } from "#objects";
import { type Arrival, type FileRow, toLimits } from "#store";
import {
  type AddRoutes,
  addRoute,
  invalid,
  pageQuery,
  pageSchema,
  type ServiceEnv,
  seconds,
  toListObject,
  toOwner,
  wholeNumber,
  withHttpErrors,
} from "./routes.ts";

/** A file. */
const fileSchema = z
  .object({
    id: z.string(),
    object: z.literal("file"),
    bytes: z.number(),
    created_at: z.int(),
    expires_at: z.int().optional(),
    filename: z.string(),
    organization_id: z.string(),
    purpose: z.string(),
    status: z.enum(["processed", "error"]),
    status_details: z.string().optional(),
  })
  .openapi("OpenAIFile");

const toFileObject = (file: FileRow): z.output<typeof fileSchema> => ({
  id: file.id,
  object: "file",
  bytes: file.bytes,
  created_at: seconds(file.created_at),
  ...(file.expires_at === null ? {} : { expires_at: seconds(file.expires_at) }),
  filename: file.filename,
  organization_id: file.tenant,
  purpose: file.purpose,
  status: file.status,
  ...(file.status_details === null ? {} : { status_details: file.status_details }),
});

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

const uploadRoute = apiRoute({
  method: "post",
  path: "/v1/files",
  summary: "Upload a JSON Lines file for training or validation",
  responses: {
    200: ok(fileSchema, "The file; its status says whether it passed validation."),
  },
});

const listRoute = apiRoute({
  method: "get",
  path: "/v1/files",
  summary: "List files",
  request: {
    query: z.object({
      ...pageQuery({ standard: 10_000, most: 10_000 }),
      purpose: z.string().max(100).optional(),
      order: z.enum(["asc", "desc"]).optional(),
    }),
  },
  responses: { 200: ok(pageSchema(fileSchema), "A page of files.") },
});

const getRoute = apiRoute({
  method: "get",
  path: "/v1/files/{id}",
  summary: "Retrieve a file",
  request: { params },
  responses: { 200: ok(fileSchema, "The file object.") },
});

const contentRoute = apiRoute({
  method: "get",
  path: "/v1/files/{id}/content",
  summary: "Download file content",
  request: { params },
  responses: { 200: { description: "The content of the file." } },
});

/** Problems that are listed of a file. */
const MAX_PROBLEMS = 50;

const problemsSchema = z
  .object({
    object: z.literal("list"),
    data: z.array(
      z.object({
        object: z.literal("file.problem"),
        line: z.int().nullable().describe("Null for the file as a whole."),
        message: z.string(),
      }),
    ),
    has_more: z.boolean(),
  })
  .openapi("FileProblemList");

const problemsRoute = apiRoute({
  method: "get",
  path: "/v1/files/{id}/problems",
  summary: `List the wrong lines of a file, at most ${MAX_PROBLEMS}`,
  request: { params },
  responses: {
    200: ok(problemsSchema, "The problems in the order of lines; none of a valid file."),
  },
});

const removeRoute = apiRoute({
  method: "delete",
  path: "/v1/files/{id}",
  summary: "Delete a file",
  request: { params },
  responses: {
    200: ok(deletedSchema("file"), "The file was deleted; jobs that use it continue."),
  },
});

const expirySeconds = wholeNumber(3600, 2_592_000);

/** Seconds until a file expires, as set in its form. */
function expiry(fields: ReadonlyMap<string, string>): number | undefined {
  const given = fields.get("expires_after[seconds]");
  if (given === undefined) return undefined;
  const seconds = expirySeconds.safeParse(given);
  if (!seconds.success)
    throw invalid("expires_after[seconds] must be a whole number from 3600 to 2592000", "expires_after");
  return seconds.data;
}

/** The tenant's files take too much. `param` is the field of the form. */
export const tooLarge =
  (param: string) =>
  (error: unknown): never => {
    if (!(error instanceof MosError) || error instanceof ApiError || error.code !== "busy") throw error;
    throw new ApiError(error.message, { status: 413, code: "storage_limit_exceeded", param, cause: error });
  };

function readFields(fields: ReadonlyMap<string, string>) {
  const purpose = fields.get("purpose") ?? "missing";
  if (!PURPOSES.some((known) => known === purpose))
    throw invalid(`purpose is ${JSON.stringify(purpose)}; send ${PURPOSES.join(" or ")}`, "purpose");
  return { purpose, expiresSeconds: expiry(fields) };
}

/** A form has few parts, and each but the file is short. */
const [MAX_PARTS, MAX_FIELD] = [16, 2000];
/** Maximum size of a form's fields. */
const FORM_BYTES = 65_536;

/**
 * Reads the form of `POST /v1/files` to its end: the bytes of the file go to the storage, where `arrival` makes room for them.
 * The file is kept only if the whole form is valid.
 *
 * @throws ApiError 400, 413 or 415; MosError `busy` where there is no room.
 */
async function readUpload(
  request: Request,
  {
    objects,
    maxFileBytes,
    arrival,
  }: Pick<ServiceEnv, "objects" | "maxFileBytes"> & { readonly arrival: Arrival },
) {
  const fields = new Map<string, string>();
  let filename = "";
  const files: StoredObject[] = [];
  let hasFile = false;
  async function* checked({ body, formEnd }: FormFile): AsyncGenerator<Uint8Array, void> {
    let bytes = 0;
    for await (const chunk of body) {
      bytes += chunk.length;
      await arrival.reserve(bytes);
      yield chunk;
    }
    await formEnd;
    readFields(fields);
  }
  await readMultipart(request, {
    // a little more than the file itself
    maxBytes: maxFileBytes + FORM_BYTES,
    maxParts: MAX_PARTS,
    fields: {
      maxBytes: MAX_FIELD,
      take(name, value) {
        if (fields.has(name)) throw invalidForm(`${name} occurs twice; send it once`);
        fields.set(name, value);
      },
    },
    async onFile(part) {
      if (part.field !== "file" || hasFile)
        throw invalidForm("the form must have exactly one file, named file");
      hasFile = true;
      filename = storable((part.filename ?? "").split(/[/\\]/).at(-1)?.slice(0, 255) ?? "");
      files.push(await objects.put(checked(part), arrival));
    },
    drains: true,
  });
  const [file] = files;
  if (file === undefined) throw invalidForm("the form has no file; send one named file");
  return { fields: readFields(fields), filename, file };
}

interface Upload {
  readonly request: Request;
  readonly key: ApiKey;
  /** Fires when the client has left. */
  readonly signal: AbortSignal;
}

async function addFile(service: ServiceEnv, { request, key, signal }: Upload) {
  const { name: tenant } = key;
  const { contents, objects, files } = service;
  const maxStorageBytes = toLimits(key).max_storage_bytes;
  const length = Number(request.headers.get("content-length") ?? 0);
  const arrival = contents.arrive(tenant, { maxStorageBytes, mostBytes: length > 0 ? length : undefined });
  try {
    // of a file that cannot fit, nothing is read
    await arrival.reserve(Math.max(1, length - FORM_BYTES));
    const { fields, filename, file } = await readUpload(request, { ...service, arrival });
    using place = await objects.locate(file.digest);
    const [wrong] = await check(service, place.path, { tenant, signal });
    return await files.add({
      tenant,
      filename,
      ...fields,
      ...file,
      maxStorageBytes,
      arrival: arrival.id,
      ...(wrong === undefined
        ? { status: "processed", status_details: null }
        : { status: "error", status_details: wrong.message }),
    });
  } finally {
    await arrival.end().catch(() => undefined); // of a database that is away: it is forgotten after a while
  }
}

/** The problems of a file on the disk. Throws the signal's reason where that ended the check. */
const check = async (
  { checkFile }: Pick<ServiceEnv, "checkFile">,
  ...[path, client]: Parameters<ServiceEnv["checkFile"]>
): ReturnType<ServiceEnv["checkFile"]> =>
  checkFile(path, client).catch((error: unknown) => {
    throw client.signal.aborted ? client.signal.reason : error;
  });

/** Reads a file again that did not pass validation: one of its problems is kept, and all of them are to be mended. */
async function listProblems(
  service: ServiceEnv,
  { id, key, signal }: { readonly id: string; readonly key: ApiKey; readonly signal: AbortSignal },
): Promise<z.output<typeof problemsSchema>> {
  const { status, digest } = await service.files.find(toOwner(key), id);
  if (status === "processed") return { object: "list", data: [], has_more: false };
  using place = await service.objects.locate(digest);
  const client = { tenant: key.name, signal, most: MAX_PROBLEMS + 1 };
  const problems = await check(service, place.path, client);
  const data = problems.slice(0, MAX_PROBLEMS).map(({ line, message }) => ({
    object: "file.problem" as const,
    line,
    // the formats that there are, which follow, are the same for every line
    message: (message.split("\n", 1)[0] ?? "").replace(/^line \d+(:\d+)?: /, ""),
  }));
  return { object: "list", data, has_more: problems.length > MAX_PROBLEMS };
}

/** Opens a content before the answer begins: it can be deleted while it is sent. */
async function openContent(path: string): Promise<Readable> {
  const handle = await open(path).catch((error: unknown) => {
    throw storageError(error, path);
  });
  return handle.createReadStream();
}

export const fileRoutes: AddRoutes = (app, service) => {
  const { contents, files, objects } = service;
  // the document has the form, which is not read by its schema but as it arrives
  app.openAPIRegistry.registerPath({
    ...uploadRoute,
    request: { body: { content: { "multipart/form-data": { schema: uploadForm } } } },
  });
  app.post(uploadRoute.path, async (context) => {
    const { key, running } = context.var;
    const upload = { request: context.req.raw, key, signal: running.signal };
    const row = await withHttpErrors(addFile(service, upload).catch(tooLarge("file")));
    return context.json(toFileObject(row), 200);
  });
  addRoute(app, listRoute, {
    answer: async (context) => {
      const { rows, hasMore } = await files.list(toOwner(context.var.key), context.req.valid("query"));
      return context.json(toListObject(rows.map(toFileObject), hasMore), 200);
    },
  });
  addRoute(app, getRoute, {
    answer: async (context) => {
      const row = await files.find(toOwner(context.var.key), context.req.valid("param").id);
      return context.json(toFileObject(row), 200);
    },
  });
  addRoute(app, contentRoute, {
    answer: async (context) => {
      const row = await files.find(toOwner(context.var.key), context.req.valid("param").id);
      using place = await objects.locate(row.digest);
      const bytes = Readable.toWeb(await openContent(place.path));
      return context.body(bytes as ReadableStream, 200, {
        "content-type": "application/octet-stream",
        "content-length": String(row.bytes),
        "content-disposition": `attachment; filename*=UTF-8''${encodeURIComponent(row.filename)}`,
      });
    },
  });
  addRoute(app, problemsRoute, {
    answer: async (context) => {
      const { id } = context.req.valid("param");
      const { signal } = context.req.raw;
      return context.json(await listProblems(service, { id, key: context.var.key, signal }), 200);
    },
  });
  addRoute(app, removeRoute, {
    answer: async (context) => {
      const { id } = context.req.valid("param");
      await files.remove(toOwner(context.var.key), id);
      // the server retries and reports what fails now
      await contents.collect(objects.remove).catch(() => undefined);
      return context.json({ id, object: "file" as const, deleted: true as const }, 200);
    },
  });
};
