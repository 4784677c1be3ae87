// GET /v1/models: the base and the adapters that a key may use.
import type { AdapterInfo } from "#inference";
import { findAdapter, type ServerContext } from "./context.ts";
import type { ApiKey } from "./key-ring.ts";
import { Refusal } from "./refusal.ts";

const baseModel = ({ modelName, createdAt }: ServerContext) => ({
  id: modelName,
  object: "model",
  created: createdAt,
  owned_by: "mos",
  root: modelName,
  parent: null,
});

const adapterModel = ({ modelName }: ServerContext, { name, changedAt }: AdapterInfo) => ({
  id: name,
  object: "model",
  created: Math.floor(changedAt),
  owned_by: "mos",
  root: modelName,
  parent: modelName,
});

export function listModels(server: ServerContext, key: ApiKey): object {
  const adapters = server.engine
    .adapters()
    .filter(({ name }) => key.mayUse(name) && name !== server.modelName)
    .map((adapter) => adapterModel(server, adapter));
  return { object: "list", data: [baseModel(server), ...adapters] };
}

/** @throws Refusal 404, also for another tenant's adapter. */
export function describeModel(
  server: ServerContext,
  { name, key }: { readonly name: string; readonly key: ApiKey },
): object {
  if (name === server.modelName) return baseModel(server);
  const found = findAdapter(server.engine, { name, key });
  if (found !== undefined) return adapterModel(server, found);
  throw new Refusal(`the model ${JSON.stringify(name)} does not exist or you do not have access to it`, {
    status: 404,
    reason: "model_not_found",
    field: "model",
  });
}
