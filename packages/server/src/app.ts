// The server as an app: its routes, and what happens around each of them.
import { OpenAPIHono, z } from "@hono/zod-openapi";
import type { MiddlewareHandler, Next } from "hono";
import { cors } from "hono/cors";
import { matchedRoutes } from "hono/route";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { type ApiKey, authenticate, checkHost, checkSite, jobKey, tenantKey } from "./auth.ts";
import {
  createContext,
  type RequestContext,
  type ServerApp,
  type ServerContext,
  type ServerEnv,
  type ServerOptions,
} from "./context.ts";
import { ApiError } from "./errors.ts";
import type { ListeningServer } from "./http.ts";
import { MESSAGES_PATH, toMessageError } from "./messages/errors.ts";
import { createRecord, logFields } from "./metrics.ts";
import { checkedBy } from "./request.ts";
import type { AddRoute } from "./route.ts";
import { adapterContentRoutes } from "./routes/adapter-content.ts";
import { adapterRoutes } from "./routes/adapters.ts";
import { chatRoute } from "./routes/chat.ts";
import { compactionRoute } from "./routes/compaction.ts";
import { completionRoute } from "./routes/completions.ts";
import { embeddingRoute } from "./routes/embeddings.ts";
import { keyRoutes } from "./routes/keys.ts";
import { messageRoutes } from "./routes/messages.ts";
import { modelRoutes } from "./routes/models.ts";
import { operationRoutes } from "./routes/operations.ts";
import { responseRoutes } from "./routes/responses.ts";
import { runRoutes } from "./routes/runs.ts";
import { studioRoutes } from "./routes/studio.ts";
import { systemRoute } from "./routes/system.ts";
import { authorizationOf } from "./session.ts";

export const ROUTES: readonly AddRoute[] = [
  ...[chatRoute, completionRoute, compactionRoute, ...responseRoutes, ...messageRoutes, embeddingRoute],
  ...[...modelRoutes, ...adapterRoutes, ...adapterContentRoutes, ...keyRoutes, ...runRoutes],
  ...[systemRoute, operationRoutes, studioRoutes],
];

/** The server without a port: `app.request` answers, and `listen` gives it one. */
export interface ApiServer extends Required<ListeningServer> {
  readonly app: ServerApp;
}

/**
 * An OpenAI-compatible server in front of an engine.
 *
 * @example
 * const server = createServer({ engine, modelName: "base", log, now: monotonicNow, nextSeed: () => 0 });
 * await server.app.request("/v1/models");
 */
export function createServer(options: ServerOptions): ApiServer {
  const server = createContext(options);
  logRefused(options);
  const app = new OpenAPIHono<ServerEnv>({ defaultHook: checkedBy(z.object({})) });
  app.use("*", (context, next) => recorded(server, context, next));
  app.use("*", async (context, next) => {
    checkHost(server.hosts, context.req.url);
    await next();
  });
  if (server.cors !== undefined) app.use("*", crossOrigin(server.cors));
  app.use("/v1/*", async (context, next) => {
    const { isNested = false, isForJob = false } = context.env ?? {};
    const authorization = authorizationOf(context);
    const found =
      (await jobKey(server, { authorization, path: context.req.path })) ??
      (await authenticate(server, authorization));
    const key = extendKey(isForJob ? await tenantKey(server, found.name) : found, server);
    context.var.record.keyName = key.name;
    if (!isNested)
      for (const [name, value] of Object.entries(server.rateLimiter(key))) context.header(name, value);
    context.set("key", key);
    await next();
  });
  app.use("/v1/*", async (context, next) => {
    if (context.req.method === "GET") return await next();
    checkSite(context.req, server.cors);
    server.engineWatch.check();
    // so that it can be limited, cancelled and waited for; a stream ends it itself
    const running = server.inFlight.begin(context.req.raw.signal);
    try {
      if (context.env?.isNested !== true) running.atEnd(server.concurrencyLimiter(context.var.key));
      context.set("running", running);
      await next();
    } finally {
      if (!context.var.record.isStream) running.end();
    }
  });
  app.onError((error, context) => failed(context, error));
  app.notFound((context) => failed(context, notFound(context)));
  for (const addTo of ROUTES) addTo(app);
  options.extension?.routes(app);
  refuseOtherMethods(app);
  return { app, inFlight: server.inFlight, limits: server.limits };
}

/** A key that may use the extension's models as that says, whatever adapters it may use beside them. */
function extendKey(key: ApiKey, { extension }: ServerContext): ApiKey {
  const { models } = extension ?? {};
  if (models === undefined) return key;
  const mayUse = (name: string): boolean => {
    const access = models.access(name, key);
    return access === undefined ? key.mayUse(name) : access !== "none";
  };
  return { ...key, mayUse };
}

/** Lets pages of other origins use the server. A browser's question before a request needs no key. */
const crossOrigin = (origins: readonly string[]): MiddlewareHandler<ServerEnv> =>
  cors({
    origin: origins.includes("*") ? "*" : [...origins],
    allowMethods: ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
    exposeHeaders: [
      ...["x-request-id", "retry-after", "x-should-retry"],
      ...["limit", "remaining", "reset"].flatMap((what) =>
        ["requests", "tokens"].map((unit) => `x-ratelimit-${what}-${unit}`),
      ),
    ],
    maxAge: 600,
  });

/** Names every folder that cannot be used, once for each reason. */
function logRefused({ engine, log }: Pick<ServerOptions, "engine" | "log">): void {
  let known = new Map<string, string>();
  const look = (): void => {
    const refused = engine.refusedAdapters();
    for (const { name, reason } of refused)
      if (known.get(name) !== reason)
        log.warn({ adapter: name, reason }, "the folder of this adapter cannot be used");
    known = new Map(refused.map(({ name, reason }) => [name, reason]));
  };
  engine.onAdapters(look);
  look();
}

