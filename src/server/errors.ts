// Errors in the form of OpenAI's API, and the status that each of the package's error codes has.
import { HTTPException } from "hono/http-exception";
import { type ErrorCode, MosError } from "#core";
import type { Engine } from "#inference";

/** What the client of a failed request receives, in the terms of OpenAI's API. */
export interface ApiErrorDetails {
  /** The HTTP status. */
  readonly status: number;
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
const codeOf = (status: number): ErrorCode =>
  status === 404 ? "not_found" : status === 429 || status === 503 ? "busy" : "bad_option";

/** A request that the server does not serve. The client may read the message. */
export class ApiError extends MosError {
  readonly details: ApiErrorDetails;

  constructor(message: string, details: ApiErrorDetails) {
    super(codeOf(details.status), message, { cause: details.cause });
    this.details = details;
  }
}

/** An error as OpenAI's API writes it. */
export interface ErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: string | null;
  };
}

export interface ErrorAnswer {
  readonly status: number;
  readonly body: ErrorBody;
  readonly headers: Readonly<Record<string, string>>;
  /** The fault is the server's, not the request's: the cause belongs in the log. */
  readonly isServerFault: boolean;
}

function typeOf(status: number): string {
  if (status === 429) return "rate_limit_error";
  if (status === 401) return "authentication_error";
  if (status === 403) return "permission_error";
  return status >= 500 ? "server_error" : "invalid_request_error";
}

function answer(message: string, details: ApiErrorDetails, isServerFault = false): ErrorAnswer {
  const { status, code = null, param = null, retryAfter, headers = {} } = details;
  const wait = retryAfter === undefined ? {} : { "retry-after": String(Math.max(1, Math.ceil(retryAfter))) };
  return {
    status,
    body: { error: { message, type: typeOf(status), param, code } },
    headers: { ...headers, ...wait },
    isServerFault,
  };
}

/** @returns 503 for requests that come, or are cut off, while the server shuts down. */
export const shuttingDown = (message = "the server is shutting down; send the request again"): ApiError =>
  new ApiError(message, { status: 503, code: "shutting_down", retryAfter: 5 });

/** The codes that a client can act on. Messages of the engine name no path of this machine. */
function knownAnswer({ code, message }: MosError): ErrorAnswer | undefined {
  switch (code) {
    case "busy":
      return answer(message, { status: 429, code: "busy", retryAfter: 1 });
    case "not_found":
      return answer(message, { status: 404, code: "model_not_found", param: "model" });
    case "bad_option":
      return answer(message, { status: 400, code: "invalid_value" });
    case "memory":
      return answer(message, { status: 503, code: "insufficient_memory", retryAfter: 5 }, true);
    case "cancelled":
      return answerTo(shuttingDown());
    case "bad_adapter":
      return answer(
        "the adapter cannot be loaded; the server's log has the reason",
        { status: 422, code: "bad_adapter", param: "model" },
        true,
      );
    default:
      return undefined;
  }
}

/** The answer to anything that was thrown. The text of an unknown error stays here: it may name files or other clients' data. */
export function answerTo(error: unknown): ErrorAnswer {
  if (error instanceof ApiError) return answer(error.message, error.details);
  // Hono's own validators throw these before a schema is reached
  if (error instanceof HTTPException)
    return answer(error.message, {
      status: error.status,
      code: error.status === 415 ? "unsupported_media_type" : "bad_request",
    });
  const known = error instanceof MosError ? knownAnswer(error) : undefined;
  return (
    known ??
    answer(
      "something went wrong in the server; its log has the reason under this answer's x-request-id",
      { status: 500, code: "internal_error" },
      true,
    )
  );
}

/** Whether the engine still runs. Once it has ended, only a restart of the server brings it back. */
export interface EngineWatch {
  readonly isGone: boolean;
  /** @throws ApiError 503 once the engine has ended. */
  check(): void;
  /** An error as it was thrown, or a 503 where the engine's end is the reason for it. */
  explain(error: unknown): unknown;
}

const engineUnavailable = (cause?: unknown): ApiError =>
  new ApiError("the engine behind this server is gone; send the request again when the server is back", {
    status: 503,
    code: "engine_unavailable",
    retryAfter: 5,
    headers: { connection: "close" },
    cause,
  });

export function watchEngine({ closed }: Pick<Engine, "closed">): EngineWatch {
  let isGone = false;
  void closed.then(() => {
    isGone = true;
  });
  return {
    get isGone() {
      return isGone;
    },
    check() {
      if (isGone) throw engineUnavailable();
    },
    explain(error) {
      const isItsEnd = error instanceof MosError && !(error instanceof ApiError) && error.code === "device";
      return isGone && isItsEnd ? engineUnavailable(error) : error;
    },
  };
}
