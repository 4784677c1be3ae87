// /v1/keys: administrators make and revoke the keys of the server's key file.
import { z } from "@hono/zod-openapi";
import type { MiddlewareHandler } from "hono";
import { MosError, omitUndefined, parseWith, settingInfo, snakeCase } from "mixture-of-shards-core/common";
import { type ApiKey, type KeyFile, type KeyLimits, type KeyLine, limitsSchema } from "../auth.ts";
import type { RequestContext, ServerEnv } from "../context.ts";
import { ApiError, invalidValue, needsAdmin, notFound } from "../errors.ts";
import {
  addKey,
  isExpired,
  keyExpiry,
  keyName,
  keyStart,
  makeKey,
  parseExpiry,
  readKeyFile,
  revokeKeys,
  shortHash,
} from "../key-file.ts";
import { jsonBody, optional } from "../request.ts";
import { deleted, route } from "../route.ts";

const limitValues = z
  .record(z.string(), z.record(z.string(), z.unknown()))
  .describe("Limits that add-ons enforce, by their names.");

const numbers = {
  requests_per_minute: z.number(),
  max_concurrent: z.int(),
  tokens_per_day: z.int(),
  tokens_per_month: z.int(),
};

const keySchema = z
  .object({
    id: z.string().describe("The start of the key's hash."),
    object: z.literal("key"),
    name: z.string().describe("The tenant that owns the key."),
    status: z.enum(["active", "expired", "revoked"]),
    admin: z.boolean(),
    adapters: z.array(z.string()).nullable().describe("Patterns of the adapters that it may use; null: all."),
    requests_per_minute: numbers.requests_per_minute.nullable(),
    max_concurrent: numbers.max_concurrent.nullable(),
    tokens_per_day: numbers.tokens_per_day.nullable(),
    tokens_per_month: numbers.tokens_per_month.nullable(),
    expires_at: z.string().nullable().describe("Date and time in UTC."),
    limits: limitValues,
    is_own: z.boolean().describe("True for the key of this request."),
  })
  .openapi("Key");

const listSchema = z
  .object({
    object: z.literal("list"),
    data: z.array(keySchema),
    limit_fields: z
      .array(
        z.object({
          group: z.string(),
          name: z.string(),
          help: z.string(),
          expected: z.string().describe("The values that it may have, in words."),
        }),
      )
      .describe("The limits of add-ons that a new key may have."),
  })
  .openapi("KeyList");

const newKey = z
  .strictObject({
    name: keyName,
    admin: z.boolean().optional(),
    adapters: optional(z.array(z.string().min(1).max(200)).max(1000), "Default: all."),
    requests_per_minute: numbers.requests_per_minute.min(1).optional(),
    max_concurrent: numbers.max_concurrent.min(1).optional(),
    tokens_per_day: numbers.tokens_per_day.min(1).optional(),
    tokens_per_month: numbers.tokens_per_month.min(1).optional(),
    expires: optional(keyExpiry, `${keyExpiry.description}. Default: never.`),
    limits: limitValues.optional(),
  })
  .openapi("KeyRequest");

const madeSchema = keySchema
  .extend({ token: z.string().describe("The key itself, which is in no other answer.") })
  .openapi("NewKey");

/** The key file, for those who may change it. Throws ApiError 403 or 404. */
async function needKeyFile({ server, key }: RequestContext["var"]): Promise<KeyFile> {
  const { keyFile } = server;
  if (keyFile === undefined)
    throw new ApiError(
      "this server has no key file; make one with mos keys create --name NAME --admin --append keys.jsonl, and start the server with --api-keys keys.jsonl",
      { status: 404, code: "no_key_file" },
    );
  if (!key.isAdmin) throw needsAdmin("this key may not manage keys; use an admin key");
  const own = (await explained(readKeyFile(keyFile))).find(({ sha256 }) => sha256 === key.sha256);
  // or it could give itself what it may not use
  if (own?.adapters !== undefined)
    throw needsAdmin("this admin key is limited to some adapters; use one without that limit to manage keys");
  return keyFile;
}

/** A key file that this server cannot change is for the operator to mend, who reads the answer. */
const explained = <T>(work: Promise<T>): Promise<T> =>
  work.catch((cause: unknown) => {
    if (!(cause instanceof MosError) || cause.code !== "bad_config") throw cause;
    throw new ApiError(cause.message, { status: 409, code: "bad_key_file", cause });
  });

const managersOnly: MiddlewareHandler<ServerEnv> = async (context, next) => {
  await needKeyFile(context.var);
  await next();
};

const statusOf = (line: KeyLine, now: number) =>
  line.revoked === true ? "revoked" : isExpired(line, now) ? "expired" : "active";