/** Status in the log of a client that left before its answer, as nginx writes it; nobody receives it. */
const CLIENT_LEFT = 499;

/** What supervisors and Prometheus ask for every few seconds, and files of the studio's page: logged only where refused. */
const UNLOGGED: ReadonlySet<string> = new Set(["/health", "/ready", "/metrics", "/studio/{path}"]);

/** Tests whether a path is of Anthropic's API. */
const isMessages = (path: string): boolean => path === MESSAGES_PATH || path.startsWith(`${MESSAGES_PATH}/`);

/** Keeps the record of a request: an id on the answer, a line in the log, a count. */
async function recorded(server: ServerContext, context: RequestContext, next: Next): Promise<void> {
  const { now, log, metrics, inFlight, telemetry } = server;
  const { method, path } = context.req;
  const record = createRecord({ method, path, startedAt: now() });
  context.set("server", server);
  context.set("record", record);
  context.header("x-request-id", record.id);
  if (isMessages(path)) context.header("request-id", record.id);
  context.header("x-content-type-options", "nosniff");
  record.end = () => {
    if (record.isAborted) record.status = CLIENT_LEFT;
    metrics.ended(record);
    server.extension?.metrics?.ended(record, (now() - record.startedAt) / 1000);
    if (record.error === undefined && UNLOGGED.has(record.route)) return;
    const trace = telemetry?.ended(record, context.req.raw.headers);
    if (trace !== undefined) record.trace = trace;
    log.info(logFields(record, now()), "request");
  };
  await next();
  if (context.req.method === "HEAD") await context.res.body?.cancel(); // nobody will read it
  if (inFlight.draining) context.header("connection", "close");
  record.route = matchedRoute(context);
  record.status = context.res.status;
  if (record.isStream) return;
  record.isAborted = context.req.raw.signal.aborted;
  // not the error that ended its request
  if (record.isAborted) record.error = "client_left";
  record.end();
}

/** The pattern of the route that took a request, never the path that the client wrote. */
const matchedRoute = (context: RequestContext): string =>
  matchedRoutes(context)
    .map(({ path }) => path.replace(/:(\w+)\{[^{}]*\}/, "{$1}"))
    .findLast((path) => !path.endsWith("*")) ?? "none";

function failed(context: RequestContext, error: unknown): Response {
  const { server, record } = context.var;
  const answer = server.answerTo(error);
  const { headers, isServerFault } = answer;
  record.error = answer.body.error.code ?? answer.body.error.type;
  if (isServerFault && !context.req.raw.signal.aborted) {
    // what a client is told may leave out what was found, and where
    const cause = error instanceof ApiError ? (error.details.cause ?? error) : error;
    const reason = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
    server.log.error({ request: record.id, reason }, "a request failed");
  }
  const { status, body } = isMessages(context.req.path) ? toMessageError(answer, record.id) : answer;
  return context.json(body, status as ContentfulStatusCode, { ...headers });
}

/** Answers 405 where a path has routes, but none for the method. */
function refuseOtherMethods(app: ServerApp): void {
  const allowed = new Map<string, Set<string>>();
  for (const { path, method } of app.routes)
    if (method !== "ALL") allowed.set(path, (allowed.get(path) ?? new Set()).add(method));
  for (const [path, methods] of allowed)
    app.all(path, (context) => failed(context, wrongMethod(context, [...methods])));
}

const SERVICE_PATH = /^\/v1\/(files|fine_tuning|feedback|learning|aliases|webhooks|usage)(\/|$)/;
/** What to do about paths that clients ask for. */
const HINTS: readonly (readonly [path: RegExp, hint: string])[] = [
  [
    /^\/(chat|completions|embeddings|models|files|fine_tuning|responses|messages)(\/|$)/,
    "; end the client's base URL in /v1",
  ],
  [/^\/v1\/v1\//, "; end the client's base URL before /v1"],
  [/^\/v1\/messages\/batches(\/|$)/, ": this server has no batches; send the requests one by one"],
];
/** It also adds methods to this one. */
const MODEL_PATH = /^\/v1\/models(\/|$)/;
const SERVICE_METHODS: readonly string[] = ["POST", "DELETE"];

const SERVICE_HINT = "start it with mos serve --state FOLDER and the package mixture-of-shards-service";

/** How to get the service that a request needs; undefined where the server has it, or the request is none of its. */
const serviceHint = (
  { extension, serviceHint: hint = SERVICE_HINT }: ServerContext,
  needsService: boolean,
) => (extension === undefined && needsService ? hint : undefined);

function notFound({ req: { path }, var: { server } }: RequestContext): ApiError {
  const hint = serviceHint(server, SERVICE_PATH.test(path));
  const advice = HINTS.find(([of]) => of.test(path))?.[1] ?? "";
  const more =
    hint === undefined ? advice : `: this server does not accept files and fine-tuning jobs; ${hint}`;
  return new ApiError(`no route ${path.slice(0, 200)}${more}`, { status: 404, code: "unknown_url" });
}

function wrongMethod({ req, var: { server } }: RequestContext, allowed: readonly string[]): ApiError {
  const { method, path } = req;
  const possible = `${allowed.join(" and ")} ${allowed.length > 1 ? "are" : "is"}`;
  const hint = serviceHint(server, SERVICE_METHODS.includes(method) && MODEL_PATH.test(path));
  const more = hint && `. Only servers that accept fine-tuning jobs can change models; ${hint}`;
  return new ApiError(`${method} is not allowed; ${possible}${more ?? ""}`, {
    status: 405,
    code: "method_not_allowed",
    headers: { allow: allowed.join(", ") },
  });
}
