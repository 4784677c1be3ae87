// /v1/fine_tuning/jobs: creates jobs from checked requests, shows them and changes them.
import { z } from "@hono/zod-openapi";
import { type Engine, MosError } from "mixture-of-shards";
import { ApiError, pages, idParams as params, type ServerApp } from "mixture-of-shards/server";
import { errorText, snakeCase } from "mixture-of-shards-core/common";
import { formatSource, parseResponseFormat } from "mixture-of-shards-core/text";
import { type Owner, storable } from "#database";
import {
  type FileRow,
  hyperparametersSchema,
  isFineTuned,
  type JobRequest,
  type JobRow,
  jobRequestSchema,
  methodSchema,
  type NewJob,
  shownMethod,
  type TrainingPlan,
  toLimits,
  toTrainingPlan,
  trackingOf,
} from "#store";
import { checkedGrader, type OwnApi, ownApi } from "./graders.ts";
import {
  type AddRoutes,
  addRoute,
  type Context,
  invalid,
  pageOf,
  type ServiceEnv,
  seconds,
  toObject,
  toOwner,
  withHttpErrors,
} from "./routes.ts";

const path = "/v1/fine_tuning/jobs";

/** A job. */
const jobSchema = z
  .object({
    id: z.string(),
    object: z.literal("fine_tuning.job"),
    created_at: z.int(),
    finished_at: z.int().nullable(),
    estimated_finish: z.int().nullable(),
    model: z.string(),
    fine_tuned_model: z.string().nullable(),
    organization_id: z.string(),
    status: z.enum(["queued", "running", "paused", "succeeded", "failed", "cancelled"]),
    hyperparameters: hyperparametersSchema.nullable().describe("Null unless the method is supervised."),
    method: methodSchema.describe("With all hyperparameters."),
    training_file: z.string(),
    validation_file: z.string().nullable(),
    result_files: z.array(z.string()),
    trained_tokens: z.int().nullable(),
    seed: z.int(),
    error: z.object({ code: z.string(), message: z.string(), param: z.string().nullable() }).nullable(),
    integrations: z.array(z.unknown()),
    metadata: z.record(z.string(), z.string()).nullable(),
    user_provided_suffix: z.string().nullable(),
    mos: z
      .record(z.string(), z.unknown())
      .describe("Extensions to OpenAI's API: the job's settings and progress."),
  })
  .openapi("FineTuningJob");

/** Ends when the rest takes as long as what was done. */
function estimatedFinish(
  { status, step, steps, seconds: spent, created_at }: JobRow,
  now: number,
): number | null {
  if (status !== "running" || step === 0 || steps === null) return null;
  return Math.max(seconds(created_at), Math.floor(now / 1000 + (spent / step) * (steps - step)));
}

/** The method with what the data decided, which is known once the run has begun. */
function toMethodObject(request: JobRequest, { chosen }: JobRow): z.output<typeof methodSchema> {
  const { type, hyperparameters: asked, fields } = shownMethod(request);
  const multiplier = asked["learning_rate_multiplier"];
  const decided = chosen && {
    batch_size: chosen["batchSize"],
    n_epochs: chosen["epochs"],
    learning_rate_multiplier: multiplier === "auto" ? 1 : multiplier,
  };
  return { type, [type]: { ...fields, hyperparameters: { ...asked, ...decided } } };
}

/** Settings that the data decided, under the names of our own fields. */
export const chosenFields = (chosen: JobRow["chosen"]): Readonly<Record<string, number>> =>
  Object.fromEntries(Object.entries(chosen ?? {}).map(([name, value]) => [snakeCase(name), value]));

