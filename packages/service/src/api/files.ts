// /v1/files: what clients upload to train on, and what jobs leave.
import { open } from "node:fs/promises";
import { Readable } from "node:stream";
import { z } from "@hono/zod-openapi";
import { deleted, optional, pages, idParams as params, wholeNumber } from "mixture-of-shards/server";
import { storageError } from "mixture-of-shards-core/files";
import type { Owner } from "#database";
import { type FileRow, toLimits } from "#store";
import { addForm } from "./forms.ts";
import { type AddRoutes, addRoute, collect, pageOf, type ServiceEnv, toObject } from "./routes.ts";

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

const toFileObject = (file: FileRow) => toObject(fileSchema, file, { organization_id: file.tenant });

const uploadFields = z.object({
  purpose: z.enum(["fine-tune"]),
  "expires_after[anchor]": z.literal("created_at").optional(),
  "expires_after[seconds]": optional(
    wholeNumber(3600, 2_592_000),
    "Seconds after which the file is deleted, from 3600 to 2592000.",
  ),
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
  { id, owner, signal }: { readonly id: string; readonly owner: Owner; readonly signal: AbortSignal },
): Promise<z.output<typeof problemsSchema>> {
  const { status, digest } = await service.files.find(owner, id);
  if (status === "processed") return { object: "list", data: [], has_more: false };
  using place = await service.objects.locate(digest);
  const client = { tenant: owner.tenant, signal, most: MAX_PROBLEMS + 1 };
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
  const { files, objects } = service;
  addForm(app, service, {
    path: "/v1/files",
    summary: "Upload a JSON Lines file for training or validation",
    name: "UploadForm",
    files: { file: "JSON Lines." },
    fields: uploadFields,
    ok: [fileSchema, "The file; its status says whether it passed validation."],
    answer: async ({ files: { file }, fields, arrival }, { key: { name: tenant, limits }, running }) => {
      using place = await objects.locate(file.digest);
      const [wrong] = await check(service, place.path, { tenant, signal: running.signal });
      const row = await files.add({
        ...{ tenant, arrival, purpose: fields.purpose, ...file },
        expiresSeconds: fields["expires_after[seconds]"],
        maxStorageBytes: toLimits({ limits }).max_storage_bytes,
        status: wrong === undefined ? "processed" : "error",
        status_details: wrong?.message ?? null,
      });
      return toFileObject(row);
    },
  });
  storedRoutes(app, service);
};

/** Files that are there. */
const storedRoutes: AddRoutes = (app, service) => {
  const { files, objects } = service;
  addRoute(app, {
    method: "get",
    path: "/v1/files",
    summary: "List files",
    query: z.object({
      ...pages.query({ standard: 10_000, most: 10_000 }),
      purpose: z.string().max(100).optional(),
      order: z.enum(["asc", "desc"]).optional(),
    }),
    ok: [pages.schema(fileSchema), "A page of files."],
    answer: async ({ query, owner }) => pageOf(await files.list(owner, query), toFileObject),
  });
  addRoute(app, {
    method: "get",
    path: "/v1/files/{id}",
    summary: "Retrieve a file",
    params,
    ok: [fileSchema, "The file object."],
    answer: async ({ params: { id }, owner }) => toFileObject(await files.find(owner, id)),
  });
  addRoute(app, {
    method: "get",
    path: "/v1/files/{id}/content",
    summary: "Download file content",
    params,
    ok: [z.string().openapi({ format: "binary" }), "The content of the file."],
    type: "application/octet-stream",
    answer: async ({ params: { id }, owner, context }) => {
      const row = await files.find(owner, id);
      using place = await objects.locate(row.digest);
      const bytes = Readable.toWeb(await openContent(place.path));
      return context.body(bytes as ReadableStream, 200, {
        "content-type": "application/octet-stream",
        "content-length": String(row.bytes),
        "content-disposition": `attachment; filename*=UTF-8''${encodeURIComponent(row.filename)}`,
      });
    },
  });
  addRoute(app, {
    method: "get",
    path: "/v1/files/{id}/problems",
    summary: `List the wrong lines of a file, at most ${MAX_PROBLEMS}`,
    params,
    ok: [problemsSchema, "The problems in the order of lines; none of a valid file."],
    answer: ({ params: { id }, owner, context }) =>
      listProblems(service, { id, owner, signal: context.req.raw.signal }),
  });
  addRoute(app, {
    method: "delete",
    path: "/v1/files/{id}",
    summary: "Delete a file",
    params,
    ok: [deleted.schema("file"), "The file was deleted; jobs that use it continue."],
    answer: async ({ params: { id }, owner }) => {
      await files.remove(owner, id);
      await collect(service);
      return deleted.json("file", id);
    },
  });
};
