// Parts that the service's routes share: their context, bodies that can be stored, and errors.
import { Readable } from "node:stream";
import { z } from "@hono/zod-openapi";
import { MosError, type RunPreview } from "mixture-of-shards";
import {
  ApiError,
  type ApiKey,
  jsonBody,
  optional,
  pages,
  type Route,
  route,
  type ServerApp,
} from "mixture-of-shards/server";
import { isDiskFull, storageProblem } from "mixture-of-shards-core/files";
import { type Owner, type Page, storable } from "#database";
import type { ObjectStore } from "#objects";
import type { OtherData, Stores, TrainingPlan } from "#store";
import type { createFileChecker, Grading, PreviewRequest, TurnClient } from "#worker";

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
    run: Omit<PreviewRequest, "model" | "threads">,
    client: TurnClient,
  ) => Promise<RunPreview | OtherData>;
  readonly checkFile: ReturnType<typeof createFileChecker>;
  /** Adds a new model to the folder of adapters. */
  readonly publish: (name: string) => Promise<unknown>;
  /** Removes a deleted model from the folder of adapters. */
  readonly unpublish: (name: string) => Promise<void>;
  /** Looks at once when models expire now. */
  readonly checkExpiry: () => Promise<void>;
  readonly grading: Pick<Grading, "grade">;
  /** Bytes of the largest file. */
  readonly maxFileBytes: number;
  /** Ports that webhooks of tenants may have. */
  readonly webhookPorts: readonly number[];
  /** Trackers that jobs may write to (none). */
  readonly trackers?: readonly string[] | undefined;
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

/** A field of a request is wrong. */
export const invalid = (message: string, param: string, code = "invalid_value"): ApiError =>
  new ApiError(message, { status: 400, code, param });

/** The tenant that a client names. @throws ApiError 403 for another one's than its own without an administrator's key. */
export function chooseTenant(
  { name, isAdmin }: ApiKey,
  { given = name, param }: { readonly given: string | undefined; readonly param: string },
): string {
  if (given === name || isAdmin) return given;
  throw new ApiError("only administrators may name another tenant", {
    status: 403,
    code: "admin_key_required",
    param,
  });
}

/** Removes contents that no row names any more. The server retries and reports what fails now. */
export const collect = ({ contents, objects }: Pick<ServiceEnv, "contents" | "objects">): Promise<void> =>
  contents.collect(objects.remove).catch(() => undefined);

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

/** Hono's context of a request. */
export type Context = Parameters<Route<never, never, never, never>["answer"]>[0]["context"];

/** A route of the server whose MosErrors become answers. */
interface ServiceRoute<Params, Query, Body, Answer>
  extends Omit<Route<Params, Query, Body, Answer>, "answer"> {
  /** Field or parameter that a "not found" concerns (id). */
  readonly param?: string;
  readonly answer: (
    call: Parameters<Route<Params, Query, Body, Answer>["answer"]>[0] & { readonly owner: Owner },
  ) => ReturnType<Route<Params, Query, Body, Answer>["answer"]>;
}

/** Adds a route to a server, whose body is one that can be stored. */
export function addRoute<
  Params extends z.ZodType,
  Query extends z.ZodType,
  Body extends z.ZodObject,
  Answer extends z.ZodType,
>(app: ServerApp, { answer, param, ...declared }: ServiceRoute<Params, Query, Body, Answer>): void {
  route({
    middleware: declared.body && storedBody,
    ...declared,
    answer: (call) => withHttpErrors(answer({ ...call, owner: toOwner(call.key) }), param),
  })(app);
}

/** Query of routes in which an administrator may name another tenant. */
export const tenantQuery = z.object({
  tenant: optional(
    z.string().regex(/^[\w.@-]{1,64}$/),
    "Administrators only: name of the tenant whose it is.",
  ),
});

/** The tenant that the query of a request names. @throws ApiError 403 */
export const tenantOf = (key: ApiKey, { tenant: given }: z.output<typeof tenantQuery>): string =>
  chooseTenant(key, { given, param: "tenant" });

/** Lines as a file to download. */
export function sendLines(context: Context, lines: Iterable<string> | AsyncIterable<string>, name: string) {
  const body = Readable.toWeb(Readable.from(lines).map((line) => Buffer.from(String(line))));
  return context.body(body as ReadableStream, 200, {
    "content-type": "application/octet-stream",
    "content-disposition": `attachment; filename="${name}"`,
  });
}

/** The answer to a request for a list. */
export const pageOf = <Row, T extends { readonly id: string }>(
  { rows, hasMore }: Page<Row>,
  toObject: (row: Row) => T,
) => pages.json(rows.map(toObject), hasMore);

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
const storedBody: typeof jsonBody = (context, next) =>
  jsonBody(context, async () => {
    const path = unstorableAt(await context.req.json())?.join(".");
    if (path !== undefined)
      throw invalid(
        `${path === "" ? "the request" : path} contains a null character or an unpaired surrogate; remove it`,
        path,
      );
    await next();
  });

/** What a row may have for a value of an object: a date for seconds, and null for what is left out. */
type Shown<Value> = Value | (number extends Value ? Date : never) | (undefined extends Value ? null : never);

/** The object of a schema with the fields of a row that have the same names, but for its `own`. */
export function toObject<Schema extends z.ZodObject, Own extends Partial<z.output<Schema>>>(
  { shape }: Schema,
  row: {
    readonly [Name in Exclude<keyof z.output<Schema>, keyof Own | "object">]: Shown<z.output<Schema>[Name]>;
  },
  own: Own,
): z.output<Schema> {
  const given: Readonly<Record<string, unknown>> = { ...row, ...own };
  const members = Object.entries(shape).map(([name, field]): readonly [string, unknown] => {
    const value = field instanceof z.ZodLiteral ? field.value : (given[name] ?? null);
    return [name, value instanceof Date ? seconds(value) : value];
  });
  const isThere = (name: string, value: unknown) => value !== null || !(shape[name] instanceof z.ZodOptional);
  return Object.fromEntries(members.filter((member) => isThere(...member))) as z.output<Schema>;
}

/** Time in OpenAI's objects: seconds since 1970. */
export const seconds = (at: Date): number => Math.floor(at.getTime() / 1000);
/** The same; null where there is none. */
export const secondsOrNull = (at: Date | null): number | null => at && seconds(at);
