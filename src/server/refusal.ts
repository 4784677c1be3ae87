import { type ErrorCode, MosError } from "#core";

/** What a refused request is told, in the terms of OpenAI's API. */
export interface RefusalOptions {
  /** The HTTP status. */
  readonly status: number;
  /** OpenAI's `code`, such as `model_not_found`. */
  readonly reason?: string;
  /** The field of the request that is to blame. */
  readonly field?: string | undefined;
  /** Seconds after which the same request may succeed. */
  readonly retryAfter?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly cause?: unknown;
}

/** The package's own word for a status. */
const codeOf = (status: number): ErrorCode =>
  status === 404 ? "not_found" : status === 429 || status === 503 ? "busy" : "bad_option";

/** A request that is not served, with a message that its sender may read. */
export class Refusal extends MosError {
  readonly details: RefusalOptions;

  constructor(message: string, details: RefusalOptions) {
    super(codeOf(details.status), message, { cause: details.cause });
    this.details = details;
  }
}

/** OpenAI's form of an error. */
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
  /** Something is wrong here and not with the request: to be logged with its cause. */
  readonly isOurs: boolean;
}

function typeOf(status: number): string {
  if (status === 429) return "rate_limit_error";
  if (status === 401) return "authentication_error";
  if (status === 403) return "permission_error";
  return status >= 500 ? "server_error" : "invalid_request_error";
}

function answer(message: string, details: RefusalOptions, isOurs = false): ErrorAnswer {
  const { status, reason = null, field = null, retryAfter, headers = {} } = details;
  const wait = retryAfter === undefined ? {} : { "retry-after": String(Math.max(1, Math.ceil(retryAfter))) };
  const error = { message, type: typeOf(status), param: field, code: reason };
  return { status, body: { error }, headers: { ...headers, ...wait }, isOurs };
}

/** The engine's errors that a client can do something about. Their messages name no path of this machine. */
function knownAnswer({ code, message }: MosError): ErrorAnswer | undefined {
  switch (code) {
    case "busy":
      return answer(message, { status: 429, reason: "busy", retryAfter: 1 });
    case "not_found":
      return answer(message, { status: 404, reason: "model_not_found", field: "model" });
    case "bad_option":
      return answer(message, { status: 400, reason: "invalid_value" });
    case "cancelled":
      return answer("the server is shutting down; send the request again", {
        status: 503,
        reason: "shutting_down",
        retryAfter: 5,
      });
    case "bad_adapter":
      return answer(
        "the adapter cannot be loaded; whoever runs the server finds the reason in its log",
        { status: 422, reason: "bad_adapter", field: "model" },
        true,
      );
    default:
      return undefined;
  }
}

/** What to answer to whatever was thrown. Unknown errors keep their text to themselves: it may name files or others' data. */
export function answerTo(error: unknown): ErrorAnswer {
  if (error instanceof Refusal) return answer(error.message, error.details);
  const known = error instanceof MosError ? knownAnswer(error) : undefined;
  return (
    known ??
    answer(
      "something went wrong in the server; whoever runs it finds the reason in its log by the answer's x-request-id",
      { status: 500, reason: "internal_error" },
      true,
    )
  );
}
