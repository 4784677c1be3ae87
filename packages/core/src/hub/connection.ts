import { concatBytes, MosError } from "#common";
import { sleep } from "#platform";
import { cancelled, type Failure, type Resource, responseFailure, toFailure } from "./failure.ts";

export const DEFAULT_ENDPOINT = "https://huggingface.co";

/** @throws MosError `bad_option` where a token has characters that no HTTP header can hold. */
export function checkToken(token: string): void {
  if (!/^[\x21-\x7e]{1,4096}$/.test(token))
    throw new MosError("bad_option", "the Hub token contains a space or an invalid character; copy it again");
}

/** One hub, and how to talk to it. */
export interface Connection {
  /** Without a slash at the end. */
  readonly endpoint: string;
  /** Sent to the endpoint's own origin only. */
  readonly token: string | undefined;
  /** The platform's own, but in tests. */
  readonly fetch: typeof fetch;
  /** Waits; rejects when the signal aborts. A timer, but in tests. */
  readonly sleep: (milliseconds: number, signal: AbortSignal | undefined) => Promise<void>;
  readonly signal: AbortSignal | undefined;
  /** Maximum number of consecutive retries of a request, or of a transfer without progress (5). */
  readonly retries: number;
  /** A download counts as broken after this many milliseconds without a byte (60,000). */
  readonly stallMilliseconds: number;
}

/** Options of a connection. */
export type ConnectionOptions = { readonly [K in keyof Connection]?: Connection[K] | undefined };

/** The answer after all redirects. */
export interface Answer {
  readonly response: Response;
  /** The content's own ETag: the hub sends it with its redirect; the CDN has another. */
  readonly etag: string | undefined;
}

export const MAX_REDIRECTS = 8;
const MAX_API_BYTES = 32 * 2 ** 20;

/** @throws MosError `bad_option` for an address or a token that cannot be used. */
export function connect(options: ConnectionOptions): Connection {
  const { endpoint = DEFAULT_ENDPOINT, token } = options;
  if (!URL.canParse(endpoint) || !/^https?:$/.test(new URL(endpoint).protocol))
    throw new MosError(
      "bad_option",
      `${JSON.stringify(endpoint)} is not a valid Hub endpoint; give a URL with https://`,
    );
  if (token !== undefined) checkToken(token);
  return {
    endpoint: endpoint.replace(/(?<!\/)\/+$/, ""),
    token,
    fetch: options.fetch ?? fetch,
    sleep: options.sleep ?? ((milliseconds, signal) => sleep(milliseconds, { signal })),
    signal: options.signal,
    retries: options.retries ?? 5,
    stallMilliseconds: options.stallMilliseconds ?? 60_000,
  };
}

/**
 * GETs a URL and follows redirects by hand: the token goes to the endpoint's own origin and nowhere else, and
 * nothing leads from https to http.
 */
export async function request(
  connection: Connection,
  url: string,
  {
    headers = {},
    signal = connection.signal,
  }: { readonly headers?: Readonly<Record<string, string>>; readonly signal?: AbortSignal | undefined } = {},
): Promise<Answer> {
  const home = new URL(connection.endpoint).origin;
  let target = new URL(url);
  let linkedEtag: string | null = null;
  for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
    const isHome = connection.token !== undefined && target.origin === home;
    const response = await connection.fetch(target.href, {
      headers: { ...headers, ...(isHome ? { authorization: `Bearer ${connection.token}` } : {}) },
      redirect: "manual",
      signal: signal ?? null,
    });
    linkedEtag ??= response.headers.get("x-linked-etag");
    const location = response.headers.get("location");
    if (response.status < 300 || response.status >= 400 || location === null)
      return { response, etag: linkedEtag ?? response.headers.get("etag") ?? undefined };
    await response.body?.cancel();
    target = redirectTarget(location, target);
  }
  throw new MosError("network", `${url} redirects more than ${MAX_REDIRECTS} times`);
}

/**
 * A `fetch` for the functions of `@huggingface/hub`: own credentials, retries, readable errors, and answers of
 * a bounded size and number (a listing may ask for page after page).
 */
export function apiFetch(connection: Connection, resource: Resource): typeof fetch {
  let left = 1000;
  return async (input) => {
    if (left-- === 0)
      throw new MosError(
        "network",
        `${resource.endpoint} returned an endless list of the files of ${resource.name}`,
      );
    const url = input instanceof Request ? input.url : String(input);
    const retries = Math.min(2, connection.retries);
    return withRetries({ ...connection, retries }, resource, () => tryOnce(connection, resource, url));
  };
}

/** A request that is repeated as often as the connection allows, where that may help. Throws the error of the last failure. */
export async function withRetries(
  connection: Connection,
  resource: Resource,
  send: () => Promise<Response | Failure>,
): Promise<Response> {
  for (let attempt = 1; ; attempt++) {
    const outcome = await send();
    if (outcome instanceof Response) return outcome;
    if (!outcome.transient || attempt > connection.retries) throw outcome.error;
    await pause(connection, resource, pauseSeconds(attempt, outcome));
  }
}

/** Waits between attempts. Throws `cancelled` when the signal aborts. */
export async function pause(connection: Connection, resource: Resource, seconds: number): Promise<void> {
  try {
    await connection.sleep(seconds * 1000, connection.signal);
  } catch (error) {
    throw toFailure(error, resource, connection.signal).error;
  }
  if (connection.signal?.aborted) throw cancelled(resource, connection.signal.reason);
}

/** 1, 2, 4, … 60 seconds, or what the server asks for. */
export const pauseSeconds = (attempt: number, { waitSeconds = 0 }: Failure): number =>
  Math.max(waitSeconds, Math.min(60, 2 ** (attempt - 1)));

async function tryOnce(connection: Connection, resource: Resource, url: string): Promise<Response | Failure> {
  try {
    const { response } = await request(connection, url, { headers: { accept: "application/json" } });
    if (!response.ok) {
      await response.body?.cancel();
      return responseFailure(response, resource);
    }
    const body = await readBounded(response, MAX_API_BYTES);
    if (body === undefined)
      throw new MosError(
        "network",
        `${resource.endpoint} sent a response about ${resource.name} that is too large`,
      );
    return new Response(body, { headers: response.headers });
  } catch (error) {
    return toFailure(error, resource, connection.signal);
  }
}

/** The bytes of an answer; undefined where they are more than `max`, of which the rest is not read. */
export async function readBounded(response: Response, max: number): Promise<Uint8Array | undefined> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  // Safari's streams are not iterable
  const reader = response.body?.getReader();
  for (let part = await reader?.read(); part?.done === false; part = await reader?.read()) {
    size += part.value.byteLength;
    if (size > max) {
      await reader?.cancel();
      return undefined;
    }
    chunks.push(part.value);
  }
  return concatBytes(chunks);
}

/** Where a redirect leads. Throws `network` for anything but http, and for what is not encrypted where the start was. */
export function redirectTarget(location: string, from: URL): URL {
  const target = URL.canParse(location, from.href) ? new URL(location, from) : undefined;
  const secure = target?.protocol === "https:" || (target?.protocol === "http:" && from.protocol === "http:");
  if (target === undefined || !secure)
    throw new MosError("network", `${from.origin} redirects to an address that is not safe to follow`);
  return target;
}
