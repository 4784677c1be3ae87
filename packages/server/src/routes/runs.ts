// /v1/runs: training runs and what they measured, of run folders and of the service's jobs.
import { createHash } from "node:crypto";
import { z } from "@hono/zod-openapi";
import { ApiError } from "../errors.ts";
import { pages, idParams as params, route, wholeNumber } from "../route.ts";
import { metricsSchema, runSchema } from "../runs/run.ts";

/** Without the run's name, which another tenant's may be. */
const missing = (id: string, param = "id", status = 404): ApiError =>
  new ApiError(
    `there is no run ${JSON.stringify(id.slice(0, 100))} that you have access to; GET /v1/runs lists them`,
    { status, code: status === 404 ? "not_found" : "invalid_value", param },
  );

export const runRoutes = [
  route({
    method: "get",
    path: "/v1/runs",
    summary: "List training runs, the newest first",
    description:
      "Jobs that the key may see and, for administrators or without keys, run folders below the server's --runs.",
    query: z.object(pages.query({ standard: 100, most: 1000 })),
    ok: [pages.schema(runSchema), "A page."],
    responses: { 304: { description: "It is as the If-None-Match of the request says." } },
    answer: async ({ query, server, key, context }) => {
      const page = await server.runs.list(key, query);
      if (page === undefined) throw missing(query.after ?? "", "after", 400);
      // pages ask every few seconds, and hundreds of runs are most often as they were
      const text = JSON.stringify(pages.json(page.data, page.hasMore));
      const etag = `"${createHash("sha256").update(text).digest("base64url").slice(0, 24)}"`;
      context.header("etag", etag);
      context.header("cache-control", "private, no-cache");
      if (context.req.header("if-none-match") === etag) return context.body(null, 304);
      return context.body(text, 200, { "content-type": "application/json" });
    },
  }),
  route({
    method: "get",
    path: "/v1/runs/{id}",
    summary: "Retrieve a training run",
    params,
    ok: [runSchema, "The run."],
    answer: async ({ params: { id }, server, key }) => {
      const run = await server.runs.find(key, id);
      if (run === undefined) throw missing(id);
      return run;
    },
  }),
  route({
    method: "get",
    path: "/v1/runs/{id}/metrics",
    summary: "Retrieve what a training run measured, in columns",
    description:
      "Of more rows than points, those with the least and the greatest values of neighbours are kept, each as it was measured.",
    params,
    query: z.object({
      from_step: wholeNumber(0, 1e9).default(0).describe("The first step to return."),
      to_step: wholeNumber(0, 1e9).default(1e9).describe("The last step to return."),
      points: wholeNumber(10, 20_000).default(2000).describe("Rows of training, and of validation, at most."),
    }),
    ok: [metricsSchema, "The measurements."],
    answer: async ({
      params: { id },
      query: { from_step: fromStep, to_step: toStep, points },
      server,
      key,
    }) => {
      const metrics = await server.runs.metrics(key, { id, fromStep, toStep, points });
      if (metrics === undefined) throw missing(id);
      return metrics;
    },
  }),
];
