// /v1/fine_tuning/jobs: jobs, what happens in them, and their checkpoints.

import { setTimeout as sleep } from "node:timers/promises";
import { createRoute, z } from "@hono/zod-openapi";
import {
  ApiError,
  type ApiKey,
  checkedBy,
  failed,
  ok,
  security,
  streamEvents,
} from "mixture-of-shards/server";
import { storable } from "#database";
import {
  hasEnded,
  type JobRequest,
  type JobRow,
  type Jobs,
  jobRequestSchema,
  type Owner,
  toLimits,
} from "#store";
import { checkedJob } from "./checked-job.ts";
import {
  checkpointSchema,
  eventSchema,
  jobSchema,
  pageQuery,
  pageSchema,
  toCheckpointObject,
  toEventObject,
  toJobObject,
  toListObject,
} from "./serializers.ts";
import { type AddRoutes, type ServiceEnv, toOwner, withHttpErrors } from "./service-env.ts";
import { storedBody } from "./stored-body.ts";

const path = "/v1/fine_tuning/jobs";
const params = z.object({ id: z.string().max(200) });
const answers = { 200: ok(jobSchema, "The job."), default: failed };

const createJobRoute = createRoute({
  method: "post",
  path,
  summary: "Create a fine-tuning job",
  description:
    "Repeating a request with the same Idempotency-Key returns the job that the first one created.",
  security,
  middleware: storedBody,
  request: {
    headers: z.object({ "idempotency-key": z.string().min(1).max(255).optional() }),
    body: { content: { "application/json": { schema: jobRequestSchema } } },
  },
  responses: answers,
});

const listRoute = createRoute({
  method: "get",
  path,
  summary: "List fine-tuning jobs",
  security,
  request: { query: z.object(pageQuery({ standard: 20, most: 100 })) },
  responses: { 200: ok(pageSchema(jobSchema), "A page, newest first."), default: failed },
});

const getRoute = createRoute({
  method: "get",
  path: `${path}/{id}`,
  summary: "Retrieve a fine-tuning job",
  security,
  request: { params },
  responses: answers,
});

const change = (what: "cancel" | "pause" | "resume", summary: string) =>
  createRoute({
    method: "post",
    path: `${path}/{id}/${what}`,
    summary,
    security,
    request: { params },
    responses: answers,
  });

const CHANGES = {
  cancel: change("cancel", "Cancel a fine-tuning job"),
  pause: change("pause", "Pause a fine-tuning job"),
  resume: change("resume", "Resume a paused fine-tuning job"),
} as const;

const eventsRoute = createRoute({
  method: "get",
  path: `${path}/{id}/events`,
  summary: "List the events of a job, or stream them with stream=true",
  security,
  request: {
    params,
    query: z.object({
      ...pageQuery({ standard: 20, most: 1000 }),
      stream: z.enum(["true", "false"]).optional(),
    }),
  },
  responses: {
    200: ok(
      pageSchema(eventSchema),
      "A page of events, newest first; with stream=true, server-sent events from the first one on.",
    ),
    default: failed,
  },
});

const checkpointsRoute = createRoute({
  method: "get",
  path: `${path}/{id}/checkpoints`,
  summary: "List the checkpoints of a job, each usable as a model",
  security,
  request: { params, query: z.object(pageQuery({ standard: 10, most: 100 })) },
  responses: { 200: ok(pageSchema(checkpointSchema), "A page, newest first."), default: failed },
});

interface Creation {
  readonly request: JobRequest;
  readonly key: ApiKey;
  readonly idempotencyKey: string | undefined;
}

async function createJob(service: ServiceEnv, { request, key, idempotencyKey }: Creation): Promise<JobRow> {
  const { jobs } = service;
  const { name: tenant } = key;
  const repeated =
    idempotencyKey === undefined ? undefined : await jobs.repeated({ tenant, request, idempotencyKey });
  if (repeated !== undefined) return repeated;
  const job = await checkedJob(service, { request, owner: toOwner(key) });
  return jobs.create({ ...job, tenant, limits: toLimits(key), idempotencyKey, sent: request });
}

