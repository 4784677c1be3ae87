// /v1/adapters: what there is, and for administrators adding, replacing and removing.

import { z } from "@hono/zod-openapi";
import type { Context } from "hono";
import type { AdapterInfo } from "#serving";
import type { AdapterFiles } from "./adapter-store.ts";
import { asRunning } from "./answering.ts";
import { readBody, readJsonBody } from "./body.ts";
import type { ServerContext, ServerEnv } from "./context.ts";
import type { ApiKey } from "./key-ring.ts";
import { parseRequest } from "./parse-request.ts";
import { Refusal } from "./refusal.ts";

/** The body of POST /v1/adapters as JSON. As multipart/form-data the two files are fields of the same names. */
export const uploadRequest = z
  .strictObject({
    name: z.string().describe("The model name by which it is called."),
    adapter_config: z.record(z.string(), z.unknown()).describe("adapter_config.json"),
    adapter_model: z.base64().describe("adapter_model.safetensors, in base64"),
  })
  .openapi("AdapterUpload");

const adapterJson = ({ name, digest, method, rank, residentBytes, changedAt }: AdapterInfo) => ({
  id: name,
  object: "adapter",
  created: Math.floor(changedAt),
  digest,
  method,
  rank,
  resident_bytes: residentBytes,
});

export function listAdapters({ engine }: ServerContext, key: ApiKey): object {
  const shown = engine.adapters().filter(({ name }) => key.mayUse(name));
  return { object: "list", data: shown.map(adapterJson) };
}

/** @throws Refusal 403 for anybody but an administrator. */
function checkAdmin({ keys }: ServerContext, key: ApiKey): void {
  if (key.isAdmin) return;
  const way =
    keys === undefined
      ? "start the server with --api-keys and a key with admin: true"
      : "use a key with admin: true";
  throw new Refusal(`this key may not change adapters; ${way}`, {
    status: 403,
    reason: "admin_key_required",
  });
}

/** An administrator's key may be limited to some names, too. */
function checkName(key: ApiKey, name: string): void {
  if (!key.mayUse(name))
    throw new Refusal(`this key may not change the adapter ${JSON.stringify(name)}`, {
      status: 403,
      reason: "adapter_not_allowed",
      field: "name",
    });
}

interface Upload {
  readonly name: string;
  readonly files: AdapterFiles;
}

const missing = (field: string, what: string): Refusal =>
  new Refusal(`${field} is missing; send ${what}`, { status: 400, reason: "invalid_value", field });

/** Parts of a form: three count, and a parser would work through millions. */
const MOST_PARTS = 8;

/** Counts the lines between the parts of a form before it is parsed; the last one stands behind them all. */
function checkParts(bytes: Uint8Array<ArrayBuffer>, type: string): void {
  const [, quoted, plain] = /;\s*boundary=(?:"([^"]+)"|([^;\s]+))/i.exec(type) ?? [];
  const boundary = quoted ?? plain;
  if (boundary === undefined) return; // the parser refuses it
  const body = Buffer.from(bytes.buffer);
  const line = `--${boundary}`;
  let count = 0;
  for (let at = body.indexOf(line); at >= 0; at = body.indexOf(line, at + line.length))
    if (++count > MOST_PARTS + 1)
      throw new Refusal(`the form has more than ${MOST_PARTS} parts; send name and the two files`, {
        status: 400,
        reason: "invalid_multipart",
      });
}

async function readMultipart(request: Request, limit: number): Promise<Upload> {
  const type = request.headers.get("content-type") ?? "";
  const bytes = await readBody(request, limit);
  checkParts(bytes, type);
  const form = await new Response(bytes, { headers: { "content-type": type } }).formData().catch((cause) => {
    throw new Refusal("the request's body is no valid multipart/form-data", {
      status: 400,
      reason: "invalid_multipart",
      cause,
    });
  });
  const file = async (field: string, what: string): Promise<Uint8Array> => {
    const value = form.get(field);
    if (value === null) throw missing(field, what);
    return typeof value === "string"
      ? new TextEncoder().encode(value)
      : new Uint8Array(await value.arrayBuffer());
  };
  const name = form.get("name");
  if (typeof name !== "string") throw missing("name", "the adapter's name");
  return {
    name,
    files: {
      config: await file("adapter_config", "adapter_config.json"),
      tensors: await file("adapter_model", "adapter_model.safetensors"),
    },
  };
}

async function readUpload(request: Request, limit: number): Promise<Upload> {
  if (request.headers.get("content-type")?.startsWith("multipart/form-data") === true)
    return readMultipart(request, limit);
  const { name, adapter_config, adapter_model } = parseRequest(
    uploadRequest,
    await readJsonBody(request, limit),
  );
  return {
    name,
    files: {
      config: new TextEncoder().encode(`${JSON.stringify(adapter_config, null, 2)}\n`),
      tensors: Buffer.from(adapter_model, "base64"),
    },
  };
}

export function addAdapter(server: ServerContext, context: Context<ServerEnv>): Promise<Response> {
  const key = context.get("key");
  checkAdmin(server, key);
  return asRunning(server, context, async () => {
    const { name, files } = await readUpload(context.req.raw, server.limits.uploadBytes);
    checkName(key, name);
    return context.json(adapterJson(await server.store.put(name, files)), 201);
  });
}

export function removeAdapter(server: ServerContext, context: Context<ServerEnv>): Promise<Response> {
  const key = context.get("key");
  checkAdmin(server, key);
  return asRunning(server, context, async () => {
    const name = context.req.param("name") ?? "";
    checkName(key, name);
    await server.store.remove(name);
    return context.json({ id: name, object: "adapter", deleted: true });
  });
}
