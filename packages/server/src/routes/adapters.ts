// /v1/adapters: the adapters there are, and for administrators adding, replacing and removing them.

import { z } from "@hono/zod-openapi";
import type { MiddlewareHandler } from "hono";
import { decodeText } from "mixture-of-shards-core/common";
import type { AdapterInfo } from "mixture-of-shards-core/inference";
import { baseName, checkAdapterName, checkTensorsBegin } from "../adapter-store.ts";
import type { ApiKey } from "../auth.ts";
import type { RequestContext, ServerEnv } from "../context.ts";
import { ApiError, forbidden, needsAdmin } from "../errors.ts";
import type { ServerLimits } from "../limits.ts";
import { readMultipart } from "../multipart.ts";
import { checkedBy, jsonBody, mediaType, optional } from "../request.ts";
import { type AddRoute, apiRoute, deleted, ok, route } from "../route.ts";

const adapterSchema = z
  .object({
    id: z.string(),
    object: z.literal("adapter"),
    created: z.int(),
    digest: z.string(),
    method: z.string(),
    rank: z.int(),
    equivalent_rank: z
      .int()
      .nullable()
      .describe(
        "Rank of the LoRA that has as many trained parameters, of methods that share them between layers.",
      ),
    private_rank: z.int().nullable().describe("Ranks of each layer that it does not share, of MoS."),
    targets: z.array(z.string()),
    size_bytes: z.int().describe("Both files on disk."),
    resident_bytes: z.int().describe("Memory that it takes while it is loaded."),
    is_resident: z.boolean().describe("It is loaded now."),
    active_bytes: z.int().describe("Memory of its factors in slots of running requests."),
    last_used_at: z.int().nullable().describe("Last request to this server, since its start."),
    aliases: z.array(z.string()).describe("Aliases of the key's tenant that stand for it now."),
    trained_on: z
      .object({ model: z.string().nullable(), fingerprint: z.string() })
      .nullable()
      .describe(
        "File of the base that the adapter was trained on, if it is another quantisation of the served model.",
      ),
  })
  .openapi("Adapter");

const adapterList = z
  .object({
    object: z.literal("list"),
    data: z.array(adapterSchema),
    unavailable: optional(
      z.array(z.object({ id: z.string(), reason: z.string() })),
      "Administrators only: folders that cannot be used, with the reasons.",
    ),
  })
  .openapi("AdapterList");

const name = z.string().describe("Name of the adapter, used as model in requests.");

const uploadJson = z
  .strictObject({
    name,
    adapter_config: z.record(z.string(), z.unknown()).describe("adapter_config.json"),
    adapter_model: z
      .string()
      .regex(/^[A-Za-z0-9+/]*={0,2}$/, "base64 without line breaks")
      .refine((text) => text.length % 4 === 0, "base64 without line breaks")
      .openapi({ format: "byte" })
      .describe("adapter_model.safetensors in base64"),
  })
  .openapi("AdapterUpload");

const uploadForm = z
  .strictObject({
    name,
    adapter_config: z.string().openapi({ format: "binary" }).describe("adapter_config.json"),
    adapter_model: z
      .instanceof(Blob)
      .openapi({ type: "string", format: "binary" })
      .describe("adapter_model.safetensors"),
  })
  .openapi("AdapterForm");

/** Before the body is read: an upload is large. */
const adminOnly: MiddlewareHandler<ServerEnv> = async (context, next) => {
  const { server, key } = context.var;
  if (!key.isAdmin) {
    const way =
      server.keys === undefined ? "start the server with --api-keys and an admin key" : "use an admin key";
    throw needsAdmin(`this key may not change adapters; ${way}`);
  }
  await next();
};

/** Reads a form or JSON before the schema of either checks it. */
const uploadBody: MiddlewareHandler<ServerEnv> = async (context, next) => {
  const { req } = context;
  if (mediaType(req.raw) !== "multipart/form-data")
    return jsonBody(context, next).catch((error: unknown) => {
      // JSON is read as a whole, so it is for small adapters
      if (!(error instanceof ApiError) || error.details.code !== "request_too_large") throw error;
      throw new ApiError(`${error.message}, or send the adapter as multipart/form-data`, error.details);
    });
  req.bodyCache.formData = await readForm(req.raw, context.var.server.limits);
  await next();
};

/** What is known of adapters beside their files, now. Without an engine that answers none is loaded. */
async function readState({ server, key }: RequestContext["var"]) {
  const stats = server.engineWatch.problem === undefined ? await server.engine.stats() : undefined;
  const { aliases } = (await server.extension?.models?.describe(key)) ?? { aliases: [] };
  const { residentDigests, slotBytes = 0 } = stats?.adapters ?? {};
  const { runningAdapters: running = {} } = stats ?? {};
  return { resident: new Set(residentDigests), slotBytes, running, lastUse: server.lastUse, aliases };
}

