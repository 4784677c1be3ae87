// A request's body from bytes to checked fields: the size while it arrives, then UTF-8, JSON and the route's schema; and the
// fields that chats and completions share.
import { setImmediate as nextTurn } from "node:timers/promises";
import { z } from "@hono/zod-openapi";
import type { MiddlewareHandler } from "hono";
import {
  attempt,
  decodeText,
  describeIssues,
  isRecord,
  MosError,
  parseJson,
  readIssues,
  similarName,
} from "mixture-of-shards-core/common";
import { mediaPart } from "mixture-of-shards-core/text";
import { checkChoices } from "./choices.ts";
import type { ServerEnv } from "./context.ts";
import { ApiError, invalidValue, tooLong, unsupportedMedia } from "./errors.ts";
import type { ServerLimits } from "./limits.ts";

/** Without "connection: close": the client still writes, and a connection that is closed at once would lose the answer. */
const tooLarge = (limit: number): ApiError =>
  new ApiError(`the request body exceeds the limit of ${limit} bytes`, {
    status: 413,
    code: "request_too_large",
  });

/**
 * A body as it arrives, never more than `limit` bytes of it.
 *
 * @throws ApiError 413 or 415.
 */
export async function* bodyChunks(request: Request, limit: number): AsyncGenerator<Uint8Array, void> {
  const { headers } = request;
  const encoding = headers.get("content-encoding") ?? "identity";
  if (encoding !== "identity")
    throw new ApiError(`content-encoding ${encoding} is not supported; send the body uncompressed`, {
      status: 415,
      code: "unsupported_encoding",
    });
  if (Number(headers.get("content-length") ?? 0) > limit) throw tooLarge(limit);
  let size = 0;
  for await (const chunk of request.body ?? []) {
    size += chunk.length;
    if (size > limit) throw tooLarge(limit);
    yield chunk;
  }
}

