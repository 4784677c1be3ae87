// /v1/adapters: what there is, and for administrators adding, replacing and removing.

import type { Context } from "hono";
import type { AdapterInfo } from "#inference";
import { checkAdapterName } from "./adapter-name.ts";
import { asRunning } from "./answering.ts";
import type { ServerContext, ServerEnv } from "./context.ts";
import type { ApiKey } from "./key-ring.ts";
import { readUpload } from "./read-upload.ts";
import { Refusal } from "./refusal.ts";

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

export function addAdapter(server: ServerContext, context: Context<ServerEnv>): Promise<Response> {
  const key = context.get("key");
  checkAdmin(server, key);
  return asRunning(server, context, async () => {
    const { name, files } = await readUpload(context.req.raw, server.limits);
    checkAdapterName(name);
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
