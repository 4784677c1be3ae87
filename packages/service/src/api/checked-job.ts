// Validation of a request for a job, for jobs and their previews.
import { MosError } from "mixture-of-shards";
import { ApiError } from "mixture-of-shards/server";
import {
  type FileRow,
  isFineTuned,
  type JobRequest,
  type Jobs,
  type NewJob,
  type Owner,
  type TrainingPlan,
  toTrainingPlan,
} from "#store";
import { invalid, type ServiceEnv, withHttpErrors } from "./service-env.ts";

/** A file that a job can be made of. */
async function usableFile(
  jobs: Jobs,
  owner: Owner,
  { id, param }: { id: string; param: string },
): Promise<FileRow> {
  const file = await withHttpErrors(jobs.file(owner, id), param).catch((error: unknown) => {
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
  { jobs, modelName }: Pick<ServiceEnv, "jobs" | "modelName">,
  request: JobRequest,
  { tenant }: Owner,
): Promise<JobRequest> {
  const { model } = request;
  const target = model === modelName ? undefined : await jobs.aliased({ tenant, id: model });
  return { ...request, model: target ?? model };
}

/** The adapter that a job starts from, where its model is a fine-tuned one. */
async function findInitialAdapter(
  { jobs, modelName }: Pick<ServiceEnv, "jobs" | "modelName">,
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
  const adapter = await jobs.model(owner, model).catch((error: unknown) => {
    throw error instanceof MosError && error.code === "not_found" ? refused : error;
  });
  return { base: modelName, adapter };
}

/** A job that can be made. */
export interface CheckedJob {
  readonly request: JobRequest;
  readonly plan: TrainingPlan;
  readonly training: FileRow;
  readonly validation: FileRow | undefined;
  readonly initial: NewJob["initial"];
}

/**
 * Checks model, files and settings of a job.
 *
 * @throws ApiError 400, MosError `bad_option`.
 */
export async function checkedJob(
  service: Pick<ServiceEnv, "jobs" | "modelName" | "learningRate" | "checkPlan" | "nextSeed">,
  { request: given, owner }: { readonly request: JobRequest; readonly owner: Owner },
): Promise<CheckedJob> {
  const { jobs, learningRate, checkPlan, nextSeed } = service;
  const request = await withoutAlias(service, given, owner);
  const initial = await findInitialAdapter(service, request, owner);
  const training = await usableFile(jobs, owner, { id: request.training_file, param: "training_file" });
  const validation =
    request.validation_file == null
      ? undefined
      : await usableFile(jobs, owner, { id: request.validation_file, param: "validation_file" });
  const isContinued = initial !== undefined;
  const plan = toTrainingPlan(request, { seed: request.seed ?? nextSeed(), learningRate, isContinued });
  checkPlan(plan);
  return { request, plan, training, validation, initial };
}
