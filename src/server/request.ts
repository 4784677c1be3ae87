// A request's body from bytes to checked fields: the size while it arrives, then UTF-8, JSON and the route's schema.
import { setImmediate as nextTurn } from "node:timers/promises";
import { z } from "@hono/zod-openapi";
import type { MiddlewareHandler } from "hono";
import { decodeText, describeIssues, errorText, parseJson } from "#core";
import { mediaPart } from "#text";
import { checkChoices } from "./choices.ts";
import type { ServerEnv } from "./context.ts";
import { tooLong } from "./engine-requests.ts";
import { ApiError } from "./errors.ts";
import type { ServerLimits } from "./limits.ts";

/** Without "connection: close": the client still writes, and a connection that is closed at once would lose the answer. */
const tooLarge = (limit: number): ApiError =>
  new ApiError(`the request body exceeds the limit of ${limit} bytes`, {
    status: 413,
    code: "request_too_large",
  });

function checkHeaders(headers: Headers, limit: number): void {
  const encoding = headers.get("content-encoding") ?? "identity";
  if (encoding !== "identity")
    throw new ApiError(`content-encoding ${encoding} is not supported; send the body uncompressed`, {
      status: 415,
      code: "unsupported_encoding",
    });
  if (Number(headers.get("content-length") ?? 0) > limit) throw tooLarge(limit);
}

/**
 * A body as it arrives, never more than `limit` bytes of it.
 *
 * @throws ApiError 413 or 415.
 */
export async function* bodyChunks(request: Request, limit: number): AsyncGenerator<Uint8Array, void> {
  checkHeaders(request.headers, limit);
  let size = 0;
  for await (const chunk of request.body ?? []) {
    size += chunk.length;
    if (size > limit) throw tooLarge(limit);
    yield chunk;
  }
}

/** What a body of JSON may be. */
type BodyLimits = Pick<ServerLimits, "bodyBytes" | "requestSeconds">;

async function readBody(request: Request, { bodyBytes, requestSeconds }: BodyLimits): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  const read = async (): Promise<void> => {
    for await (const chunk of bodyChunks(request, bodyBytes)) chunks.push(chunk);
  };
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const error = new ApiError(`the request body did not arrive within ${requestSeconds} s`, {
      status: 408,
      code: "request_timeout",
      headers: { connection: "close" },
    });
    timer = setTimeout(() => reject(error), requestSeconds * 1000);
  });
  await Promise.race([read(), late]).finally(() => clearTimeout(timer));
  return Buffer.concat(chunks);
}

/** The media type of a body, in lower case. */
export const mediaType = ({ headers }: Request): string | undefined =>
  headers.get("content-type")?.split(";")[0]?.trim().toLowerCase();

/** Browsers send JSON to other sites only after asking them. Other types they send unasked, so those are refused. */
function checkJsonType(request: Request): void {
  const type = mediaType(request);
  if (type === "application/json") return;
  throw new ApiError(`content-type is ${type ?? "missing"}; send application/json`, {
    status: 415,
    code: "unsupported_media_type",
  });
}

/** Values of a request. Far more than any real one has, and few enough that a schema's complaints about each stay cheap. */
const MAX_VALUES = 20_000;
/** Items of a list, such as messages, and members of an object. */
const MAX_ITEMS = 4096;

function decodeJson(bytes: Uint8Array): unknown {
  const place = { code: "bad_option", where: "the request's body" } as const;
  try {
    return parseJson(decodeText(bytes, place), { ...place, maxParts: MAX_VALUES });
  } catch (cause) {
    const message = errorText(cause);
    throw new ApiError(message, { status: 400, code: "invalid_json", cause });
  }
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const invalidValue = (message: string, param?: string): ApiError =>
  new ApiError(message, { status: 400, code: "invalid_value", param });

/** Looks at lengths before a schema looks at each value. Prompts have limits of their own. */
function checkExtent({ prompt: _prompt, ...fields }: Readonly<Record<string, unknown>>): void {
  const pending = Object.entries(fields);
  let count = pending.length;
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const [field, value] = next;
    if (typeof value !== "object" || value === null) continue;
    const parts: readonly unknown[] = Array.isArray(value) ? value : Object.values(value);
    const param = clipped(field);
    if (parts.length > MAX_ITEMS) {
      const what = Array.isArray(value) ? "items" : "members";
      throw invalidValue(`${param} has ${parts.length} ${what}; at most ${MAX_ITEMS} are allowed`, param);
    }
    count += parts.length;
    if (count > MAX_VALUES)
      throw invalidValue(`the request has more than ${MAX_VALUES} values; send fewer messages`);
    for (const part of parts) pending.push([field, part]);
  }
}

/** What decides how many prompts a request may have, and how long one may be. */
export interface PromptLimits {
  /** Of a request. */
  readonly choices: number;
  /** Tokens. */
  readonly maxLength: number;
}

/** Looks at the length of a list of prompts or token ids. What it holds is the schema's business. */
function checkPrompt(prompt: unknown, { choices, maxLength }: PromptLimits): void {
  if (!Array.isArray(prompt)) return;
  if (typeof prompt[0] !== "number") checkChoices(prompt.length, choices);
  else if (prompt.length > maxLength) throw tooLong(maxLength, `the prompt has ${prompt.length}`, "prompt");
}

