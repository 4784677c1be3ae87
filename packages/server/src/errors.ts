// Errors in the format of OpenAI's API, and the status that each of the package's error codes has. Engine and disks are watched,
// for errors, /ready and the log.
import { realpathSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { basename, isAbsolute, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { HTTPException } from "hono/http-exception";
import { type ErrorCode, errorText, MosError } from "mixture-of-shards-core/common";
import { isDiskFull, isUnavailable, storageProblem } from "mixture-of-shards-core/files";
import type { Engine } from "mixture-of-shards-core/inference";
import type { ServerLog } from "./metrics.ts";

/** Details of a failed request, in the terms of OpenAI's API. */
export interface ApiErrorDetails {
  /** The HTTP status. */
  readonly status: number;
  /** OpenAI's `type`, where the status alone does not say it. */
  readonly type?: string;
  /** OpenAI's `code`, such as `model_not_found`. */
  readonly code?: string;
  /** OpenAI's `param`: the field of the request that is wrong. */
  readonly param?: string | undefined;
  /** Seconds after which the same request may succeed. */
  readonly retryAfter?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly cause?: unknown;
}

/** The package's own code for a status. */
const codeForStatus = (status: number): ErrorCode =>
  status === 404 ? "not_found" : status === 429 || status >= 500 ? "busy" : "bad_option";

/** A request that the server does not serve. The client may read the message. */
export class ApiError extends MosError {
  readonly details: ApiErrorDetails;

  constructor(message: string, details: ApiErrorDetails) {
    super(codeForStatus(details.status), message, { cause: details.cause });
    this.details = details;
  }
}

function typeForStatus(status: number): string {
  if (status === 429) return "rate_limit_error";
  if (status === 401) return "authentication_error";
  if (status === 403) return "permission_error";
  return status >= 500 ? "server_error" : "invalid_request_error";
}

/** @returns 400 for a field whose value will not do. */
export const invalidValue = (message: string, param?: string, cause?: unknown): ApiError =>
  new ApiError(message, { status: 400, code: "invalid_value", param, cause });

/** @returns 400 for a value that is a right one elsewhere. */
export const unsupportedValue = (message: string, param: string, cause?: unknown): ApiError =>
  new ApiError(message, { status: 400, code: "unsupported_value", param, cause });

export const forbidden = (message: string, code: string, param?: string): ApiError =>
  new ApiError(message, { status: 403, code, param });

export const notFound = (message: string, code: string, param?: string): ApiError =>
  new ApiError(message, { status: 404, code, param });

/** @returns 404 for a model or adapter that is not there, or that the key may not use: which of both, no client learns. */
export const unknownModel = (name: string, { what = "model", param = "model" } = {}): ApiError =>
  notFound(
    `the ${what} ${JSON.stringify(name)} does not exist or you do not have access to it; GET /v1/${what}s lists the ${what}s`,
    "model_not_found",
    param,
  );

/** @returns 400 for an image, a sound or a file where models read text. */
export const unsupportedMedia = (param: string, what: string, cause?: unknown): ApiError =>
  unsupportedValue(`${param} is ${what}; this server's models read text only`, param, cause);

/** @returns 403 for what only an administrator's key may do. */
export const needsAdmin = (message: string): ApiError => forbidden(message, "admin_key_required");

type ErrorAnswer = ReturnType<typeof answer>;

/** Details of an answer, whose fault may be the server's rather than the request's. */
type AnswerDetails = ApiErrorDetails & { readonly isServerFault?: boolean };

function answer(message: string, { isServerFault = false, ...details }: AnswerDetails) {
  const { status, type = typeForStatus(status), code = null, param = null, retryAfter } = details;
  const wait = retryAfter === undefined ? {} : { "retry-after": String(Math.max(1, Math.ceil(retryAfter))) };
  return {
    status,
    body: { error: { message, type, param, code } },
    headers: { ...details.headers, ...wait },
    /** The cause belongs in the log. */
    isServerFault,
  };
}

/** @returns 503 for requests that come, or are cut off, while the server shuts down. */
export const shuttingDown = (message = "the server is shutting down; retry the request"): ApiError =>
  new ApiError(message, { status: 503, code: "shutting_down", retryAfter: 5 });

function storageAnswer(error: MosError): ErrorAnswer | undefined {
  const problem = `${storageProblem(error)}; nothing was changed`;
  const full = { status: 507, code: "insufficient_storage", isServerFault: true };
  if (isDiskFull(error)) return answer(`${problem}. Free some space and retry`, full);
  if (!isUnavailable(error)) return undefined;
  const message = `${problem}. The server's log names the folder, which the server must be able to write`;
  return answer(message, { status: 503, code: "storage_unavailable", isServerFault: true });
}

/** The codes that a client can act on. */
const CLIENT_ERRORS: Partial<Record<ErrorCode, AnswerDetails>> = {
  busy: { status: 429, code: "busy", retryAfter: 1 },
  not_found: { status: 404, code: "model_not_found", param: "model" },
  bad_option: { status: 400, code: "invalid_value" },
  unsupported: { status: 400, code: "unsupported_value", param: "model" },
  memory: { status: 503, code: "insufficient_memory", retryAfter: 5, isServerFault: true },
  diverged: { status: 422, code: "not_finite", param: "model", isServerFault: true },
  // of a model that serves others: its chat template fails, or its tokenizer does not come to an end, for these texts
  bad_model: { status: 422, code: "bad_model", param: "model", isServerFault: true },
  bad_adapter: { status: 422, code: "bad_adapter", param: "model", isServerFault: true },
};

function clientAnswer(error: MosError): ErrorAnswer | undefined {
  const { code, message, retryAfter } = error;
  if (code === "storage") return storageAnswer(error);
  if (code === "cancelled") return answerTo(shuttingDown());
  const details = CLIENT_ERRORS[code];
  if (details === undefined) return undefined;
  return answer(
    code === "bad_adapter" ? "the adapter cannot be loaded; the server's log has the reason" : message,
    code === "busy" && retryAfter !== undefined ? { ...details, retryAfter } : details,
  );
}

/** All spellings of a path that an error may name. */
function pathVariants(path: string): readonly string[] {
  const absolute = resolve(path);
  try {
    return [path, absolute, realpathSync(absolute)];
  } catch {
    return [path, absolute];
  }
}

const escaped = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

/** A path with folders that stands alone. In quotation marks it is what the client wrote itself. */
const ANY_PATH = /(?<=^|[\s(])\/(?:[^\s/:;,"()]+\/)+([^\s/:;,"()]*)/g;

/**
 * Makes the answer to anything that was thrown, in which no path of this machine stands. Of paths below `folders`, and below those of the user, the process and the
 * system's temporary files, only the rest is shown; and of other paths that the package's own errors name, the last part.
 */
export function createAnswers(
  engine: Pick<ReturnType<typeof watchEngine>, "explain">,
  folders: readonly string[],
) {
  const roots = [...new Set([...folders, tmpdir(), homedir(), process.cwd()].flatMap(pathVariants))]
    .filter((root) => root.length > 1)
    .sort((a, b) => b.length - a.length)
    .map((root) => {
      const isAlone = isAbsolute(root) ? `|(?=["'\\s:;,)]|$)` : "";
      return { root, pattern: new RegExp(`(?<![\\w./-])${escaped(root)}(?:/${isAlone})`, "g") };
    });
  const hidden = (message: string): string =>
    roots.reduce(
      (text, { root, pattern }) =>
        text.replace(pattern, (found) => (found.endsWith("/") ? "" : basename(root))),
      message,
    );
  return (thrown: unknown): ErrorAnswer => {
    const error = engine.explain(thrown);
    const { body, ...rest } = answerTo(error);
    const known = hidden(body.error.message);
    const message = error instanceof ApiError ? known : known.replace(ANY_PATH, "$1");
    return { ...rest, body: { error: { ...body.error, message } } };
  };
}

/** The text of an unknown error stays here: it may name files or other clients' data. */
function answerTo(error: unknown): ErrorAnswer {
  if (error instanceof ApiError) {
    const { status, cause } = error.details;
    return answer(error.message, {
      ...error.details,
      isServerFault: status >= 500 && cause instanceof MosError,
    });
  }
  // Hono's own validators throw these before a schema is reached
  if (error instanceof HTTPException)
    return answer(error.message, {
      status: error.status,
      code: error.status === 415 ? "unsupported_media_type" : "bad_request",
    });
  const known = error instanceof MosError ? clientAnswer(error) : undefined;
  const message = "internal error; the server's log has the reason under this response's x-request-id";
  return known ?? answer(message, { status: 500, code: "internal_error", isServerFault: true });
}

/** Reasons why an engine answers no requests. Once it is broken, only a restart of the server brings it back. */
const PROBLEMS = {
  broken: "the engine process exited",
  stuck: "the engine process does not respond",
};

function engineUnavailable(status: keyof typeof PROBLEMS, cause?: unknown): ApiError {
  const details = { status: 503, code: "engine_unavailable", retryAfter: 5, cause };
  if (status === "stuck") return new ApiError("the engine does not respond; retry later", details);
  const message = "the engine exited; retry when the server has restarted";
  return new ApiError(message, { ...details, headers: { connection: "close" } });
}

/** Knows whether the engine still runs. */
export function watchEngine(engine: Pick<Engine, "closed" | "isResponding">) {
  let isGone = false;
  void engine.closed.then(() => {
    isGone = true;
  });
  return {
    get problem() {
      const status = isGone ? "broken" : "stuck";
      return isGone || !engine.isResponding ? ({ status, reason: PROBLEMS[status] } as const) : undefined;
    },
    /** @throws ApiError 503 while there is a problem. */
    check(): void {
      if (this.problem !== undefined) throw engineUnavailable(this.problem.status);
    },
    /** An error as it was thrown, or a 503 where the engine's problem is the reason for it. */
    explain(error: unknown): unknown {
      const { problem } = this;
      const isItsFault = error instanceof MosError && !(error instanceof ApiError) && error.code === "device";
      return problem !== undefined && isItsFault ? engineUnavailable(problem.status, error) : error;
    },
  };
}

/** Milliseconds after which a disk that does not answer, such as one of a machine that is gone, counts as away. */
const RESPONSE_TIMEOUT = 5000;

/**
 * A function that looks, by a check that throws where a disk cannot be used, and gives what anybody may know of the problem;
 * undefined where there is none. One look at a time, however many ask. The log has each problem once, with its place, and its end.
 *
 * @example
 * const problem = watchStorage({ check: () => assertWritable("/mnt/mos"), log });
 * await problem(); // "the server's storage is read-only"
 */
export function watchStorage(options: { readonly check: () => Promise<void>; readonly log: ServerLog }) {
  const { check, log } = options;
  let logged: string | undefined;
  let looking: Promise<void> | undefined;
  return async (): Promise<string | undefined> => {
    try {
      looking ??= check().finally(() => {
        looking = undefined;
      });
      const late = sleep(RESPONSE_TIMEOUT, undefined, { ref: false }).then(() => {
        throw new MosError("storage", `the storage has not responded for ${RESPONSE_TIMEOUT / 1000} s`);
      });
      await Promise.race([looking, late]);
      if (logged !== undefined) log.info({}, "the storage is available again");
      logged = undefined;
      return undefined;
    } catch (error) {
      const reason = errorText(error);
      if (reason !== logged) log.error({ reason }, "the server is not ready");
      logged = reason;
      return storageProblem(error);
    }
  };
}

/** @returns ApiError 400 for a prompt and an answer that do not fit into the model's context. */
export const tooLong = (maxLength: number, found: string, field: string): ApiError =>
  new ApiError(
    `this model's maximum context length is ${maxLength} tokens, and ${found}; shorten ${field.startsWith("input") ? field : "the prompt or lower max_tokens"}`,
    { status: 400, code: "context_length_exceeded", param: field },
  );