async function readBody(request: Request, { bodyBytes, requestSeconds }: ServerLimits): Promise<Uint8Array> {
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

/** Values of a request. Far more than any real one has, and few enough that a schema's complaints about each stay cheap. */
const MAX_VALUES = 20_000;
/** The same with what is in JSON Schemas, which are no business of a request's schema: one in OpenAI's limits has up to 5,000 properties. */
const MAX_PARTS = 100_000;
/** Items of a list, such as messages, and members of an object. */
const MAX_ITEMS = 4096;

function decodeJson(bytes: Uint8Array): unknown {
  const place = { code: "bad_option", where: "the request's body" } as const;
  const read = attempt(() => parseJson(decodeText(bytes, place), { ...place, maxParts: MAX_PARTS }));
  if (!(read instanceof MosError)) return read;
  throw new ApiError(read.message, { status: 400, code: "invalid_json", cause: read });
}

/** Members whose value is a JSON Schema or other JSON of the client's, in which null is a value: at any depth, or of the body. */
const OPAQUE: ReadonlySet<string> = new Set([
  ...["parameters", "input_schema", "schema", "json", "arguments", "input"],
]);
const OPAQUE_IN_BODY = "json_schema";

const countedParts = (value: object): readonly unknown[] =>
  Array.isArray(value)
    ? value
    : Object.entries(value).flatMap(([name, part]) => (OPAQUE.has(name) ? [] : [part]));

/** Looks at lengths before a schema looks at each value. Prompts and JSON Schemas have limits of their own. */
function checkExtent({ prompt: _prompt, input: _input, ...fields }: Readonly<Record<string, unknown>>): void {
  const pending = Object.entries(fields).filter(([name]) => name !== OPAQUE_IN_BODY);
  let count = pending.length;
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const [field, value] = next;
    if (typeof value !== "object" || value === null) continue;
    const parts = countedParts(value);
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

/** Looks at the lengths of lists of prompts, of inputs and of token ids. What they hold is the schema's business. */
function checkPrompts(
  { prompt, input }: Readonly<Record<string, unknown>>,
  { choices, inputs, maxLength }: Pick<ServerLimits, "choices" | "inputs"> & { readonly maxLength: number },
): void {
  for (const [field, value] of Object.entries({ prompt, input })) {
    if (!Array.isArray(value)) continue;
    if (typeof value[0] === "number") {
      if (value.length > maxLength) throw tooLong(maxLength, `the prompt has ${value.length}`, field);
    } else if (field === "prompt") checkChoices(value.length, choices);
    else if (value.length > inputs)
      throw invalidValue(`input has ${value.length} items; at most ${inputs} are allowed`, field);
  }
}

/** A client's own name of a field, which may be megabytes. */
const clipped = (name: string): string => (name.length > 100 ? `${name.slice(0, 100)}…` : name);

/** Depth of OpenAI's fields: body, messages, message, calls, call, function. */
const FIELD_DEPTH = 6;

/** As in OpenAI's API, null counts as left out: clients send messages back with all the members they know. */
function withoutNulls(value: unknown, depth = FIELD_DEPTH): unknown {
  if (depth === 0) return value;
  if (Array.isArray(value)) return value.map((item) => withoutNulls(item, depth - 1));
  if (!isRecord(value)) return value;
  const members = Object.entries(value).filter(([, member]) => member !== null);
  const isOpaque = (name: string) => OPAQUE.has(name) || (name === OPAQUE_IN_BODY && depth === FIELD_DEPTH);
  return Object.fromEntries(
    members.map(([name, member]) => [name, isOpaque(name) ? member : withoutNulls(member, depth - 1)]),
  );
}

/**
 * Reads a JSON body before the route's schema checks it, in place of Hono's reader, which knows no limits. The schema gets
 * the fields that are not null.
 *
 * @throws ApiError 400, 408, 413 or 415.
 */
export const jsonBody: MiddlewareHandler<ServerEnv> = async (context, next) => {
  const { limits, engine } = context.var.server;
  const type = mediaType(context.req.raw) ?? "missing";
  // browsers send JSON to other sites only after asking them, and other types unasked
  if (type !== "application/json")
    throw new ApiError(`content-type is ${type}; send application/json`, {
      status: 415,
      code: "unsupported_media_type",
    });
  const body = decodeJson(await readBody(context.req.raw, limits));
  if (!isRecord(body))
    throw new ApiError("the request body is not a JSON object", { status: 400, code: "invalid_json" });
  checkExtent(body);
  const { maxLength } = engine.model;
  checkPrompts(body, { ...limits, maxLength });
  const { prompt, input, ...fields } = body;
  const kept = withoutNulls(fields) as typeof fields;
  await nextTurn(); // a body of megabytes took its time
  const whole = Object.entries({ prompt, input }).filter(
    ([, value]) => value !== undefined && value !== null,
  );
  const read = { ...kept, ...Object.fromEntries(whole) };
  context.req.json = async () => read as never;
  await next();
};

/** The advice of a field that the schema knows only to refuse, as its description says. */
function adviceOn(schema: unknown): string | undefined {
  const description = schema instanceof z.ZodType ? (schema.description ?? "") : "";
  if (!description.startsWith("Not supported")) return undefined;
  return /^Not supported: (send .*)\.$/.exec(description)?.[1] ?? "omit it";
}

/** Such a field of OpenAI's API on the way to a wrong value: `tools` for `tools.0.type`, or `messages.0.audio`. */
function findUnsupported(path: readonly string[], schema: z.ZodObject) {
  for (let end = 1; end <= path.length; end++) {
    const advice = adviceOn(schemaAt(path.slice(0, end), schema));
    if (advice !== undefined) return { field: path.slice(0, end).join("."), advice };
  }
  return undefined;
}

/** The schema of a value in a request; undefined where the path leaves what the schema describes. */
function schemaAt(path: readonly string[], schema: z.ZodObject): unknown {
  let at: unknown = schema;
  for (const key of path) {
    if (at instanceof z.ZodOptional) at = at.unwrap();
    if (at instanceof z.ZodObject) at = at.shape[key];
    else if (at instanceof z.ZodArray) at = at.element;
    else return undefined;
  }
  return at;
}

/** The error for a field that is none, with the supported one that was probably meant. */
function unknownField(name: string, path: readonly string[], schema: z.ZodObject): string {
  const at = schemaAt(path, schema);
  const parent = at instanceof z.ZodOptional ? at.unwrap() : at;
  const fields = parent instanceof z.ZodObject ? Object.entries(parent.shape) : [];
  const known = fields.filter(([, field]) => adviceOn(field) === undefined).map(([field]) => field);
  const similar = similarName(name, known);
  const help = similar === undefined ? "omit it" : `did you mean ${similar}?`;
  return `unknown field ${[...path, name].join(".")}; ${help}`;
}

function invalidRequest(schema: z.ZodObject, error: z.ZodError, value: unknown): ApiError {
  const invalid = (message: string, code: string, param: string): ApiError =>
    new ApiError(message, { status: 400, code, param: param === "" ? undefined : param, cause: error });
  const issues = readIssues(error, value).map((one) => ({
    ...one,
    path: one.path.map((key) => clipped(String(key))),
  }));
  // an image, a sound or a file where a message has its text
  for (const { path, found } of issues) {
    const media = mediaPart(found);
    if (media === undefined) continue;
    return unsupportedMedia([...path, media.index].join("."), media.what, error);
  }
  // before other complaints: a message that calls tools need not have a content
  const refused = issues
    .map(({ path }) => findUnsupported(path, schema))
    .find((found) => found !== undefined);
  if (refused !== undefined) {
    const { field, advice } = refused;
    return invalid(`${field} is not supported by this server; ${advice}`, "unsupported_parameter", field);
  }
  const [{ issue, path } = { issue: undefined, path: [] }] = issues;
  if (issue?.code === "unrecognized_keys") {
    const name = clipped(issue.keys[0] ?? "");
    const param = [...path, name].join(".");
    return invalid(unknownField(name, path, schema), "unknown_parameter", param);
  }
  const code = issue?.code === "invalid_type" ? "invalid_type" : "invalid_value";
  return invalid(`the request: ${describeIssues(error, value)}`, code, path.join("."));
}

/** A schema's verdict on a request's fields, as Hono hands it to a route's hook. */
type Checked =
  | { readonly success: true }
  | { readonly success: false; readonly error: z.ZodError; readonly data?: unknown };

/** The hook of a route: fields that do not fit the schema end in an ApiError 400 that names the first wrong one. */
export const checkedBy =
  (schema: z.ZodObject) =>
  (result: Checked): undefined => {
    if (!result.success) throw invalidRequest(schema, result.error, result.data);
  };

/** Schema of a field that may only be null, which counts as left out. */
export const nullOnly = z.never().openapi({ type: "null" });

/** A field that may be left out, with what the document says of it. */
export const optional = <T extends z.ZodType>(schema: T, description: string) =>
  schema.optional().describe(description);

/** A field that vLLM has beside OpenAI's. */
export const ofVllm = <T extends z.ZodType>(schema: T, description: string) =>
  optional(schema, `vLLM extension: ${description}.`);

/** A field of OpenAI's that this server does not support: only the value that changes nothing is taken. */
export const neutral = <T extends z.ZodType>(schema: T) =>
  optional(schema, "Not supported: only the neutral value is accepted.");

/** A field of another server's that this one has by another name, which an error tells. */
export const renamed = (advice: string) => optional(nullOnly, `Not supported: send ${advice}.`);

/** A field that is accepted, since an answer without it is as good. */
export const unused = <T extends z.ZodType>(schema: T) => optional(schema, "Accepted and ignored.");

const usage = z
  .object({
    prompt_tokens: z.int(),
    completion_tokens: z.int(),
    total_tokens: z.int(),
    prompt_tokens_details: z.object({
      cached_tokens: z.int().describe("Prompt tokens served from the prefix cache."),
    }),
  })
  .openapi("Usage");

/** OpenAI's count of tokens. */
export type UsageFields = z.output<typeof usage>;

const headFields = {
  id: z.string(),
  created: z.int(),
  model: z.string(),
  system_fingerprint: z.string().nullable().describe("Digest of the adapter; null for the base."),
};

/** Fields that the answers of chat and completions share. */
export const answerFields = { ...headFields, usage };

/** Fields that the chunks of their streams share. */
export const chunkFields = {
  ...headFields,
  usage: optional(
    usage.nullable(),
    "With stream_options.include_usage: null except in the last chunk, which has no choices.",
  ),
};

export const finishReason = z.enum(["stop", "length"]);

/** What the document says of an answer that may be a stream. */
export const STREAMABLE =
  "The completion or, with stream: true, server-sent events with a chunk each. The last event is [DONE], or an error.";
