// /v1/aliases: names that stand for models, and for another one from one request to the next.
import { z } from "@hono/zod-openapi";
import { ApiError, deleted, findAdapter, optional, pages } from "mixture-of-shards/server";
import { type AliasRow, isAliasName } from "#store";
import {
  type AddRoutes,
  addRoute,
  type Context,
  invalid,
  pageOf,
  tenantOf,
  tenantQuery,
  toObject,
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

const toAliasObject = (alias: AliasRow) => toObject(aliasSchema, alias, { organization_id: alias.tenant });

const path = "/v1/aliases";
const params = z.object({
  name: z
    .string()
    .refine(isAliasName, "a letter or digit, followed by letters, digits and . _ -, at most 128 characters"),
});
const expected_version = optional(
  z.int().min(0),
  "Fail with 409 unless the alias is at this version; 0 requires that it does not exist.",
);
const setRequest = z
  .strictObject({ model: z.string().min(1).max(256), expected_version })
  .openapi("SetAliasRequest");

const changeSchema = z
  .object({ object: z.literal("alias.change"), version: z.int(), model: z.string(), changed_at: z.int() })
  .openapi("AliasChange");

type Variables = Pick<Context["var"], "server" | "key">;

const isModel = async ({ server, key }: Variables, name: string): Promise<boolean> =>
  name === server.modelName || (await findAdapter(server, { name, key })) !== undefined;

/** Checks an alias and its model. @throws ApiError 400 for the name of a model, 404 for a model that the key may not use. */
async function checkNames(
  variables: Variables,
  { id, model }: { readonly id: string; readonly model: string },
) {
  if (await isModel(variables, id))
    throw invalid(`${id} is already the name of a model; choose another one`, "name");
  if (await isModel(variables, model)) return;
  throw new ApiError(
    `the model ${JSON.stringify(model)} does not exist or you do not have access to it; an alias cannot point to another alias`,
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
  const one = { path: `${path}/{name}`, params, query: tenantQuery, param: "name" };
  addRoute(app, {
    ...one,
    method: "put",
    summary: "Create an alias or point it to another model",
    description: "Requests that start after the response use the new model, on every server.",
    body: setRequest,
    ok: [aliasSchema, "The updated alias."],
    param: "model",
    answer: async ({ params: { name: id }, query, body, server, key }) => {
      const { model, expected_version: expected } = body;
      const alias = { tenant: tenantOf(key, query), id };
      await checkNames({ server, key }, { id, model });
      const row = await aliases.set(alias, { model, expected });
      if (row === undefined) throw conflict(expected ?? 0);
      return toAliasObject(row);
    },
  });
  addRoute(app, {
    method: "get",
    path,
    summary: "List aliases",
    query: tenantQuery.extend(pages.query({ standard: 20, most: 100 })),
    ok: [pages.schema(aliasSchema), "A page of aliases, newest first."],
    answer: async ({ query, key }) => pageOf(await aliases.list(tenantOf(key, query), query), toAliasObject),
  });
  addRoute(app, {
    ...one,
    method: "get",
    summary: "Retrieve an alias",
    ok: [aliasSchema, "The alias."],
    answer: async ({ params: { name: id }, query, key }) =>
      toAliasObject(await aliases.find({ tenant: tenantOf(key, query), id })),
  });
  addRoute(app, {
    ...one,
    method: "get",
    path: `${path}/{name}/history`,
    summary: "List the models that an alias has stood for",
    ok: [
      z.object({ object: z.literal("list"), data: z.array(changeSchema) }),
      "The last 100 changes, newest first. To roll back, point the alias to an earlier model.",
    ],
    answer: async ({ params: { name: id }, query, key }) => {
      const changes = await aliases.history({ tenant: tenantOf(key, query), id });
      return { object: "list" as const, data: changes.map((change) => toObject(changeSchema, change, {})) };
    },
  });
  addRoute(app, {
    ...one,
    method: "delete",
    summary: "Delete an alias",
    ok: [deleted.schema("alias"), "The alias was deleted; its models are kept."],
    answer: async ({ params: { name: id }, query, key }) => {
      await aliases.remove({ tenant: tenantOf(key, query), id });
      return deleted.json("alias", id);
    },
  });
};