const adapterJson = (
  info: AdapterInfo,
  state: Awaited<ReturnType<typeof readState>>,
): z.output<typeof adapterSchema> => ({
  id: info.name,
  object: "adapter",
  created: Math.floor(info.changedAt),
  digest: info.digest,
  method: info.method,
  rank: info.rank,
  equivalent_rank: info.equivalentRank ?? null,
  private_rank: info.privateRank ?? null,
  targets: [...info.targets],
  size_bytes: info.sizeBytes,
  resident_bytes: info.residentBytes,
  is_resident: state.resident.has(info.digest),
  active_bytes: (state.running[info.name] ?? 0) * state.slotBytes,
  last_used_at: state.lastUse.get(info.name) ?? null,
  aliases: state.aliases.filter(({ model }) => model === info.name).map(({ id }) => id),
  trained_on:
    info.trainedOn === undefined || info.trainedOn.sameNumbers === true
      ? null
      : {
          model: info.trainedOn.name === undefined ? null : baseName(info.trainedOn.name),
          fingerprint: info.trainedOn.fingerprint,
        },
});

/** An administrator's key, too, may be limited to some names. */
function checkMayChange(key: ApiKey, adapter: string): void {
  if (!key.mayUse(adapter))
    throw forbidden(
      `this key may not change the adapter ${JSON.stringify(adapter)}`,
      "adapter_not_allowed",
      "name",
    );
}

export const adapterRoutes: readonly AddRoute[] = [
  route({
    method: "get",
    path: "/v1/adapters",
    summary: "List the adapters that the key may use",
    ok: [adapterList, "The adapters with their sizes."],
    answer: async ({ server: { engine }, key, context }) => {
      const state = await readState(context.var);
      const shown = engine.adapters().filter(({ name }) => key.mayUse(name));
      const refused = engine.refusedAdapters().filter(({ name }) => key.mayUse(name));
      return {
        object: "list" as const,
        data: shown.map((info) => adapterJson(info, state)),
        ...(key.isAdmin ? { unavailable: refused.map(({ name, reason }) => ({ id: name, reason })) } : {}),
      };
    },
  }),
  (app) =>
    app.openapi(
      apiRoute({
        method: "post",
        path: "/v1/adapters",
        summary: "Upload or replace an adapter (administrators)",
        middleware: [adminOnly, uploadBody] as const,
        request: {
          body: {
            content: {
              "multipart/form-data": { schema: uploadForm },
              "application/json": { schema: uploadJson },
            },
          },
        },
        responses: { 201: ok(adapterSchema, "The adapter.") },
      }),
      async (context) => {
        const { server, key } = context.var;
        const upload = context.req.valid(mediaType(context.req.raw) === "application/json" ? "json" : "form");
        checkAdapterName(upload.name);
        checkMayChange(key, upload.name);
        const { adapter_config: config, adapter_model: tensors } = upload;
        const added = await server.store.put(upload.name, {
          config: typeof config === "string" ? config : `${JSON.stringify(config, null, 2)}\n`,
          tensors: typeof tensors === "string" ? new Blob([Buffer.from(tensors, "base64")]) : tensors,
        });
        return context.json(adapterJson(added, await readState(context.var)), 201);
      },
      checkedBy(uploadJson),
    ),
  route({
    method: "delete",
    path: "/v1/adapters/{name{.+}}",
    summary: "Delete an adapter (administrators)",
    middleware: adminOnly,
    params: z.object({ name: z.string() }),
    ok: [deleted.schema("adapter"), "The adapter was deleted. Running requests finish with it."],
    answer: async ({ params: { name: adapter }, server, key }) => {
      checkMayChange(key, adapter);
      await server.store.remove(adapter);
      return deleted.json("adapter", adapter);
    },
  }),
];

/** Parts that a form may have. Three count, and a parser would work through millions. */
const MAX_PARTS = 8;

/**
 * The fields of a form. All but the tensors are texts of at most `bodyBytes` together.
 *
 * @throws ApiError 400, 413 or 415.
 */
async function readForm(request: Request, { uploadBytes, bodyBytes }: ServerLimits): Promise<FormData> {
  const form = new FormData();
  const problem = `without adapter_model, the form exceeds the limit of ${bodyBytes} bytes`;
  let textBytes = 0;
  await readMultipart(request, {
    maxBytes: uploadBytes,
    maxParts: MAX_PARTS,
    async onFile({ field, body }) {
      const isText = field !== "adapter_model";
      const chunks: Blob[] = []; // their bytes are outside of the JavaScript heap
      for await (const chunk of body) {
        if (isText) textBytes += chunk.length;
        if (textBytes > bodyBytes) throw new ApiError(problem, { status: 413, code: "request_too_large" });
        if (!isText && chunks.length === 0) checkTensorsBegin(chunk);
        chunks.push(new Blob([chunk]));
      }
      const whole = new Blob(chunks);
      if (!isText) return form.append(field, whole);
      const bytes = new Uint8Array(await whole.arrayBuffer());
      form.append(field, decodeText(bytes, { code: "bad_option", where: field }));
    },
  });
  return form;
}