/** A key as the API shows it; `own` is the key of the request. */
function keyJson(
  line: KeyLine,
  { limits, now, own }: { readonly limits: readonly KeyLimits[]; readonly now: number; readonly own: ApiKey },
): z.output<typeof keySchema> {
  const { admin = false, adapters = null, expires_at = null, max_concurrent = null } = line;
  const { requests_per_minute = null, tokens_per_day = null, tokens_per_month = null } = line;
  const given = limits.flatMap(({ name }) => (line[name] === undefined ? [] : [[name, Object(line[name])]]));
  return {
    id: shortHash(line),
    object: "key",
    name: line.name,
    status: statusOf(line, now),
    ...{ admin, adapters, requests_per_minute, max_concurrent, tokens_per_day, tokens_per_month, expires_at },
    limits: Object.fromEntries(given),
    is_own: line.sha256 === own.sha256,
  };
}

/** Limits of add-ons as a request has them. Throws ApiError or MosError `bad_option` for what the server does not have. */
function checkLimits(given: z.output<typeof limitValues> = {}, limits: readonly KeyLimits[]): object {
  const checked = Object.entries(given).map(([name, values]) => {
    const options = limits.find((one) => one.name === name)?.options;
    if (options === undefined) throw invalidValue(`this server has no limits ${name}; omit them`, "limits");
    return [name, parseWith(limitsSchema(options), values, { code: "bad_option", where: `limits.${name}` })];
  });
  return Object.fromEntries(checked.filter(([, values]) => Object.keys(Object(values)).length > 0));
}

/** The one key that starts so. Throws ApiError for none, several, or the last administrator's. */
function selectKey(keys: readonly KeyLine[], start: string, now: number): KeyLine {
  if (!keyStart.safeParse(start).success)
    throw invalidValue("a key's id is the start of its hash as GET /v1/keys shows it", "id");
  const [found, ...others] = keys.filter(({ sha256 }) => sha256.startsWith(start.toLowerCase()));
  if (found === undefined)
    throw notFound(`no key ${start}; GET /v1/keys lists the keys`, "key_not_found", "id");
  if (others.length > 0)
    throw invalidValue(`${others.length + 1} keys start with ${start}; give more digits`, "id");
  const isManager = (line: KeyLine): boolean =>
    line.admin === true && line.adapters === undefined && statusOf(line, now) === "active";
  if (isManager(found) && keys.filter(isManager).length === 1)
    throw new ApiError(
      "this is the last admin key that can manage keys; create another one first, or revoke it with mos keys revoke",
      { status: 409, code: "last_admin_key" },
    );
  return found;
}

export const keyRoutes = [
  route({
    method: "get",
    path: "/v1/keys",
    summary: "List the keys of the key file (administrators)",
    ok: [listSchema, "The keys, without the keys themselves."],
    answer: async ({ server, key: own, context }) => {
      const file = await needKeyFile(context.var);
      const { limits } = file;
      const limit_fields = limits.flatMap(({ name: group, options = {} }) =>
        Object.entries(options).map(([name, option]) => {
          const { help, expected } = settingInfo(option);
          return { group, name: snakeCase(name), help, expected };
        }),
      );
      const shown = { limits, now: server.date(), own };
      const data = (await explained(readKeyFile(file))).map((line) => keyJson(line, shown));
      return { object: "list" as const, data, limit_fields };
    },
  }),
  route({
    method: "post",
    path: "/v1/keys",
    summary: "Create a key, which is shown once (administrators)",
    middleware: [managersOnly, jsonBody],
    body: newKey,
    ok: [madeSchema, "The key with its token.", 201],
    answer: async ({ body: { admin, expires, limits, ...fields }, server, key: own, context }) => {
      const file = await needKeyFile(context.var);
      const now = server.date();
      const expiry = expires === undefined ? undefined : parseExpiry(expires, now, "expires");
      const { key: token, line } = makeKey({
        ...omitUndefined({ ...fields, admin: admin === true ? true : undefined, expires_at: expiry }),
        ...checkLimits(limits, file.limits),
        name: fields.name,
      });
      await explained(addKey(file.path, line));
      await file.refresh();
      context.header("cache-control", "no-store");
      return { ...keyJson(line, { limits: file.limits, now, own }), token };
    },
  }),
  route({
    method: "delete",
    path: "/v1/keys/{id}",
    summary: "Revoke a key (administrators)",
    params: z.object({ id: z.string() }),
    ok: [deleted.schema("key"), "The key is refused from now on. Running requests finish."],
    answer: async ({ params: { id: start }, server, context }) => {
      const file = await needKeyFile(context.var);
      let id = start;
      await explained(
        revokeKeys(file, (keys) => {
          const found = selectKey(keys, start, server.date());
          id = shortHash(found);
          return [found];
        }),
      );
      await file.refresh();
      return deleted.json("key", id);
    },
  }),
];
