// /v1/fine_tuning/jobs/{id}/events and checkpoints: the course of a job, also as a live stream. Measurements are under OpenAI's names
// where it has some, and under TRL's otherwise.
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "@hono/zod-openapi";
import { ApiError, pages, idParams as params, streamEvents } from "mixture-of-shards/server";
import { omitUndefined } from "mixture-of-shards-core/common";
import type { Measurement } from "mixture-of-shards-core/training";
import type { Owner } from "#database";
import {
  type CheckpointRow,
  type EventRow,
  hasEnded,
  type JobMeasurement,
  type JobRow,
  type JobStore,
} from "#store";
import { type AddRoutes, addRoute, pageOf, toObject } from "./routes.ts";

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

const toEventObject = ({ data, ...event }: EventRow, job: JobRow) =>
  toObject(eventSchema, { data, ...event }, data === null ? {} : showMeasurement(data, job));

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

const toCheckpointObject = ({ model, job, step, ...row }: CheckpointRow) =>
  toObject(checkpointSchema, row, {
    fine_tuned_model_checkpoint: model,
    fine_tuning_job_id: job,
    step_number: step,
    metrics: showMetrics({ step, ...row }),
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
      ...pages.query({ standard: 20, most: 1000 }),
      stream: z.enum(["true", "false"]).optional(),
    }),
    ok: [
      pages.schema(eventSchema),
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
    query: z.object(pages.query({ standard: 10, most: 100 })),
    ok: [pages.schema(checkpointSchema), "A page, newest first."],
    answer: async ({ params: { id }, query, owner }) =>
      pageOf(await models.checkpoints(await jobs.find(owner, id), query), toCheckpointObject),
  });
};

type Numbers = Readonly<Record<string, number>>;

/** Rewards among the metrics of a step or an evaluation; nothing for other runs. */
const rewards = ({ type, metrics = {} }: Measurement): Numbers =>
  omitUndefined(
    type === "step"
      ? {
          train_mean_reward: metrics["reward"],
          completion_tokens_mean: metrics["completions/mean_length"],
          mean_unresponsive_rewards: metrics["frac_ungraded"],
        }
      : {
          full_valid_mean_reward: metrics["eval_reward"],
          full_valid_mean_parse_error: metrics["eval_frac_unreadable"],
        },
  );

function measured(measurement: Measurement): Numbers {
  const { type, step, loss, accuracy, metrics } = measurement;
  return {
    step,
    ...(type === "step"
      ? { train_loss: loss, train_mean_token_accuracy: accuracy }
      : { full_valid_loss: loss, full_valid_mean_token_accuracy: accuracy }),
    ...rewards(measurement),
    ...metrics,
  };
}

/** The rest of a step's measurements, which OpenAI has no names for. */
function pace(measurement: Measurement): Numbers {
  if (measurement.type === "evaluation") return {};
  const { learningRate, gradientNorm, tokens, seconds } = measurement;
  return {
    learning_rate: learningRate,
    gradient_norm: gradientNorm,
    tokens,
    seconds,
    ...(seconds > 0 ? { tokens_per_second: tokens / seconds } : {}),
  };
}

/** A grader as a job's plan has it. */
interface NamedGrader {
  readonly type: string;
  readonly name?: string;
  readonly graders?: Readonly<Record<string, { readonly type: string }>>;
}

/** The rewards by a grader, and by each part of one that has several. */
function scores({ type, name = type, graders = {} }: NamedGrader, metrics: Numbers) {
  const parts = Object.entries(graders).map(([part, inner]) => ({ name: part, type: inner.type }));
  return [{ name, type }, ...parts].map((grader) => ({
    ...grader,
    train_reward_mean: metrics[`rewards/${grader.name}/mean`] ?? null,
    valid_reward_mean: metrics[`eval_rewards/${grader.name}/mean`] ?? null,
  }));
}

/** What went wrong in grading, as shares of the answers. */
const errors = ({ type, name = type }: NamedGrader, metrics: Numbers) => [
  {
    name,
    type,
    ...Object.fromEntries(
      Object.entries(metrics).flatMap(([metric, share]) => {
        const [, held, error] = /^(eval_)?errors\/(.*)$/.exec(metric) ?? [];
        return error === undefined
          ? []
          : [[`${held === undefined ? "train" : "valid"}_${error}_mean`, share]];
      }),
    ),
  },
];

type Plan = Pick<JobRow, "plan" | "steps">;

/** Message and data of an event. */
interface Shown {
  readonly message: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** Message and data of a measurement of a run that learns from rewards; undefined for other runs. */
function showRewards({ trained, ...measurement }: JobMeasurement, { plan, steps }: Plan): Shown | undefined {
  const step = measurement.type === "step" ? measurement : trained;
  const evaluation = measurement.type === "evaluation" ? measurement : undefined;
  const numbers = { ...(step && rewards(step)), ...(evaluation && rewards(evaluation)) };
  const { train_mean_reward, full_valid_mean_reward, full_valid_mean_parse_error } = numbers;
  const named = {
    "train mean reward": train_mean_reward,
    "full validation mean reward": full_valid_mean_reward,
    "full validation mean parse error": full_valid_mean_parse_error,
  };
  const said = Object.entries(omitUndefined(named)).map(([name, value]) => `${name}=${value.toFixed(2)}`);
  if (said.length === 0) return undefined;
  const { grader: own, evaluateBy = own } = plan.settings;
  const grader = (evaluation === undefined ? own : evaluateBy) as NamedGrader | undefined;
  const metrics = { ...step?.metrics, ...evaluation?.metrics };
  const [training, evaluating] = [step?.seconds ?? 0, evaluation?.seconds ?? 0];
  return {
    // as OpenAI writes it, with a space before the comma
    message: [`Step ${measurement.step}/${steps ?? "?"} `, ...said].join(", "),
    data: {
      ...numbers,
      ...(grader && {
        scores: { graders: scores(grader, metrics) },
        errors: { graders: errors(grader, metrics) },
      }),
      timing: { step: { eval: evaluating, full_iteration: training + evaluating } },
    },
  };
}

/** A measurement as an event of its job. */
export function showMeasurement(measurement: JobMeasurement, job: Plan): Shown {
  const { type, step, loss } = measurement;
  const kind = type === "step" ? "training" : "validation";
  // JSON has null for what is no number
  const shown = loss === null ? "nan" : loss.toFixed(4);
  const ofRewards = showRewards(measurement, job);
  return {
    message: `Step ${step}/${job.steps ?? "?"}: ${kind} loss=${shown}`,
    ...ofRewards,
    data: {
      total_steps: job.steps,
      ...measured(measurement),
      ...pace(measurement),
      ...ofRewards?.data,
    },
  };
}

/** The metrics of a checkpoint: the last measurements up to its step. */
export const showMetrics = ({ step, metrics }: Pick<CheckpointRow, "step" | "metrics">): Numbers => ({
  ...(metrics.step && measured(metrics.step)),
  ...(metrics.evaluation && measured(metrics.evaluation)),
  step,
});