function toJobObject(job: JobRow, now: number): z.output<typeof jobSchema> {
  const request = job.request as unknown as JobRequest;
  const method = toMethodObject(request, job);
  return toObject(jobSchema, job, {
    estimated_finish: estimatedFinish(job, now),
    model: request.model,
    organization_id: job.tenant,
    hyperparameters: method.supervised?.hyperparameters ?? null,
    method,
    result_files: job.result_file === null ? [] : [job.result_file],
    trained_tokens: job.status === "succeeded" ? job.trained_tokens : null,
    seed: Number(job.plan.settings["seed"]),
    integrations: request.integrations ?? [],
    user_provided_suffix: request.suffix ?? null,
    mos: {
      ...request.mos,
      ...chosenFields(job.chosen),
      priority: job.priority,
      step: job.step,
      total_steps: job.steps,
      stopped_early: job.status === "succeeded" && job.step < (job.steps ?? 0),
    },
  });
}

/** A file that a job can be made of. */
async function usableFile(
  { files }: Pick<ServiceEnv, "files">,
  owner: Owner,
  { id, param }: { id: string; param: string },
): Promise<FileRow> {
  const file = await withHttpErrors(files.find(owner, id), param).catch((error: unknown) => {
    if (error instanceof ApiError && error.details.status === 404)
      throw invalid(`${param}: there is no file ${JSON.stringify(id)}`, param, "invalid_file");
    throw error;
  });
  if (file.purpose !== "fine-tune")
    throw invalid(`${param} has purpose ${file.purpose}, not fine-tune`, param);
  if (file.status === "error")
    throw invalid(`${param} cannot be used: ${file.status_details}`, param, "invalid_training_file");
  return file;
}

/** A request whose model is no alias, but what that stands for now. */
async function withoutAlias(
  { aliases, modelName }: Pick<ServiceEnv, "aliases" | "modelName">,
  request: JobRequest,
  { tenant }: Owner,
): Promise<JobRequest> {
  const { model } = request;
  const target = model === modelName ? undefined : await aliases.target({ tenant, id: model });
  return { ...request, model: target ?? model };
}

/** The adapter that a job starts from, where its model is a fine-tuned one. */
async function findInitialAdapter(
  { models, modelName }: Pick<ServiceEnv, "models" | "modelName">,
  { model }: JobRequest,
  owner: Owner,
): Promise<NewJob["initial"]> {
  if (model === modelName) return undefined;
  const refused = invalid(
    `the model ${JSON.stringify(model)} cannot be fine-tuned here; use ${modelName}, or a model fine-tuned from it`,
    "model",
    "model_not_available",
  );
  if (!isFineTuned(model, modelName)) throw refused;
  const { files } = await models.find(owner, model).catch((error: unknown) => {
    throw error instanceof MosError && error.code === "not_found" ? refused : error;
  });
  return { base: modelName, adapter: files };
}

/** Checks the graders of a job. @throws ApiError as `checkedGrader`. */
async function checkGraders({ method: asked, mos }: JobRequest, api: OwnApi): Promise<void> {
  const graders = {
    "method.reinforcement.grader": asked?.reinforcement?.grader,
    "mos.grader": mos?.grader,
    "mos.evaluate_by": mos?.evaluate_by,
  };
  for (const [param, grader] of Object.entries(graders))
    if (grader !== undefined) await checkedGrader(grader, { api, param });
}

/** Checks that the answers of a job can have their form. @throws ApiError 400. */
async function checkFormat(
  { settings }: TrainingPlan,
  { engine, owner: { tenant } }: Pick<JobClient, "engine" | "owner">,
): Promise<void> {
  const { responseFormat } = settings;
  if (responseFormat === undefined) return;
  try {
    const source = formatSource(parseResponseFormat(responseFormat, "response_format"));
    if (source !== undefined) await engine.checkGrammar(source, { tenant });
  } catch (error) {
    if (!(error instanceof MosError) || error.code !== "bad_option") throw error;
    const param = "method.reinforcement.response_format";
    throw invalid(`${param}: ${errorText(error)}`, param);
  }
}

