// The routes, and what happens around each of them: a record, a key, an answer to what goes wrong.
import { OpenAPIHono } from "@hono/zod-openapi";
import type { Context, Hono } from "hono";
import { matchedRoutes } from "hono/route";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { type Activity, createActivity } from "./activity.ts";
import { addAdapter, listAdapters, removeAdapter } from "./adapter-routes.ts";
import { createAdapterStore } from "./adapter-store.ts";
import { createAdmission } from "./admission.ts";
import { authenticate, checkHost } from "./authenticate.ts";
import { answerChat } from "./chat.ts";
import { answerCompletion } from "./completions.ts";
import type { ServerContext, ServerEnv, ServerOptions } from "./context.ts";
import { watchEngine } from "./engine-watch.ts";
import { answerHealth, answerReady } from "./health.ts";
import { defaultLimits, type ServerLimits } from "./limits.ts";
import { createMetrics } from "./metrics.ts";
import { describeModel, listModels } from "./models.ts";
import { docsPage, openApiDocument } from "./openapi.ts";
import { createPromptReader } from "./prompts.ts";
import { answerTo, Refusal } from "./refusal.ts";
import { createRecord, logFields } from "./request-record.ts";

/** The server without a port: `app.request` answers, and `listen` gives it one. */
export interface ApiServer {
  readonly app: Hono<ServerEnv>;
  readonly activity: Activity;
  readonly limits: ServerLimits;
}

/** A client that has left gets no status; this one, nginx's, stands in the log. */
const CLIENT_LEFT = 499;

function contextOf(options: ServerOptions): ServerContext {
  const { engine, text, modelName, now } = options;
  const limits = { ...defaultLimits, ...options.limits };
  return {
    ...options,
    limits,
    createdAt: Math.floor(now() / 1000),
    activity: createActivity(),
    engineWatch: watchEngine(engine),
    admission: createAdmission(now),
    prompts: createPromptReader(text, engine.model),
    metrics: createMetrics({ engine, modelName, now }),
    store: createAdapterStore({
      engine,
      modelName,
      folder: options.adapterFolder,
      check: options.checkAdapter,
    }),
  };
}

/**
 * An OpenAI-compatible server in front of an engine.
 *
 * @example
 * const server = createServer({ engine, text, modelName: "base", log, now: Date.now, nextSeed: () => 0 });
 * await server.app.request("/v1/models");
 */
export function createServer(options: ServerOptions): ApiServer {
  const server = contextOf(options);
  const app = new OpenAPIHono<ServerEnv>();
  app.use("*", (context, next) => recorded(server, context, next));
  app.use("*", async (context, next) => {
    checkHost(server, context);
    await next();
  });
  app.use("/v1/*", async (context, next) => {
    context.set("key", await authenticate(server, context));
    await next();
  });
  app.onError((error, context) => failed(server, context, error));
  app.notFound((context) =>
    failed(
      server,
      context,
      new Refusal(`there is nothing at ${context.req.path.slice(0, 200)}`, {
        status: 404,
        reason: "unknown_url",
      }),
    ),
  );
  addRoutes(app, server);
  return { app, activity: server.activity, limits: server.limits };
}

type Handler = (context: Context<ServerEnv>) => Response | Promise<Response>;
type Routes = Readonly<Record<string, Readonly<Record<string, Handler>>>>;

function addRoutes(app: OpenAPIHono<ServerEnv>, server: ServerContext): void {
  const document = openApiDocument(app);
  const routes: Routes = {
    "/v1/chat/completions": { POST: (context) => answerChat(server, context) },
    "/v1/completions": { POST: (context) => answerCompletion(server, context) },
    "/v1/models": { GET: (context) => context.json(listModels(server, context.get("key"))) },
    "/v1/models/:model{.+}": {
      GET: (context) => {
        const name = context.req.param("model") ?? "";
        return context.json(describeModel(server, { name, key: context.get("key") }));
      },
    },
    "/v1/adapters": {
      GET: (context) => context.json(listAdapters(server, context.get("key"))),
      POST: (context) => addAdapter(server, context),
    },
    "/v1/adapters/:name{.+}": { DELETE: (context) => removeAdapter(server, context) },
    "/health": { GET: (context) => answerHealth(server, context) },
    "/ready": { GET: (context) => answerReady(server, context) },
    "/metrics": { GET: (context) => showMetrics(server, context) },
    "/openapi.json": { GET: (context) => context.json(document) },
    "/docs": { GET: (context) => context.html(docsPage(server.modelName)) },
  };
  for (const [path, methods] of Object.entries(routes)) {
    for (const [method, handler] of Object.entries(methods)) app.on(method, path, handler);
    app.all(path, (context) => failed(server, context, wrongMethod(context, Object.keys(methods))));
  }
}

const wrongMethod = ({ req }: Context<ServerEnv>, allowed: readonly string[]): Refusal =>
  new Refusal(
    `${req.method} is not possible here; ${allowed.join(" and ")} ${allowed.length > 1 ? "are" : "is"}`,
    {
      status: 405,
      reason: "method_not_allowed",
      headers: { allow: allowed.join(", ") },
    },
  );

/** Labels name adapters, so where there are keys only administrators see them, or everybody by the operator's will. */
async function showMetrics(server: ServerContext, context: Context<ServerEnv>): Promise<Response> {
  if (server.keys !== undefined && server.publicMetrics !== true) {
    const { isAdmin } = await authenticate(server, context);
    if (!isAdmin)
      throw new Refusal("metrics name the adapters of all; use a key with admin: true", {
        status: 403,
        reason: "admin_key_required",
      });
  }
  const { type, text } = await server.metrics.render();
  return context.body(text, 200, { "content-type": type });
}

/** The pattern of the route that took a request, never the path that the client wrote. */
const routeOf = (context: Context<ServerEnv>): string =>
  matchedRoutes(context)
    .map(({ path }) => path.replace(/:(\w+)\{.*\}/, "{$1}"))
    .findLast((path) => !path.endsWith("*")) ?? "none";

/** Keeps the record of a request: an id on the answer, a line in the log, a count. */
async function recorded(
  { now, log, metrics, activity }: ServerContext,
  context: Context<ServerEnv>,
  next: () => Promise<void>,
): Promise<void> {
  const { method, path } = context.req;
  const record = createRecord({ method, path, now: now() });
  context.set("record", record);
  context.header("x-request-id", record.id);
  context.header("x-content-type-options", "nosniff");
  record.end = () => {
    if (record.isAborted) record.status = CLIENT_LEFT;
    metrics.ended(record);
    log.info(logFields(record, now()), "request");
  };
  await next();
  if (activity.draining) context.header("connection", "close");
  record.route = routeOf(context);
  record.status = context.res.status;
  if (record.isStream) return;
  record.isAborted = context.req.raw.signal.aborted;
  record.end();
}

function failed({ log, engineWatch }: ServerContext, context: Context<ServerEnv>, error: unknown): Response {
  const { status, body, headers, isOurs } = answerTo(engineWatch.explain(error));
  const record = context.get("record");
  record.error = body.error.code ?? body.error.type;
  if (isOurs && !context.req.raw.signal.aborted) {
    const reason = error instanceof Error ? (error.stack ?? error.message) : String(error);
    log.error({ request: record.id, reason }, "a request failed");
  }
  return context.json(body, status as ContentfulStatusCode, { ...headers });
}
