// Authentication: API keys, the file with their hashes, and the host names that the server accepts.
import { createHash, timingSafeEqual } from "node:crypto";
import {
  decodeText,
  errorText,
  parseJson,
  parseWith,
  type Settings,
  settingInfo,
  snakeCase,
} from "mixture-of-shards-core/common";
import { fileStamp, readBytes } from "mixture-of-shards-core/files";
import { z } from "zod";
import type { RequestContext, ServerContext } from "./context.ts";
import { ApiError, forbidden } from "./errors.ts";
import type { ServerLog } from "./metrics.ts";

/** The client of a request, and what it may do. */
export interface ApiKey {
  /** The tenant: fair shares and limits are by it. Two keys may have the same name while one replaces the other. */
  readonly name: string;
  readonly isAdmin: boolean;
  /** Its hash, by which its key file names it. */
  readonly sha256?: string | undefined;
  readonly requestsPerMinute?: number | undefined;
  /** Requests that may run at the same time. */
  readonly maxConcurrent?: number | undefined;
  /** Limit for the tokens of prompts and answers, by days and months of UTC. */
  readonly tokensPerDay?: number | undefined;
  readonly tokensPerMonth?: number | undefined;
  /** From then on it is refused, in milliseconds since 1970. */
  readonly expiresAt?: number | undefined;
  /** Limits that add-ons enforce, by their names. */
  readonly limits?: Readonly<Record<string, unknown>> | undefined;
  /** Tests whether the key may see the adapter of this name. */
  mayUse(adapter: string): boolean;
}

/** Knows keys by their hashes. */
export interface KeyRing {
  /** The key of a token, or undefined for one that is unknown or revoked. */
  find(token: string): Promise<ApiKey | undefined>;
  /** The keys of a tenant, for what the server does in its name; without this it does nothing. */
  ofTenant?(name: string): Promise<readonly ApiKey[]>;
}

export type KeyFile = Awaited<ReturnType<typeof openKeyFile>>;

/** Tests whether a client may see what belongs to all tenants: an administrator, or anybody where there are no keys. */
export const seesAll = (
  { keys }: { readonly keys?: KeyRing | undefined },
  key: Pick<ApiKey, "isAdmin"> | undefined,
): boolean => keys === undefined || key?.isAdmin === true;

/** The key of every client where the server runs without keys. */
const ANONYMOUS: ApiKey = { name: "anybody", isAdmin: false, mayUse: () => true };

export const KEY_NAME = /^[\w.@-]{1,64}$/;

const keyFields = {
  name: z.string().regex(KEY_NAME, "a name of letters, digits and . _ - @, at most 64"),
  sha256: z.string().regex(/^[0-9a-f]{64}$/, "the SHA-256 of the key, 64 hexadecimal digits"),
  adapters: z.array(z.string().max(200)).max(10_000).optional(),
  admin: z.boolean().optional(),
  requests_per_minute: z.number().gt(0).optional(),
  max_concurrent: z.int().min(1).optional(),
  tokens_per_day: z.int().min(1).optional(),
  tokens_per_month: z.int().min(1).optional(),
  expires_at: z.iso
    .datetime({ offset: true, error: "a date and time with time zone, such as 2027-01-31T00:00:00Z" })
    .optional(),
  revoked: z.boolean().optional(),
};

/** Entry of a key file, which does not contain the key itself. Limits of add-ons are under their own names. */
export type KeyLine = z.output<z.ZodObject<typeof keyFields>> & Readonly<Record<string, unknown>>;

/** Limits that an add-on enforces: an object in a key, whose fields are the options in snake case. */
export interface KeyLimits {
  /** Name of the object in a key. */
  readonly name: string;
  /** Left out where the add-on is not installed: a server without it may share the key file. */
  readonly options?: Settings;
}

function keySchema(limits: readonly KeyLimits[]) {
  const schemaOf = ({ options }: KeyLimits): z.ZodType =>
    options === undefined ? z.unknown() : limitsSchema(options).optional();
  const more = Object.fromEntries(limits.map((one) => [one.name, schemaOf(one)]));
  return z.strictObject({ ...keyFields, ...more });
}

export function limitsSchema(options: Settings) {
  const checks = Object.entries(options).map(([name, option]) => [
    snakeCase(name),
    settingInfo(option).check,
  ]);
  return z.strictObject(Object.fromEntries(checks) as Readonly<Record<string, z.ZodType>>).partial();
}

/** `acme-*` as a test of names; only * has a meaning. The parts between stars are found one after the other, never again. */
function matcher(pattern: string): (name: string) => boolean {
  const [first = "", ...parts] = pattern.split("*");
  const last = parts.pop();
  if (last === undefined) return (name) => name === pattern;
  return (name) => {
    if (!name.startsWith(first)) return false;
    let at = first.length;
    for (const part of parts) {
      const found = name.indexOf(part, at);
      if (found < 0) return false;
      at = found + part.length;
    }
    return name.length - last.length >= at && name.endsWith(last);
  };
}

