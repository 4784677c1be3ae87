// /v1/fine_tuning/alpha/graders: tries graders out, on one answer each.
import { z } from "@hono/zod-openapi";
import { MosError } from "mixture-of-shards";
import { ApiError, jsonBody, optional, type ServerApp } from "mixture-of-shards/server";
import { attempt } from "mixture-of-shards-core/common";
import type { ChatClient } from "mixture-of-shards-core/data";
import {
  askedModels,
  type Grade,
  type Grader,
  graderSchema,
  parseGrader,
} from "mixture-of-shards-core/graders";
import { type AddRoutes, addRoute, type Context, invalid } from "./routes.ts";

const path = "/v1/fine_tuning/alpha/graders";
// made anew, as only schemas of this z have names in the API's document
const grader = z.discriminatedUnion("type", graderSchema.options).openapi("Grader");

const runRequest = z
  .strictObject({
    grader,
    model_sample: z
      .string()
      .describe("The answer: `sample.output_text`, and `sample.output_json` where it is JSON."),
    item: optional(z.record(z.string(), z.unknown()), "Fields of the line of data, as `item`."),
  })
  .openapi("RunGraderRequest");

const validateRequest = z.strictObject({ grader }).openapi("ValidateGraderRequest");

const [flag, details] = [z.boolean(), z.string().nullable()];
const tokenUsage = z.object({
  prompt_tokens: z.int(),
  completion_tokens: z.int(),
  total_tokens: z.int(),
});

const runResponse = z
  .object({
    reward: z.number(),
    metadata: z.object({
      name: z.string(),
      type: z.string(),
      errors: z.object({
        formula_parse_error: flag,
        sample_parse_error: flag,
        truncated_observation_error: flag,
        unresponsive_reward_error: flag,
        invalid_variable_error: flag,
        other_error: flag,
        python_grader_server_error: flag,
        python_grader_server_error_type: details,
        python_grader_runtime_error: flag,
        python_grader_runtime_error_details: details,
        model_grader_server_error: flag,
        model_grader_server_error_details: details,
        model_grader_refusal_error: flag,
        model_grader_parse_error: flag,
      }),
      execution_time: z.number().describe("Seconds."),
      scores: z.record(z.string(), z.number()),
      token_usage: z.int().nullable(),
      sampled_model_name: z.string().nullable(),
    }),
    sub_rewards: z.record(z.string(), z.number()).describe("Rewards of a multi grader's parts."),
    model_grader_token_usage_per_model: z.record(z.string(), tokenUsage),
  })
  .openapi("RunGraderResponse");

/** The API itself, of a request of which what is asked is a part: with its key or, for a job, with that of its tenant's jobs. */
export type OwnApi = (path: string, body?: unknown) => Promise<Response>;

/** Headers that belong to the body of a request. */
const OF_BODY = ["content-length", "content-encoding", "transfer-encoding"];

export const ownApi =
  (app: ServerApp, { req: { raw }, var: { running }, env }: Context, isForJob = false): OwnApi =>
  async (target, body) => {
    const { signal } = running;
    const headers = new Headers(raw.headers);
    for (const name of OF_BODY) headers.delete(name);
    const init = { headers, signal };
    const sent = body === undefined ? init : { ...init, method: "POST", body: JSON.stringify(body) };
    return app.request(new URL(target, raw.url).href, sent, { ...env, isNested: true, isForJob });
  };

function readGrader(value: unknown, param: string): Grader {
  const read = attempt(() => parseGrader(value, param));
  if (read instanceof MosError) throw invalid(read.message, param);
  return read;
}

const failure = z.object({ error: z.object({ message: z.string() }) });

/** @throws ApiError 400 for a wrong grader, 404 for one that asks a model which the key may not use */
export async function checkedGrader(
  value: unknown,
  { api, param = "grader" }: { readonly api: OwnApi; readonly param?: string },
): Promise<Grader> {
  const checked = readGrader(value, param);
  for (const model of new Set(askedModels(checked))) {
    const answer = await api(`/v1/models/${encodeURIComponent(model)}`);
    const { ok, status } = answer;
    if (status === 404)
      throw new ApiError(
        `the model ${JSON.stringify(model)} does not exist or you do not have access to it; score_model asks models of this server`,
        { status: 404, code: "model_not_found", param },
      );
    if (!ok) throw new ApiError(failure.parse(await answer.json()).error.message, { status, param });
  }
  return checked;
}

/** Asks this server's own models. */
const chatClient =
  (api: OwnApi): ChatClient =>
  async (request) => {
    const response = await api("/v1/chat/completions", request);
    const value: unknown = await response.json();
    if (!response.ok) throw new Error(failure.parse(value).error.message);
    return value as Awaited<ReturnType<ChatClient>>;
  };

const toRunObject = (made: Grade): z.output<typeof runResponse> => ({
  reward: made.reward,
  metadata: {
    name: made.name,
    type: made.type,
    errors: { ...made.errors },
    execution_time: made.seconds,
    scores: { ...made.scores },
    token_usage:
      Object.keys(made.usage).length === 0
        ? null
        : Object.values(made.usage).reduce((sum, { total_tokens }) => sum + total_tokens, 0),
    sampled_model_name: made.sampledModel ?? null,
  },
  sub_rewards: { ...made.scores },
  model_grader_token_usage_per_model: { ...made.usage },
});

export const graderRoutes: AddRoutes = (app, { grading }) => {
  addRoute(app, {
    method: "post",
    path: `${path}/run`,
    summary: "Grade one answer",
    description:
      "score_model asks a model of this server, by the key of the request. What fails in grading is noted in the errors, and the reward is 0.",
    middleware: jsonBody,
    body: runRequest,
    ok: [runResponse, "The reward."],
    answer: async ({ body: { grader: given, model_sample: text, item = {} }, owner, running, context }) => {
      const api = ownApi(app, context);
      const client = { tenant: owner.tenant, signal: running.signal, ask: chatClient(api) };
      return toRunObject(
        await grading.grade({ grader: await checkedGrader(given, { api }), item, text }, client),
      );
    },
  });
  addRoute(app, {
    method: "post",
    path: `${path}/validate`,
    summary: "Check a grader",
    middleware: jsonBody,
    body: validateRequest,
    ok: [validateRequest, "The grader, which is valid."],
    answer: async ({ body, context }) => ({
      grader: await checkedGrader(body.grader, { api: ownApi(app, context) }),
    }),
  });
};
