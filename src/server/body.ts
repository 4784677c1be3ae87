// Bodies come from anybody: their size is checked before and while they come, then their bytes, then their JSON.
import { setImmediate as nextTurn } from "node:timers/promises";
import { decodeText, parseJson } from "#core";
import { Refusal } from "./refusal.ts";

const tooLarge = (limit: number): Refusal =>
  new Refusal(`the request's body is larger than the ${limit} bytes that are taken; send less at once`, {
    status: 413,
    reason: "request_too_large",
    headers: { connection: "close" },
  });

function checkHeaders(headers: Headers, limit: number): void {
  const encoding = headers.get("content-encoding") ?? "identity";
  if (encoding !== "identity")
    throw new Refusal(`content-encoding ${encoding} is not taken; send the body as it is`, {
      status: 415,
      reason: "unsupported_encoding",
    });
  if (Number(headers.get("content-length") ?? 0) > limit) throw tooLarge(limit);
}

/** Bytes that are copied in one turn of the event loop. */
const AT_ONCE = 8_000_000;

/** The whole body, never more than `limit` bytes of it. */
export async function readBody(request: Request, limit: number): Promise<Uint8Array<ArrayBuffer>> {
  checkHeaders(request.headers, limit);
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of request.body ?? []) {
    size += chunk.length;
    if (size > limit) throw tooLarge(limit);
    chunks.push(chunk);
  }
  const whole = new Uint8Array(size);
  let done = 0;
  let rested = 0;
  for (const chunk of chunks) {
    whole.set(chunk, done);
    done += chunk.length;
    if (done - rested < AT_ONCE) continue;
    rested = done;
    await nextTurn();
  }
  return whole;
}

/** Browsers send JSON to other sites only after asking them; other types they send unasked, so those are refused. */
export function checkJsonType(request: Request): void {
  const type = request.headers.get("content-type")?.split(";")[0]?.trim().toLowerCase();
  if (type === "application/json") return;
  throw new Refusal(`content-type is ${type ?? "missing"}; send application/json`, {
    status: 415,
    reason: "unsupported_media_type",
  });
}

/** The body as a JSON object of unknown fields; null counts as left out, as in OpenAI's API. */
export async function readJsonBody(
  request: Request,
  limit: number,
): Promise<Readonly<Record<string, unknown>>> {
  checkJsonType(request);
  return fieldsOf(await readBody(request, limit));
}

/** The fields of a JSON object, without those that are null. */
export function fieldsOf(bytes: Uint8Array): Readonly<Record<string, unknown>> {
  const value = jsonOf(bytes);
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new Refusal("the request's body is not a JSON object", { status: 400, reason: "invalid_json" });
  const fields = Object.entries(value).filter(([, field]) => field !== null);
  return Object.fromEntries(fields);
}

function jsonOf(bytes: Uint8Array): unknown {
  const place = { code: "bad_option", where: "the request's body" } as const;
  try {
    return parseJson(decodeText(bytes, place), place);
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new Refusal(message, { status: 400, reason: "invalid_json", cause });
  }
}