/** `metadata[team]=a` of a query; "none" for `metadata=null`. */
function metadataFilter(
  query: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> | "none" | undefined {
  if (query["metadata"] === "null") return "none";
  const pairs = Object.entries(query).flatMap(([name, value]) => {
    const key = /^metadata\[(.{1,64})\]$/.exec(name)?.[1];
    return key === undefined ? [] : [[storable(key), storable(value)] as const];
  });
  return pairs.length === 0 ? undefined : Object.fromEntries(pairs);
}

/** Events from the first one on, as they happen, until the job has ended or the client has left. */
async function* liveEvents(jobs: Jobs, job: JobRow, owner: Owner): AsyncGenerator<object | undefined, void> {
  let number = 0;
  for (;;) {
    // before its events: none comes after the end
    const now = await jobs.job(owner, job.id);
    const events = await jobs.eventsSince(job, number);
    for (const event of events) yield toEventObject(event);
    number = events.at(-1)?.number ?? number;
    if (events.length > 0) continue;
    if (hasEnded(now)) return;
    await sleep(1000);
    yield undefined; // shows a client that has left
  }
}

/** Live streams that a tenant may have at a time: each asks the database every second. */
const MAX_STREAMS = 20;

/** Counts the streams of each tenant. The function that it gives counts one until what that returns is called. */
function countStreams(): (tenant: string) => () => void {
  const counts = new Map<string, number>();
  return (tenant) => {
    const count = counts.get(tenant) ?? 0;
    if (count >= MAX_STREAMS)
      throw new ApiError(`too many event streams (${MAX_STREAMS}); close one first`, {
        status: 429,
        code: "rate_limit_exceeded",
        retryAfter: 30,
      });
    counts.set(tenant, count + 1);
    return () => {
      const left = (counts.get(tenant) ?? 1) - 1;
      if (left > 0) counts.set(tenant, left);
      else counts.delete(tenant);
    };
  };
}

export const jobRoutes: AddRoutes = (app, service) => {
  const { jobs } = service;
  const enterStream = countStreams();
  app.openapi(
    createJobRoute,
    async (context) => {
      const { key, server } = context.var;
      const job = await withHttpErrors(
        createJob(service, {
          request: context.req.valid("json"),
          key,
          idempotencyKey: context.req.valid("header")["idempotency-key"],
        }),
      );
      return context.json(toJobObject(job, server.now()), 200);
    },
    checkedBy(jobRequestSchema),
  );
  app.openapi(listRoute, async (context) => {
    const { key, server } = context.var;
    const page = { ...context.req.valid("query"), metadata: metadataFilter(context.req.query()) };
    const { rows, hasMore } = await withHttpErrors(jobs.jobs(toOwner(key), page), "after");
    return context.json(
      toListObject(
        rows.map((job) => toJobObject(job, server.now())),
        hasMore,
      ),
      200,
    );
  });
  app.openapi(getRoute, async (context) => {
    const { key, server } = context.var;
    const job = await withHttpErrors(jobs.job(toOwner(key), context.req.valid("param").id));
    return context.json(toJobObject(job, server.now()), 200);
  });
  for (const what of ["cancel", "pause", "resume"] as const)
    app.openapi(CHANGES[what], async (context) => {
      const { key, server } = context.var;
      const job = await withHttpErrors(jobs[what](toOwner(key), context.req.valid("param").id));
      return context.json(toJobObject(job, server.now()), 200);
    });
  app.openapi(eventsRoute, async (context) => {
    const owner = toOwner(context.var.key);
    const job = await withHttpErrors(jobs.job(owner, context.req.valid("param").id));
    const { stream, ...page } = context.req.valid("query");
    if (stream === "true") {
      const leaveStream = enterStream(owner.tenant);
      return streamEvents(context, liveEvents(jobs, job, owner), leaveStream) as never;
    }
    const { rows, hasMore } = await withHttpErrors(jobs.events(job, page), "after");
    return context.json(toListObject(rows.map(toEventObject), hasMore), 200);
  });
  app.openapi(checkpointsRoute, async (context) => {
    const job = await withHttpErrors(jobs.job(toOwner(context.var.key), context.req.valid("param").id));
    const { rows, hasMore } = await withHttpErrors(
      jobs.checkpoints(job, context.req.valid("query")),
      "after",
    );
    return context.json(toListObject(rows.map(toCheckpointObject), hasMore), 200);
  });
};
