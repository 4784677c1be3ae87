// Context of the service's routes.
import { z } from "@hono/zod-openapi";
import { type FinetuneOptions, MosError, type RunPreview } from "mixture-of-shards";
import { isDiskFull, storageProblem } from "mixture-of-shards/cli";
import { ApiError, type ServerApp } from "mixture-of-shards/server";
import type { ObjectStore } from "#objects";
import type { Jobs, Owner, TrainingPlan } from "#store";

/** A run to preview, on files of the storage. */
export interface PreviewedRun extends Pick<TrainingPlan, "settings"> {
  readonly adapter: FinetuneOptions["adapter"];
  readonly data: string;
  readonly validationData: string | undefined;
  /** Lines of the data; without them the first ones. */
  readonly lines?: readonly number[];
  /** Tokens of a line at most. */
  readonly maxShown: number;
}

/** The parts of a service that its routes use. */
export interface ServiceEnv {
  readonly jobs: Jobs;
  readonly objects: ObjectStore;
  /** The model that can be trained, as clients call it. */
  readonly modelName: string;
  /** Learning rate of a multiplier of 1. */
  readonly learningRate: number;
  /** Checks a plan against the model. Throws a MosError. */
  readonly checkPlan: (plan: TrainingPlan) => void;
  /** Previews a run on the base. Throws a MosError, `busy` where too many wait for theirs. */
  readonly preview: (
    run: PreviewedRun,
    client: { readonly tenant: string; readonly signal: AbortSignal },
  ) => Promise<RunPreview>;
  /** Checks an uploaded file: its problem, with the line; undefined for a valid file. */
  readonly checkFile: (
    path: string,
    client: { readonly tenant: string; readonly signal: AbortSignal },
  ) => Promise<string | undefined>;
  /** Takes a model that was deleted out of the folder of adapters. */
  readonly unpublish: (name: string) => Promise<void>;
  /** Looks at once when models expire now. */
  readonly checkExpiry: () => Promise<void>;
  /** Bytes of the largest file. */
  readonly maxFileBytes: number;
  /** That webhooks of tenants may have. */
  readonly webhookPorts: readonly number[];
  /** The seed of a job that brings none. */
  readonly nextSeed: () => number;
}

/** Adds routes to a server. */
export type AddRoutes = (app: ServerApp, service: ServiceEnv) => void;

/** The tenant of a key. */
export const toOwner = (key: { readonly name: string; readonly isAdmin: boolean }): Owner => ({
  tenant: key.name,
  isAdmin: key.isAdmin,
});

/** A whole number as a query or a form has it: decimal digits and nothing else, neither 0x10 nor 1e3 nor a blank. */
export const wholeNumber = (least: number, most: number) =>
  z
    .string()
    .regex(/^\d{1,15}$/, `a whole number from ${least} to ${most}`)
    .transform(Number)
    .pipe(z.int().min(least).max(most))
    .openapi({ type: "integer", minimum: least, maximum: most });

/** A field of a request is wrong. */
export const invalid = (message: string, param: string, code = "invalid_value"): ApiError =>
  new ApiError(message, { status: 400, code, param });

/** Waits for work whose "not found" concerns an id of the request rather than a model. */
export async function withHttpErrors<T>(work: Promise<T>, param = "id"): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!(error instanceof MosError) || error instanceof ApiError) throw error;
    if (error.code === "not_found")
      throw new ApiError(error.message, { status: 404, code: "not_found", param, cause: error });
    if (error.code === "busy")
      // the official clients would send it again at once, and a job takes its time
      throw new ApiError(error.message, {
        status: 429,
        code: "rate_limit_exceeded",
        headers: { "x-should-retry": "false" },
        cause: error,
      });
    const away = { status: 503, retryAfter: 5, cause: error };
    if (error.code === "network")
      throw new ApiError("the database cannot be reached; retry the request", {
        ...away,
        code: "database_unavailable",
      });
    if (error.code === "storage" && !isDiskFull(error))
      throw new ApiError(`${storageProblem(error)}; retry the request`, {
        ...away,
        code: "storage_unavailable",
      });
    throw error;
  }
}
