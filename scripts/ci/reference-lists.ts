// The lists of routes, metrics and error codes in the documents, made from what the code declares. A document marks a place by
//   <!-- routes: server -->   or service
//   <!-- metrics: server -->   or service
//   <!-- error codes -->
// and an end, such as <!-- end of routes -->. `npm run options` writes them anew.
import { readFileSync } from "node:fs";
import { OpenAPIHono } from "@hono/zod-openapi";
import { addServiceRoutes, type ServiceEnv } from "../../packages/service/src/api/index.ts";
import { createMetrics as createServiceMetrics } from "../../packages/service/src/operations/metrics.ts";
import { ROUTES } from "../../src/server/app.ts";
import type { ServerEnv } from "../../src/server/context.ts";
import { createMetrics } from "../../src/server/metrics.ts";
import { documentedRoutes } from "../../src/server/routes/operations.ts";

type Part = "server" | "service";

/** `- GET /v1/models: List the models`, in the order of the paths. */
function routeList(part: Part): string {
  const app = new OpenAPIHono<ServerEnv>();
  if (part === "server") for (const addTo of ROUTES) addTo(app);
  // only a request reads what the routes are given
  else addServiceRoutes(app, {} as ServiceEnv);
  return documentedRoutes(app)
    .map(({ method, path, summary }) => `- \`${method} ${path}\`: ${summary}`)
    .join("\n");
}

const idle = {
  waiting: 0,
  running: 0,
  waitingAdapters: {},
  runningAdapters: {},
  maxBatch: 1,
  steps: 0,
  decodedTokens: 0,
  promptTokens: 0,
  completionTokens: 0,
  adapters: {
    registered: 0,
    resident: 0,
    residentBytes: 0,
    residentLimit: 0,
    active: 0,
    activeBytes: 0,
    hits: 0,
    misses: 0,
    evictions: 0,
    loads: 0,
    loadSeconds: 0,
    failures: 0,
  },
};

/** What Prometheus would read of a process that has done nothing. */
async function exposition(part: Part): Promise<string> {
  if (part === "server") {
    const engine = { stats: async () => idle };
    return (await createMetrics({ engine, modelName: "base", now: () => 0 }).render()).text;
  }
  const read = async () => ({ jobs: [], workers: [], deliveries: 0 });
  return createServiceMetrics().render({ read, model: "base" });
}

async function metricList(part: Part): Promise<string> {
  const text = await exposition(part);
  return [...text.matchAll(/^# HELP (\S+) (.*)\n# TYPE \S+ (\w+)$/gm)]
    .map(([, name, help, type]) => `- \`${name}\` (${type}): ${help}`)
    .join("\n");
}

const METRICS = { server: await metricList("server"), service: await metricList("service") };

/** The union of codes with the comment of each. */
function errorCodeList(): string {
  const source = readFileSync("src/core/error.ts", "utf8");
  return [...source.matchAll(/^ {2}\| "(\w+)";? \/\/ (.*)$/gm)]
    .map(([, code, meaning]) => `- \`${code}\`: ${meaning}`)
    .join("\n");
}

const between = (name: string, list: string): string => `${name}\n${list}\n`;

/** A document with its lists as they should be. */
export const withReferenceLists = (markdown: string): string =>
  markdown
    .replace(/(<!-- routes: (server|service) -->)\n[\s\S]*?(?=<!-- end of routes -->)/g, (_, place, part) =>
      between(place, routeList(part)),
    )
    .replace(/(<!-- metrics: (server|service) -->)\n[\s\S]*?(?=<!-- end of metrics -->)/g, (_, place, part) =>
      between(place, METRICS[part as Part]),
    )
    .replace(/(<!-- error codes -->)\n[\s\S]*?(?=<!-- end of error codes -->)/g, (_, place) =>
      between(place, errorCodeList()),
    );
