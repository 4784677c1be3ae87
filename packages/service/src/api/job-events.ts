// /v1/fine_tuning/jobs/{id}/events and checkpoints: the course of a job, also as a live stream.
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "@hono/zod-openapi";
import { ApiError, pageQuery, pageSchema, idParams as params, streamEvents } from "mixture-of-shards/server";
import type { Owner } from "#database";
import { type CheckpointRow, type EventRow, hasEnded, type JobRow, type JobStore } from "#store";
import { showMeasurement, showMetrics } from "./measurements.ts";
import { type AddRoutes, addRoute, pageOf, seconds } from "./routes.ts";

const path = "/v1/fine_tuning/jobs";

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

/** Counts a stream of a tenant until the function that it gives is called. @throws ApiError 429 where there are too many. */
function enterStream(streams: string[], tenant: string): () => void {
  if (streams.filter((other) => other === tenant).length >= MAX_STREAMS)
    throw new ApiError(`too many event streams (${MAX_STREAMS}); close one first`, {
      status: 429,
      code: "rate_limit_exceeded",
      retryAfter: 30,
    });
  streams.push(tenant);
  return () => void streams.splice(streams.indexOf(tenant), 1);
}

export const jobEventRoutes: AddRoutes = (app, { jobs, models }) => {
  /** The tenant of each stream. */
  const streams: string[] = [];
  addRoute(app, {
    method: "get",
    path: `${path}/{id}/events`,
    summary: "List the events of a job, or stream them with stream=true",
    params,
    query: z.object({
      ...pageQuery({ standard: 20, most: 1000 }),
      stream: z.enum(["true", "false"]).optional(),
    }),
    ok: [
      pageSchema(eventSchema),
      "A page of events, newest first; with stream=true, server-sent events from the first one on.",
    ],
    answer: async ({ params: { id }, query: { stream, ...page }, owner, context }) => {
      const job = await jobs.find(owner, id);
      if (stream === "true")
        return streamEvents(context, liveEvents(jobs, job, owner), enterStream(streams, owner.tenant));
      return pageOf(await jobs.events(job, page), (event) => toEventObject(event, job));
    },
  });
  addRoute(app, {
    method: "get",
    path: `${path}/{id}/checkpoints`,
    summary: "List the checkpoints of a job, each usable as a model",
    params,
    query: z.object(pageQuery({ standard: 10, most: 100 })),
    ok: [pageSchema(checkpointSchema), "A page, newest first."],
    answer: async ({ params: { id }, query, owner }) =>
      pageOf(await models.checkpoints(await jobs.find(owner, id), query), toCheckpointObject),
  });
};