function toApiKey(line: KeyLine, limits: readonly KeyLimits[]): ApiKey {
  const { name, adapters, admin, requests_per_minute, max_concurrent, expires_at } = line;
  const matchers = adapters?.map(matcher);
  return {
    name,
    isAdmin: admin === true,
    sha256: line.sha256,
    requestsPerMinute: requests_per_minute,
    maxConcurrent: max_concurrent,
    tokensPerDay: line.tokens_per_day,
    tokensPerMonth: line.tokens_per_month,
    expiresAt: expires_at === undefined ? undefined : Date.parse(expires_at),
    limits: Object.fromEntries(limits.map((one) => [one.name, line[one.name]])),
    mayUse: (adapter) => matchers?.some((matches) => matches(adapter)) ?? true,
  };
}

const sha256 = (text: string): Buffer => createHash("sha256").update(text).digest();

/** The hash under which a key file keeps a key, in hexadecimal digits. */
export const hashKey = (token: string): string => sha256(token).toString("hex");

type HashedKey = ReturnType<typeof parseKeys>[number];

/**
 * Each key of the text of a key file once: a JSON array, or one object a line. A key that any line revokes is revoked; of
 * several other lines the last one counts.
 *
 * @throws MosError `bad_config`, naming the line.
 */
export function keyLines(text: string, where: string, limits: readonly KeyLimits[] = []): readonly KeyLine[] {
  const schema = keySchema(limits);
  const lines = splitEntries(text, where).map(
    ({ value, place }): KeyLine => parseWith(schema, value, { code: "bad_config", where: place }),
  );
  const revoked = new Set(lines.filter((line) => line.revoked === true).map((line) => line.sha256));
  const keys = new Map<string, KeyLine>();
  for (const line of lines) if (line.revoked !== true || !keys.has(line.sha256)) keys.set(line.sha256, line);
  return [...keys.values()].map((line) => (revoked.has(line.sha256) ? { ...line, revoked: true } : line));
}

/** The keys of a key file that are not revoked. Throws as `keyLines` does. */
export const parseKeys = (text: string, where: string, limits: readonly KeyLimits[] = []) =>
  keyLines(text, where, limits)
    .filter(({ revoked }) => revoked !== true)
    .map((line) => ({ hash: Buffer.from(line.sha256, "hex"), key: toApiKey(line, limits) }));

function splitEntries(text: string, where: string) {
  if (text.trimStart().startsWith("[")) {
    const entries = z.array(z.unknown()).parse(parseJson(text, { code: "bad_config", where }));
    return entries.map((value, i) => ({ value, place: `${where}, key ${i + 1}` }));
  }
  return text.split("\n").flatMap((line, i) => {
    const place = `${where}:${i + 1}`;
    if (line.trim() === "") return [];
    return [{ value: parseJson(line, { code: "bad_config", where: place }), place }];
  });
}

/** The key of a token. Every hash is compared, each in constant time, so that the time reveals nothing. */
export function findKey(keys: readonly HashedKey[], token: string): ApiKey | undefined {
  const hash = sha256(token);
  let found: ApiKey | undefined;
  for (const known of keys) if (timingSafeEqual(known.hash, hash)) found = known.key;
  return found;
}

/** Interval between comparisons of the file's times, in milliseconds. */
const CHECK_EVERY = 1000;

/** The text of a key file. Throws MosError `not_found`, `storage` or `bad_config`. */
export async function readKeyText(path: string): Promise<string> {
  const place = { code: "bad_config", where: path } as const;
  return decodeText(await readBytes(path, place), place);
}

/**
 * The keys of a file, which is read again when it has changed: a removed or revoked key is refused a second later. If the
 * file cannot be read then, the keys stay as they were and the log says so.
 *
 * @param options `now`: milliseconds since 1970; `limits`: those of add-ons that keys may have.
 * @throws MosError `not_found`, `storage` or `bad_config` if it cannot be read at the start.
 */
export async function openKeyFile(
  path: string,
  options: {
    readonly now: () => number;
    readonly log: Pick<ServerLog, "info" | "error">;
    readonly limits?: readonly KeyLimits[] | undefined;
  },
) {
  const { now, log, limits = [] } = options;
  const read = async () => parseKeys(await readKeyText(path), path, limits);
  let stamp = await fileStamp(path).catch(() => "");
  let keys = await read();
  let checkedAt = now();
  const refresh = async (): Promise<void> => {
    try {
      const current = await fileStamp(path);
      if (current === stamp) return;
      keys = await read();
      stamp = current;
      log.info({ keys: keys.length }, "reloaded the key file");
    } catch (error) {
      const reason = errorText(error);
      log.error({ reason }, "the key file cannot be read; keeping the previous keys");
    }
  };
  const current = async (): Promise<readonly HashedKey[]> => {
    if (now() - checkedAt >= CHECK_EVERY) {
      checkedAt = now();
      await refresh();
    }
    return keys;
  };
  return {
    path,
    limits,
    /** Reads it again now, if it has changed. */
    refresh,
    /** True if any of them has a token quota. */
    get hasQuotas(): boolean {
      return keys.some(({ key }) => (key.tokensPerDay ?? key.tokensPerMonth) !== undefined);
    },
    find: async (token: string) => findKey(await current(), token),
    ofTenant: async (name: string) =>
      (await current()).flatMap(({ key }) => (key.name === name ? [key] : [])),
  };
}

