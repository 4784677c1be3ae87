// Routes for supervisors, load balancers, Prometheus and readers of the API.
import { createRoute, z } from "@hono/zod-openapi";
import { html } from "hono/html";
import { authenticate } from "../auth.ts";
import type { ServerApp } from "../context.ts";
import { needsAdmin } from "../errors.ts";
import { ok, route } from "../route.ts";
import { authorizationOf } from "../session.ts";

const state = <const T extends readonly [string, ...string[]]>(...statuses: T) =>
  z.object({ status: z.enum(statuses) });
const problem = <const T extends readonly [string, ...string[]]>(...statuses: T) =>
  state(...statuses).extend({ reason: z.string() });

const healthRoute = createRoute({
  method: "get",
  path: "/health",
  summary: "Liveness probe: process and engine",
  responses: {
    200: ok(state("up"), "Both are up."),
    503: ok(problem("broken", "stuck"), "The engine has exited or does not respond."),
  },
});

const readyRoute = createRoute({
  method: "get",
  path: "/ready",
  summary: "Readiness probe: accepting requests",
  responses: {
    200: ok(state("ready"), "Requests are accepted."),
    503: ok(problem("draining", "broken", "stuck", "storage_unavailable"), "Requests are not accepted."),
  },
});

const metricsRoute = route({
  method: "get",
  path: "/metrics",
  summary: "Prometheus metrics (administrators)",
  ok: [z.string(), "Metrics in Prometheus' text format."],
  type: "text/plain",
  answer: async ({ server, record, context }) => {
    // labels name adapters, so where there are keys only administrators see them, unless the operator publishes them
    if (server.keys !== undefined && server.publicMetrics !== true) {
      const key = await authenticate(server, authorizationOf(context));
      record.keyName = key.name;
      server.rateLimiter(key);
      if (!key.isAdmin) throw needsAdmin("metrics name the adapters of all tenants; use an admin key");
    }
    server.engineWatch.check();
    const { type, text } = await server.metrics.render();
    return context.text(text, 200, { "content-type": type });
  },
});

export function operationRoutes(app: ServerApp): void {
  // a busy engine is up; one that is gone needs a restart, and so may one that does not answer
  app.openapi(healthRoute, (context) => {
    const { problem } = context.var.server.engineWatch;
    return problem === undefined ? context.json({ status: "up" as const }, 200) : context.json(problem, 503);
  });
  app.openapi(readyRoute, async (context) => {
    const { inFlight, engineWatch, storageWatch } = context.var.server;
    if (inFlight.leaving)
      return context.json({ status: "draining" as const, reason: "the server is shutting down" }, 503);
    if (engineWatch.problem !== undefined) return context.json(engineWatch.problem, 503);
    const reason = await storageWatch();
    return reason === undefined
      ? context.json({ status: "ready" as const }, 200)
      : context.json({ status: "storage_unavailable" as const, reason }, 503);
  });
  metricsRoute(app);
  app.get("/", (context) => {
    context.header("vary", "accept");
    const wantsPage = context.req.header("accept")?.includes("text/html") === true;
    const { modelName, studio } = context.var.server;
    const hasPage = studio?.files.has("index.html") === true;
    // relative: a proxy may have put the server below a path
    if (wantsPage) return context.redirect(hasPage ? "studio/" : "docs");
    return context.json({
      name: "mixture-of-shards",
      model: modelName,
      ...(hasPage ? { studio: "studio/" } : {}),
      docs: "docs",
      openapi: "openapi.json",
      api: "v1",
      health: "health",
      ready: "ready",
      metrics: "metrics",
    });
  });
  let document: object | undefined;
  app.get("/openapi.json", (context) => {
    document ??= openApiDocument(app);
    return context.json(document);
  });
  app.get("/docs", (context) => context.html(docsPage(app, context.var.server.modelName)));
}

/** A route's path as the document writes it, without the pattern of a parameter. */
const documentPath = (path: string): string => path.replace(/\{(\w+)\{[^{}]*\}\}/, "{$1}");

/** The keywords of JSON Schema by which fields are declared. */
interface FieldSchema {
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly FieldSchema[];
  readonly items?: FieldSchema;
  readonly properties?: Readonly<Record<string, FieldSchema>>;
  readonly required?: readonly string[];
}

const orNull = (schema: FieldSchema): FieldSchema => ({
  ...schema,
  ...(schema.type === undefined ? {} : { type: [...new Set([schema.type, "null"].flat())] }),
  ...(schema.enum === undefined ? {} : { enum: [...schema.enum, null] }),
  ...(schema.anyOf === undefined ? {} : { anyOf: [...schema.anyOf, { type: "null" }] }),
});

/** A request's schema with null for whatever may be left out: routes see bodies without their nulls. */
function withNulls(schema: FieldSchema): FieldSchema {
  const { properties = {}, required = [], items, anyOf } = schema;
  const fields = Object.entries(properties).map(([name, field]) => {
    const full = withNulls(field);
    return [name, required.includes(name) ? full : orNull(full)];
  });
  return {
    ...schema,
    ...(fields.length === 0 ? {} : { properties: Object.fromEntries(fields) }),
    ...(items === undefined ? {} : { items: withNulls(items) }),
    ...(anyOf === undefined ? {} : { anyOf: anyOf.map(withNulls) }),
  };
}

function openApiDocument(app: ServerApp): object {
  app.openAPIRegistry.registerComponent("securitySchemes", "key", { type: "http", scheme: "bearer" });
  const apiKey = { type: "apiKey", in: "header", name: "x-api-key" } as const;
  app.openAPIRegistry.registerComponent("securitySchemes", "apiKey", apiKey);
  const document = app.getOpenAPI31Document({
    openapi: "3.1.0",
    info: {
      title: "mixture-of-shards",
      version: "1",
      description:
        "OpenAI's and Anthropic's API for a base model and its adapters. Requests name an adapter, or the base, as model.",
    },
  });
  const paths = Object.entries(document.paths ?? {}).map(([path, item]) => [documentPath(path), item]);
  const { schemas = {} } = document.components ?? {};
  for (const [name, schema] of Object.entries(schemas))
    if (name.endsWith("Request")) schemas[name] = withNulls(schema as FieldSchema) as typeof schema;
  return { ...document, paths: Object.fromEntries(paths) };
}

/** The routes that an app has, as the document and the page of routes name them. */
export const documentedRoutes = ({ openAPIRegistry }: Pick<ServerApp, "openAPIRegistry">) =>
  openAPIRegistry.definitions.flatMap((definition) => {
    if (definition.type !== "route") return [];
    const { method, path, summary = "" } = definition.route;
    return [{ method: method.toUpperCase(), path: documentPath(path), summary }];
  });

/** The routes as a page that loads nothing from elsewhere. */
function docsPage(app: ServerApp, modelName: string) {
  const rows = documentedRoutes(app).map(
    ({ method, path, summary }) =>
      html`<tr><td><code>${method} ${path}</code></td><td>${summary}</td></tr>\n`,
  );
  return html`<!doctype html><html lang="en"><head><meta charset="utf-8"><title>mos serve</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}td{padding:.2rem 1rem .2rem 0;vertical-align:top}</style>
</head><body><h1>mos serve</h1><p>Base model: <code>${modelName}</code>. <code>GET /v1/models</code> lists
its adapters. Request and response schemas: <a href="openapi.json">openapi.json</a>.</p>
<table>${rows}</table></body></html>\n`;
}
