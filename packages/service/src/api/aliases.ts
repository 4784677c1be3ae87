// /v1/aliases: names that stand for models, and for another one from one request to the next.
import { z } from "@hono/zod-openapi";
import { ApiError, type ApiKey, apiRoute, deletedSchema, findAdapter, ok } from "mixture-of-shards/server";
import { type AliasId, type AliasRow, isAliasName } from "#store";
import {
  type AddRoutes,
  addRoute,
  invalid,
  pageQuery,
  pageSchema,
  seconds,
  storedBody,
  toListObject,
} from "./routes.ts";

/** An alias. */
const aliasSchema = z
  .object({
    id: z.string(),
    object: z.literal("alias"),
    organization_id: z.string(),
    model: z.string(),
    version: z.int(),
    created_at: z.int(),
    changed_at: z.int(),
  })
  .openapi("Alias");

const toAliasObject = (alias: AliasRow): z.output<typeof aliasSchema> => ({
  id: alias.id,
  object: "alias",
  organization_id: alias.tenant,
  model: alias.model,
  version: alias.version,
  created_at: seconds(alias.created_at),
  changed_at: seconds(alias.changed_at),
});

const path = "/v1/aliases";
const params = z.object({
  name: z
    .string()
    .refine(isAliasName, "a letter or digit, followed by letters, digits and . _ -, at most 128 characters"),
});
const tenant = z
  .string()
  .regex(/^[\w.@-]{1,64}$/)
  .optional()
  .describe("Administrators only: name of the tenant that owns the alias.");
const query = z.object({ tenant });
const expected_version = z
  .int()
  .min(0)
  .optional()
  .describe("Fail with 409 unless the alias is at this version; 0 requires that it does not exist.");
const answers = { 200: ok(aliasSchema, "The updated alias.") };

const setRequest = z
  .strictObject({ model: z.string().min(1).max(256), expected_version })
  .openapi("SetAliasRequest");

const setRoute = apiRoute({
  method: "put",
  path: `${path}/{name}`,
  summary: "Create an alias or point it to another model",
  description: "Requests that start after the response use the new model, on every server.",
  middleware: storedBody,
  request: { params, query, body: { content: { "application/json": { schema: setRequest } } } },
  responses: answers,
});

const listRoute = apiRoute({
  method: "get",
  path,
  summary: "List aliases",
  request: { query: z.object({ ...pageQuery({ standard: 20, most: 100 }), tenant }) },
  responses: { 200: ok(pageSchema(aliasSchema), "A page of aliases, newest first.") },
});

const getRoute = apiRoute({
  method: "get",
  path: `${path}/{name}`,
  summary: "Retrieve an alias",
  request: { params, query },
  responses: answers,
});

const changeSchema = z
  .object({ object: z.literal("alias.change"), version: z.int(), model: z.string(), changed_at: z.int() })
  .openapi("AliasChange");

const historyRoute = apiRoute({
  method: "get",
  path: `${path}/{name}/history`,
  summary: "List the models that an alias has stood for",
  request: { params, query },
  responses: {
    200: ok(
      z.object({ object: z.literal("list"), data: z.array(changeSchema) }),
      "The last 100 changes, newest first. To roll back, point the alias to an earlier model.",
    ),
  },
});

const removeRoute = apiRoute({
  method: "delete",
  path: `${path}/{name}`,
  summary: "Delete an alias",
  request: { params, query },
  responses: {
    200: ok(deletedSchema("alias"), "The alias was deleted; its models are kept."),
  },
});

interface Variables {
  readonly server: Parameters<typeof findAdapter>[0] & { readonly modelName: string };
  readonly key: ApiKey;
}

/** The tenant whose aliases a request is about. @throws ApiError 403 for another one's without an administrator's key. */
function chooseTenant({ key }: Variables, given: string | undefined): string {
  if (given === undefined || given === key.name || key.isAdmin) return given ?? key.name;
  throw new ApiError("only administrators may name another tenant", {
    status: 403,
    code: "admin_key_required",
    param: "tenant",
  });
}

const toAliasId = (
  variables: Variables,
  { name, tenant: given }: { readonly name: string; readonly tenant?: string | undefined },
): AliasId => ({ tenant: chooseTenant(variables, given), id: name });

/** @throws ApiError 400 for the name of a model, which an alias would not change. */
async function checkName({ server, key }: Variables, name: string): Promise<void> {
  if (name === server.modelName || (await findAdapter(server, { name, key })) !== undefined)
    throw invalid(`${name} is already the name of a model; choose another one`, "name");
}

/** @throws ApiError 404 for a model that the key may not use, or that is not there. */
async function checkModel({ server, key }: Variables, name: string): Promise<void> {
  if (name === server.modelName || (await findAdapter(server, { name, key })) !== undefined) return;
  throw new ApiError(
    `the model ${JSON.stringify(name)} does not exist or you do not have access to it; an alias cannot point to another alias`,
    { status: 404, code: "model_not_found", param: "model" },
  );
}

const conflict = (expected: number): ApiError =>
  new ApiError(`the alias is no longer at version ${expected}`, {
    status: 409,
    code: "conflict",
    param: "expected_version",
    headers: { "x-should-retry": "false" }, // it would be answered the same
  });

export const aliasRoutes: AddRoutes = (app, { aliases }) => {
  addRoute(app, setRoute, {
    param: "model",
    body: setRequest,
    answer: async (context) => {
      const alias = toAliasId(context.var, { ...context.req.valid("param"), ...context.req.valid("query") });
      const { model, expected_version: expected } = context.req.valid("json");
      await checkName(context.var, alias.id);
      await checkModel(context.var, model);
      const row = await aliases.set(alias, { model, expected });
      if (row === undefined) throw conflict(expected ?? 0);
      return context.json(toAliasObject(row), 200);
    },
  });
  addRoute(app, listRoute, {
    answer: async (context) => {
      const { tenant: given, ...page } = context.req.valid("query");
      const { rows, hasMore } = await aliases.list(chooseTenant(context.var, given), page);
      return context.json(toListObject(rows.map(toAliasObject), hasMore), 200);
    },
  });
  addRoute(app, getRoute, {
    param: "name",
    answer: async (context) => {
      const alias = toAliasId(context.var, { ...context.req.valid("param"), ...context.req.valid("query") });
      return context.json(toAliasObject(await aliases.find(alias)), 200);
    },
  });
  addRoute(app, historyRoute, {
    param: "name",
    answer: async (context) => {
      const alias = toAliasId(context.var, { ...context.req.valid("param"), ...context.req.valid("query") });
      const data = (await aliases.history(alias)).map(({ changed_at, ...change }) => ({
        object: "alias.change" as const,
        ...change,
        changed_at: seconds(changed_at),
      }));
      return context.json({ object: "list" as const, data }, 200);
    },
  });
  addRoute(app, removeRoute, {
    param: "name",
    answer: async (context) => {
      const alias = toAliasId(context.var, { ...context.req.valid("param"), ...context.req.valid("query") });
      await aliases.remove(alias);
      return context.json({ id: alias.id, object: "alias" as const, deleted: true as const }, 200);
    },
  });
};