/** @throws ApiError 400 for a tracker that jobs may not write to. */
function checkTracker({ trackers = [] }: ServiceEnv, request: JobRequest): void {
  const { to } = trackingOf(request) ?? {};
  if (to === undefined || trackers.includes(to)) return;
  const param = "integrations";
  const message =
    trackers.length === 0
      ? `${param} is not supported by this server; omit it`
      : `${param} of type ${to} is not supported by this server; use ${trackers.join(" or ")}`;
  throw invalid(message, param, "unsupported_parameter");
}

/** Who asks for a job, the API with their key, and the engine of this server. */
export interface JobClient {
  readonly owner: Owner;
  readonly api: OwnApi;
  readonly engine: Pick<Engine, "checkGrammar">;
}

export const toClient = (app: ServerApp, context: Context): JobClient => ({
  owner: toOwner(context.var.key),
  api: ownApi(app, context, true),
  engine: context.var.server.engine,
});

/**
 * Checks model, files and settings of a job.
 *
 * @throws ApiError 400, or 404 for a model that its grader asks; MosError `bad_option`.
 */
export async function checkedJob(service: ServiceEnv, given: JobRequest, client: JobClient) {
  const { learningRate, checkPlan, nextSeed } = service;
  const { owner } = client;
  checkTracker(service, given);
  await checkGraders(given, client.api);
  const request = await withoutAlias(service, given, owner);
  const initial = await findInitialAdapter(service, request, owner);
  const training = await usableFile(service, owner, { id: request.training_file, param: "training_file" });
  const validation =
    request.validation_file == null
      ? undefined
      : await usableFile(service, owner, { id: request.validation_file, param: "validation_file" });
  const isContinued = initial !== undefined;
  const plan = toTrainingPlan(request, { seed: request.seed ?? nextSeed(), learningRate, isContinued });
  checkPlan(plan);
  await checkFormat(plan, client);
  return { request, plan, training, validation, initial };
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

export const jobRoutes: AddRoutes = (app, service) => {
  const { jobs } = service;
  addRoute(app, {
    method: "post",
    path,
    summary: "Create a fine-tuning job",
    description:
      "Repeating a request with the same Idempotency-Key returns the job that the first one created.",
    headers: z.object({ "idempotency-key": z.string().min(1).max(255).optional() }),
    body: jobRequestSchema,
    ok: [jobSchema, "The job."],
    answer: async ({ body: request, owner: { tenant }, key, server, context }) => {
      const idempotencyKey = context.req.header("idempotency-key");
      const repeated = idempotencyKey && (await jobs.repeated({ tenant, request, idempotencyKey }));
      if (repeated) return toJobObject(repeated, server.now());
      const checked = await checkedJob(service, request, toClient(app, context));
      const limits = toLimits(key);
      const job = await jobs.create({ ...checked, tenant, limits, idempotencyKey, sent: request });
      return toJobObject(job, server.now());
    },
  });
  addRoute(app, {
    method: "get",
    path,
    summary: "List fine-tuning jobs",
    query: z.object(pages.query({ standard: 20, most: 100 })),
    ok: [pages.schema(jobSchema), "A page, newest first."],
    answer: async ({ query, owner, server, context }) => {
      const page = { ...query, metadata: metadataFilter(context.req.query()) };
      return pageOf(await jobs.list(owner, page), (job) => toJobObject(job, server.now()));
    },
  });
  addRoute(app, {
    method: "get",
    path: `${path}/{id}`,
    summary: "Retrieve a fine-tuning job",
    params,
    ok: [jobSchema, "The job."],
    answer: async ({ params: { id }, owner, server }) =>
      toJobObject(await jobs.find(owner, id), server.now()),
  });
  for (const [change, summary] of [
    ["cancel", "Cancel a fine-tuning job"],
    ["pause", "Pause a fine-tuning job"],
    ["resume", "Resume a paused fine-tuning job"],
  ] as const)
    addRoute(app, {
      method: "post",
      path: `${path}/{id}/${change}`,
      summary,
      params,
      ok: [jobSchema, "The job."],
      answer: async ({ params: { id }, owner, server }) =>
        toJobObject(await jobs[change](owner, id), server.now()),
    });
};
