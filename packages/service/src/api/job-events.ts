// /v1/fine_tuning/jobs/{id}/events and checkpoints: the course of a job, also as a live stream.
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "@hono/zod-openapi";
import { ApiError, apiRoute, ok, streamEvents } from "mixture-of-shards/server";
import type { Owner } from "#database";
import { type CheckpointRow, type EventRow, hasEnded, type JobRow, type JobStore } from "#store";
import { showMeasurement, showMetrics } from "./measurements.ts";
import { type AddRoutes, addRoute, pageQuery, pageSchema, seconds, toListObject, toOwner } from "./routes.ts";

const path = "/v1/fine_tuning/jobs";
const params = z.object({ id: z.string().max(200) });

/** An event. */
const eventSchema = z
  .object({
    id: z.string(),
    object: z.literal("fine_tuning.job.event"),
    created_at: z.int(),
    level: z.enum(["info", "warn", "error"]),
    message: z.string(),
    type: z.enum(["message", "metrics"]),
    data: z.record(z.string(), z.unknown()).optional(),
  })
  .openapi("FineTuningJobEvent");

const toEventObject = (event: EventRow, job: JobRow): z.output<typeof eventSchema> => ({
  id: event.id,
  object: "fine_tuning.job.event",
  created_at: seconds(event.created_at),
  level: event.level,
  message: event.message,
  type: event.type,
  ...(event.data === null ? {} : showMeasurement(event.data, job)),
});

/** A checkpoint. */
const checkpointSchema = z
  .object({
    id: z.string(),
    object: z.literal("fine_tuning.job.checkpoint"),
    created_at: z.int(),
    fine_tuned_model_checkpoint: z.string(),
    fine_tuning_job_id: z.string(),
    step_number: z.int(),
    metrics: z.record(z.string(), z.number()),
  })
  .openapi("FineTuningJobCheckpoint");

const toCheckpointObject = (checkpoint: CheckpointRow): z.output<typeof checkpointSchema> => ({
  id: checkpoint.id,
  object: "fine_tuning.job.checkpoint",
  created_at: seconds(checkpoint.created_at),
  fine_tuned_model_checkpoint: checkpoint.model,
  fine_tuning_job_id: checkpoint.job,
  step_number: checkpoint.step,
  metrics: showMetrics(checkpoint),
});

const eventsRoute = apiRoute({
  method: "get",
  path: `${path}/{id}/events`,
  summary: "List the events of a job, or stream them with stream=true",
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
  },
});

const checkpointsRoute = apiRoute({
  method: "get",
  path: `${path}/{id}/checkpoints`,
  summary: "List the checkpoints of a job, each usable as a model",
  request: { params, query: z.object(pageQuery({ standard: 10, most: 100 })) },
  responses: { 200: ok(pageSchema(checkpointSchema), "A page, newest first.") },
});

/** Events from the first one on, as they happen, until the job has ended or the client has left. */
async function* liveEvents(
  jobs: JobStore,
  job: JobRow,
  owner: Owner,
): AsyncGenerator<object | undefined, void> {
  let number = 0;
  for (;;) {
    // before its events: none comes after the end
    const now = await jobs.find(owner, job.id);
    const events = await jobs.eventsSince(job, number);
    for (const event of events) yield toEventObject(event, now);
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

export const jobEventRoutes: AddRoutes = (app, { jobs, models }) => {
  const enterStream = countStreams();
  addRoute(app, eventsRoute, {
    answer: async (context) => {
      const owner = toOwner(context.var.key);
      const job = await jobs.find(owner, context.req.valid("param").id);
      const { stream, ...page } = context.req.valid("query");
      if (stream === "true") {
        const leaveStream = enterStream(owner.tenant);
        return streamEvents(context, liveEvents(jobs, job, owner), leaveStream) as never;
      }
      const { rows, hasMore } = await jobs.events(job, page);
      return context.json(
        toListObject(
          rows.map((event) => toEventObject(event, job)),
          hasMore,
        ),
        200,
      );
    },
  });
  addRoute(app, checkpointsRoute, {
    answer: async (context) => {
      const job = await jobs.find(toOwner(context.var.key), context.req.valid("param").id);
      const { rows, hasMore } = await models.checkpoints(job, context.req.valid("query"));
      return context.json(toListObject(rows.map(toCheckpointObject), hasMore), 200);
    },
  });
};
