// The adapter that answers a request, by the name of a model.
import type { AdapterInfo } from "#inference";
import type { ApiKey } from "./auth.ts";
import type { RequestContext, ServerContext } from "./context.ts";
import { ApiError } from "./errors.ts";

/** An adapter that a key may use, by name. */
export async function findAdapter(
  { engine, extension }: Pick<ServerContext, "engine" | "extension">,
  { name, key }: { readonly name: string; readonly key: ApiKey },
): Promise<AdapterInfo | undefined> {
  // the key first, so that the time reveals nothing about other tenants' names
  if (!key.mayUse(name)) return undefined;
  const find = (): AdapterInfo | undefined => engine.adapters().find((adapter) => adapter.name === name);
  const found = find();
  if (found !== undefined || !(await extension?.fetch(name))) return found;
  await engine.refreshAdapters();
  return find();
}

/**
 * The adapter that the model of a request means; null is the base. The record has the name by which the model is served.
 *
 * @throws ApiError 404 rather than answering with the base.
 */
export async function resolveAdapter(context: RequestContext, model: string): Promise<string | null> {
  const { server, key, record } = context.var;
  const isServed = async (name: string): Promise<boolean> =>
    name === server.modelName || (await findAdapter(server, { name, key })) !== undefined;
  const isName = await isServed(model);
  const name = isName ? model : await server.extension?.resolve(model, key);
  if (name === undefined || !(isName || (await isServed(name))))
    throw new ApiError(
      name === undefined
        ? `the model ${JSON.stringify(model)} does not exist or you do not have access to it; GET /v1/models lists the models`
        : `the alias ${JSON.stringify(model)} points to ${JSON.stringify(name)}, which no longer exists; switch it to another model`,
      { status: 404, code: "model_not_found", param: "model" },
    );
  record.model = name;
  return name === server.modelName ? null : name;
}
