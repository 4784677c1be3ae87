// Errors for requests that match no route.
import { ApiError } from "./errors.ts";

/** Paths of fine-tuning as a service. */
const SERVICE_PATH = /^\/v1\/(files|fine_tuning|aliases|webhooks|usage)(\/|$)/;
/** It also adds methods to this one. */
const MODEL_PATH = /^\/v1\/models\/./;
const SERVICE_METHODS: readonly string[] = ["POST", "DELETE"];

const SERVICE_HINT =
  "start it with mos serve --state FOLDER and the package mixture-of-shards-service (docs/how-to/fine-tuning-service.md)";

/** A request of a client, and whether the server has the routes of fine-tuning as a service. */
export interface UnservedRequest {
  readonly method: string;
  readonly path: string;
  readonly hasService: boolean;
}

/** Clients that can use either of OpenAI's APIs may ask for the other one first. */
export function notFound({ path, hasService }: UnservedRequest): ApiError {
  const shown = path.slice(0, 200);
  const message = path.startsWith("/v1/responses")
    ? "the Responses API is not supported by this server; use /v1/chat/completions"
    : !hasService && SERVICE_PATH.test(path)
      ? `no route ${shown}: this server does not accept fine-tuning jobs; ${SERVICE_HINT}`
      : `no route ${shown}`;
  return new ApiError(message, { status: 404, code: "unknown_url" });
}

/** The path has routes, but none for the method. */
export function wrongMethod(
  { method, path, hasService }: UnservedRequest,
  allowed: readonly string[],
): ApiError {
  const possible = `${allowed.join(" and ")} ${allowed.length > 1 ? "are" : "is"}`;
  const isServicePath = !hasService && SERVICE_METHODS.includes(method) && MODEL_PATH.test(path);
  const more = isServicePath
    ? `. Only servers that accept fine-tuning jobs can change models; ${SERVICE_HINT}`
    : "";
  return new ApiError(`${method} is not allowed; ${possible}${more}`, {
    status: 405,
    code: "method_not_allowed",
    headers: { allow: allowed.join(", ") },
  });
}
