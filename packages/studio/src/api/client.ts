// Requests to the API, typed by its OpenAPI document, and relative to this page: a proxy may have put the server below a path.
import { isProxyProblem, lost } from "./connection.ts";
import { ApiProblem, isAbort, readProblem, UNREACHABLE } from "./problem.ts";
import type { paths } from "./schema.d.ts";
import { nextSignIn, SESSION_HEADER } from "./session.ts";
import { eventsOf } from "./stream.ts";

type Method = "get" | "post" | "put" | "patch" | "delete";

/** Paths of the API that have a method. */
type PathOf<M extends Method> = {
  [P in keyof paths]: paths[P] extends Record<M, { responses: object }> ? P : never;
}[keyof paths];

type Operation<P extends keyof paths, M extends Method> = Exclude<paths[P][M & keyof paths[P]], undefined>;

/** The body of an answer, by path and method; unknown where it is not JSON. */
export type JsonOf<P extends keyof paths, M extends Method = "get"> =
  Operation<P, M> extends { responses: infer Answers }
    ? {
        [S in keyof Answers & (200 | 201)]: Answers[S] extends { content: { "application/json": infer Body } }
          ? Body
          : unknown;
      }[keyof Answers & (200 | 201)]
    : never;

type Values = Readonly<Record<string, string | number | boolean | undefined>>;

interface RequestOptions {
  /** What stands for `{name}` in the path. */
  readonly params?: Readonly<Record<string, string>>;
  readonly query?: Values;
  readonly signal?: AbortSignal | undefined;
  readonly headers?: Readonly<Record<string, string>>;
}

interface BodyOptions extends RequestOptions {
  /** Sent as JSON, a form as it is. */
  readonly body?: unknown;
}

/** The address of a path of the API, relative to this page. */
export function toUrl(path: string, { params = {}, query = {} }: RequestOptions = {}): string {
  const filled = path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(params[name] ?? ""));
  const known = Object.entries(query).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, String(value)] as [string, string]],
  );
  const search = new URLSearchParams(known).toString();
  return `${filled.startsWith("/") ? `..${filled}` : filled}${search === "" ? "" : `?${search}`}`;
}

function toInit(method: string, { body, headers, signal }: BodyOptions): RequestInit {
  const isForm = body instanceof FormData || body instanceof Blob;
  return {
    method,
    headers: {
      ...SESSION_HEADER,
      ...(body === undefined || isForm ? {} : { "content-type": "application/json" }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: isForm ? body : JSON.stringify(body) }),
    signal: signal ?? null,
  };
}

async function reach(url: string, init: RequestInit): Promise<Response> {
  let answer: Response | undefined;
  try {
    answer = await fetch(url, init);
  } catch (error) {
    if (isAbort(error)) throw error;
  }
  if (answer !== undefined && !isProxyProblem(answer)) return answer;
  lost();
  throw new ApiProblem("the server cannot be reached", { status: answer?.status ?? UNREACHABLE });
}

/** The answer to a request, once somebody has signed in if it needs a key. Throws an ApiProblem for any but a good one. */
async function answerTo(method: string, path: string, options: BodyOptions = {}): Promise<Response> {
  const url = toUrl(path, options);
  for (;;) {
    const answer = await reach(url, toInit(method, options));
    if (answer.ok) return answer;
    const problem = await readProblem(answer);
    if (answer.status !== 401) throw problem;
    await nextSignIn(options.signal);
  }
}

async function send(method: string, path: string, options?: BodyOptions): Promise<unknown> {
  const answer = await answerTo(method, path, options);
  if (answer.status === 204) return undefined;
  const isJson = answer.headers.get("content-type")?.includes("json") === true;
  return isJson ? answer.json() : answer.text();
}

const typed =
  <M extends Method>(method: M) =>
  <P extends PathOf<M>>(path: P, options?: BodyOptions): Promise<JsonOf<P, M>> =>
    send(method.toUpperCase(), path, options) as Promise<JsonOf<P, M>>;

async function* stream(path: string, options: BodyOptions = {}): AsyncGenerator<unknown> {
  const method = options.body === undefined ? "GET" : "POST";
  const answer = await answerTo(method, path, {
    ...options,
    headers: { accept: "text/event-stream", ...options.headers },
  });
  yield* eventsOf(answer);
}

/** The API. Paths are as its document writes them, such as `/v1/models/{model}`. */
export const api = {
  get: typed("get"),
  post: typed("post"),
  put: typed("put"),
  patch: typed("patch"),
  delete: typed("delete"),
  /** The events of a stream, as JSON; also those of a POST. Throws an ApiProblem for an event that is an error. */
  stream,
  /** The answer itself, to download it for example. */
  answer: answerTo,
  /** JSON of a path that the document does not have. */
  send,
};