/** A client's own name of a field, which may be megabytes. */
const clipped = (name: string): string => (name.length > 100 ? `${name.slice(0, 100)}…` : name);

/** How deep OpenAI's fields go: body, messages, message, content, part. */
const FIELD_DEPTH = 5;

/** As in OpenAI's API, null counts as left out: clients send messages back with all the members they know. */
function withoutNulls(value: unknown, depth = FIELD_DEPTH): unknown {
  if (depth === 0) return value;
  if (Array.isArray(value)) return value.map((item) => withoutNulls(item, depth - 1));
  if (!isObject(value)) return value;
  const members = Object.entries(value).filter(([, member]) => member !== null);
  return Object.fromEntries(members.map(([name, member]) => [name, withoutNulls(member, depth - 1)]));
}

/**
 * The fields of a JSON body, of which nothing is known but that they are not null.
 *
 * @throws ApiError 400, 408, 413 or 415.
 */
export async function readJsonBody(
  request: Request,
  limits: BodyLimits & PromptLimits,
): Promise<Readonly<Record<string, unknown>>> {
  checkJsonType(request);
  const body = decodeJson(await readBody(request, limits));
  if (!isObject(body))
    throw new ApiError("the request body is not a JSON object", { status: 400, code: "invalid_json" });
  checkExtent(body);
  checkPrompt(body["prompt"], limits);
  const { prompt, ...fields } = body;
  const kept = withoutNulls(fields);
  await nextTurn(); // a body of megabytes took its time
  return { ...(isObject(kept) ? kept : {}), ...(prompt === undefined || prompt === null ? {} : { prompt }) };
}

/** Reads a JSON body before the route's schema checks it, in place of Hono's reader, which knows no limits. */
export const jsonBody: MiddlewareHandler<ServerEnv> = async (context, next) => {
  const { limits, engine } = context.var.server;
  const fields = await readJsonBody(context.req.raw, { ...limits, maxLength: engine.model.maxLength });
  context.req.json = async () => fields as never;
  await next();
};

/**
 * The field of OpenAI's API on the way to a wrong value that the schema knows only to refuse: `tools` for
 * `tools.0.type`, or `messages.0.audio`. Such a field's description says so.
 */
function unsupportedOn(path: readonly string[], schema: z.ZodObject): string | undefined {
  let at: unknown = schema;
  for (const [i, key] of path.entries()) {
    if (at instanceof z.ZodObject) at = at.shape[key];
    else if (at instanceof z.ZodArray) at = at.element;
    else return undefined;
    if (at instanceof z.ZodType && at.description?.startsWith("Not supported") === true)
      return path.slice(0, i + 1).join(".");
  }
  return undefined;
}

/** An image, a sound or a file where a message has its text, by the path of the issue about it. */
function mediaAt(path: readonly string[], value: unknown): { what: string; param: string } | undefined {
  const found = path.reduce<unknown>((at, key) => (isParent(at) ? at[key] : undefined), value);
  const media = mediaPart(found);
  return media && { what: media.what, param: [...path, media.index].join(".") };
}

const isParent = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null;

function invalidRequest(schema: z.ZodObject, error: z.ZodError, value: unknown): ApiError {
  const issuePath = ({ path }: { readonly path: readonly PropertyKey[] }): readonly string[] =>
    path.map((key) => clipped(String(key)));
  const invalid = (message: string, code: string, param: string): ApiError =>
    new ApiError(message, { status: 400, code, param: param === "" ? undefined : param, cause: error });
  const media = error.issues
    .map((issue) => mediaAt(issuePath(issue), value))
    .find((part) => part !== undefined);
  if (media !== undefined)
    return invalid(
      `${media.param} is ${media.what}; this server's models read text only`,
      "unsupported_value",
      media.param,
    );
  // before other complaints: a message that calls tools need not have a content
  const unsupported = error.issues
    .map((issue) => unsupportedOn(issuePath(issue), schema))
    .find((field) => field !== undefined);
  if (unsupported !== undefined)
    return invalid(
      `${unsupported} is not supported by this server; omit it`,
      "unsupported_parameter",
      unsupported,
    );
  const [issue] = error.issues;
  const path = issue === undefined ? [] : issuePath(issue);
  if (issue?.code === "unrecognized_keys") {
    const field = [...path, clipped(issue.keys[0] ?? "")].join(".");
    return invalid(`unknown field ${field}; omit it`, "unknown_parameter", field);
  }
  const code = issue?.code === "invalid_type" ? "invalid_type" : "invalid_value";
  return invalid(`the request: ${describeIssues(error, value)}`, code, path.join("."));
}

/** What a schema says of a request's fields, as Hono hands it to a route's hook. */
type Checked =
  | { readonly success: true }
  | { readonly success: false; readonly error: z.ZodError; readonly data?: unknown };

/** The hook of a route: fields that do not fit the schema end in an ApiError 400 that names the first wrong one. */
export const checkedBy =
  (schema: z.ZodObject) =>
  (result: Checked): undefined => {
    if (!result.success) throw invalidRequest(schema, result.error, result.data);
  };