const tokenOf = (authorization: string | undefined): string | undefined =>
  /^Bearer +(\S+) *$/i.exec(authorization ?? "")?.[1];

/** Longer than any key that this package makes; nothing longer is hashed. */
const MAX_KEY_LENGTH = 512;

/**
 * The key that a request was sent with.
 *
 * @throws ApiError 401 for a missing, wrong, revoked or expired key, without saying whether a wrong one was revoked.
 */
export async function authenticate(
  { keys, date }: Pick<ServerContext, "keys" | "date">,
  authorization: string | undefined,
): Promise<ApiKey> {
  if (keys === undefined) return ANONYMOUS;
  const token = tokenOf(authorization);
  const unauthorized = (message: string, code = "invalid_api_key"): ApiError =>
    new ApiError(message, { status: 401, code, headers: { "www-authenticate": "Bearer" } });
  if (token === undefined)
    throw unauthorized("missing API key; send it in the header Authorization: Bearer KEY, or x-api-key: KEY");
  const key = token.length > MAX_KEY_LENGTH ? undefined : await keys.find(token);
  if (key === undefined) throw unauthorized("invalid API key");
  const { expiresAt } = key;
  if (expiresAt === undefined || date() < expiresAt) return key;
  throw unauthorized(
    `the API key expired at ${new Date(expiresAt).toISOString()}; ask the server's operator for a new one`,
    "expired_api_key",
  );
}

const NUMBERS = ["requestsPerMinute", "maxConcurrent", "tokensPerDay", "tokensPerMonth"] as const;

/**
 * The key with which a tenant's jobs ask models: without an administrator's rights, for what every valid key of the tenant may use,
 * within the tightest of their limits. So no job may do more than the key that created it, and it goes on when that is replaced.
 *
 * @throws ApiError 401 where the tenant has no key that is valid now.
 */
export async function tenantKey(server: Pick<ServerContext, "keys" | "date">, name: string): Promise<ApiKey> {
  const { keys, date } = server;
  if (keys === undefined) return ANONYMOUS;
  const all = (await keys.ofTenant?.(name)) ?? [];
  const valid = all.filter(({ expiresAt = Number.POSITIVE_INFINITY }) => date() < expiresAt);
  if (valid.length === 0)
    throw new ApiError(`${name} has no valid API key; ask the server's operator for a new one`, {
      status: 401,
      code: "invalid_api_key",
    });
  const tightest = NUMBERS.map((limit) => {
    const [least] = valid.map((key) => key[limit]).sort((a = 0, b = 0) => a - b); // undefined comes last
    return [limit, least] as const;
  });
  const mayUse = (adapter: string): boolean => valid.every((key) => key.mayUse(adapter));
  return { name, isAdmin: false, ...Object.fromEntries(tightest), mayUse };
}

/** What the key of a job's trainer is good for. */
const JOB_PATH = "/v1/chat/completions";

/**
 * The key of the tenant whose job a request comes from; undefined for any other request.
 *
 * @throws ApiError as `tenantKey`, 403 for anything but chat completions.
 */
export async function jobKey(
  server: Pick<ServerContext, "keys" | "date" | "extension">,
  { authorization, path }: { readonly authorization: string | undefined; readonly path: string },
): Promise<ApiKey | undefined> {
  const name = await server.extension?.jobTenant?.(tokenOf(authorization) ?? "");
  if (name === undefined) return undefined;
  if (path === JOB_PATH) return await tenantKey(server, name);
  throw forbidden(`the key of a job is for ${JOB_PATH} only`, "wrong_key");
}

/**
 * Keeps out what other sites' pages send without asking, as forms do, but for those of `cors`.
 *
 * @throws ApiError 403.
 */
export function checkSite(request: RequestContext["req"], cors: readonly string[] = []): void {
  const [site, origin = ""] = [request.header("sec-fetch-site"), request.header("origin")];
  const isAllowed = cors.includes("*") || cors.includes(origin);
  if ((site === "cross-site" || site === "same-site") && !isAllowed)
    throw forbidden(
      "requests from pages of other origins are refused; the operator can allow origins with --cors",
      "wrong_site",
    );
}

/**
 * Compares the name by which a request calls the server with the allowed ones: without keys, this keeps out web pages
 * whose own name was pointed at this machine (DNS rebinding).
 *
 * @throws ApiError 403.
 */
export function checkHost(hosts: readonly string[] | undefined, url: string): void {
  const { hostname } = new URL(url);
  if (hosts === undefined || hosts.includes(hostname)) return;
  throw forbidden(`unknown host ${hostname}; use ${hosts.join(" or ")}`, "wrong_host");
}
