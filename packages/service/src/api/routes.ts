// Parts that the service's routes share: their context, bodies that can be stored, errors, and lists.
import { type OpenAPIHono, type RouteConfig, type RouteHandler, z } from "@hono/zod-openapi";
import { type FinetuneOptions, MosError, type RunPreview } from "mixture-of-shards";
import { ApiError, type ApiKey, checkedBy, jsonBody, type ServerApp } from "mixture-of-shards/server";
import { isDiskFull, storageProblem } from "mixture-of-shards-core/files";
import { type Owner, storable } from "#database";
import type { ObjectStore } from "#objects";
import type { OtherData, Stores, TrainingPlan } from "#store";
import type { Grading } from "#worker";

/** A run to preview, on files of the storage. */
interface PreviewedRun extends Pick<TrainingPlan, "settings"> {
  readonly adapter: FinetuneOptions["adapter"];
  readonly data: string;
  readonly validationData: string | undefined;
  /** Lines of the data; without them the first ones. */
  readonly lines?: readonly number[];
  /** Tokens of a line at most. */
  readonly maxShown: number;
}

/** The parts of a service that its routes use. */
export interface ServiceEnv extends Stores {
  readonly objects: ObjectStore;
  /** The model that can be trained, as clients call it. */
  readonly modelName: string;
  /** Learning rate of a multiplier of 1. */
  readonly learningRate: number;
  /** Checks a plan against the model. Throws a MosError. */
  readonly checkPlan: (plan: TrainingPlan) => void;
  /** Previews a run on the base, or says what else its data are. Throws a MosError, `busy` where too many wait for theirs. */
  readonly preview: (
    run: PreviewedRun,
    client: { readonly tenant: string; readonly signal: AbortSignal },
  ) => Promise<RunPreview | OtherData>;
  /** Checks an uploaded file: its first problems, one unless more are asked for; none for a valid file. */
  readonly checkFile: (
    path: string,
    client: { readonly tenant: string; readonly signal: AbortSignal; readonly most?: number },
  ) => Promise<readonly { readonly line: number | null; readonly message: string }[]>;
  /** Adds a new model to the folder of adapters. */
  readonly publish: (name: string) => Promise<unknown>;
  /** Removes a deleted model from the folder of adapters. */
  readonly unpublish: (name: string) => Promise<void>;
  /** Looks at once when models expire now. */
  readonly checkExpiry: () => Promise<void>;
  /** Grades answers. */
  readonly grading: Pick<Grading, "grade">;
  /** Bytes of the largest file. */
  readonly maxFileBytes: number;
  /** Ports that webhooks of tenants may have. */
  readonly webhookPorts: readonly number[];
  /** The seed of a job that brings none. */
  readonly nextSeed: () => number;
}

/** Adds routes to a server. */
export type AddRoutes = (app: ServerApp, service: ServiceEnv) => void;

/** The tenant of a key. */
export const toOwner = ({ name, isAdmin }: Pick<ApiKey, "name" | "isAdmin">): Owner => ({
  tenant: name,
  isAdmin,
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
    if (error.code === "busy" && error.retryAfter === undefined)
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

type ServerEnv = ServerApp extends OpenAPIHono<infer E> ? E : never;

/** The work of a route. */
interface RouteWork<Route extends RouteConfig> {
  /** Its MosErrors become answers. */
  readonly answer: RouteHandler<Route, ServerEnv>;
  /** Field or parameter that a "not found" concerns. Default: id. */
  readonly param?: string;
  /** Schema of the body, which names its wrong fields. */
  readonly body?: Parameters<typeof checkedBy>[0];
}

/** Adds a route to a server. */
export function addRoute<Route extends RouteConfig>(
  app: ServerApp,
  route: Route,
  { answer, param, body }: RouteWork<Route>,
): void {
  const handler = async (...given: Parameters<typeof answer>) =>
    withHttpErrors(Promise.resolve(answer(...given)), param);
  app.openapi(route, handler as unknown as typeof answer, body && checkedBy(body));
}

/** The place of the first text, as a name or a value, that PostgreSQL does not keep. */
function unstorableAt(value: unknown, path: readonly string[] = []): readonly string[] | undefined {
  if (typeof value === "string") return storable(value) === value ? undefined : path;
  if (typeof value !== "object" || value === null) return undefined;
  for (const [name, member] of Object.entries(value)) {
    const found = storable(name) === name ? unstorableAt(member, [...path, name]) : path;
    if (found !== undefined) return found;
  }
  return undefined;
}

/**
 * Reads a body as `jsonBody` does. PostgreSQL takes no zero bytes and no lone surrogates, neither in texts nor in JSON.
 *
 * @throws ApiError 400 that names the field which holds one, however deep it is.
 */
export const storedBody: typeof jsonBody = (context, next) =>
  jsonBody(context, async () => {
    const path = unstorableAt(await context.req.json())?.join(".");
    if (path !== undefined)
      throw invalid(
        `${path === "" ? "the request" : path} contains a null character or an unpaired surrogate; remove it`,
        path,
      );
    await next();
  });

/** Time in OpenAI's objects: seconds since 1970. */
export const seconds = (at: Date): number => Math.floor(at.getTime() / 1000);

/** A part of a list, as all lists of the API are. */
export const pageSchema = <T extends z.ZodType>(item: T) =>
  z.object({
    object: z.literal("list"),
    data: z.array(item),
    first_id: z.string().nullable(),
    last_id: z.string().nullable(),
    has_more: z.boolean(),
  });

export const toListObject = <T extends { readonly id: string }>(data: readonly T[], hasMore: boolean) => ({
  object: "list" as const,
  data: [...data],
  first_id: data[0]?.id ?? null,
  last_id: data.at(-1)?.id ?? null,
  has_more: hasMore,
});

/** `after` and `limit` of a list. */
export const pageQuery = (limits: { readonly standard: number; readonly most: number }) => ({
  after: z.string().max(200).optional().describe("Last id of the previous page."),
  limit: wholeNumber(1, limits.most).default(limits.standard),
});
