import { errorText, MosError } from "#common";
import { isDiskFull, systemCode } from "#files";
import type { Repository, RepositoryKind } from "./repository.ts";

/** Resource of a request, as error messages name it. */
export interface Resource {
  readonly name: string;
  readonly revision: string;
  readonly endpoint: string;
  readonly hasToken: boolean;
  readonly path?: string;
  /** A model by default. */
  readonly kind?: RepositoryKind;
}

/** Resource of a request for a repository. */
export const toResource = (
  { name, revision }: Repository,
  { endpoint, token }: { readonly endpoint: string; readonly token: string | undefined },
  kind: RepositoryKind = "model",
): Resource => ({ name, revision, endpoint, hasToken: token !== undefined, kind });

/** The page of a repository, under which its files are. */
export const repositoryUrl = ({ endpoint, name, kind }: Resource): string =>
  `${endpoint}/${kind === "dataset" ? "datasets/" : ""}${name}`;

/** Where a file of a commit is. */
export const fileUrl = (resource: Resource, commit: string, path: string): string =>
  `${repositoryUrl(resource)}/resolve/${commit}/${path.split("/").map(encodeURIComponent).join("/")}`;

/** Error of an attempt; `transient` if another one may succeed. */
export interface Failure {
  readonly error: MosError;
  readonly transient: boolean;
  /** The pause that the server asks for (Retry-After), in seconds. */
  readonly waitSeconds?: number;
}

/** Longest pause between two requests of the hub that a server may ask for, in seconds. */
const MAX_WAIT = 120;
const DISK_CODES = /^(ENOSPC|EDQUOT|EROFS|EACCES|EPERM|EFBIG|EIO|EMFILE|ENOTDIR)$/;
const CERTIFICATE = /CERT|SELF_SIGNED|UNABLE_TO_VERIFY|ALTNAME/;

/** A thrown value as a failure: MosErrors stay as they are, disk errors are "storage", the rest is the network. */
export function toFailure(error: unknown, resource: Resource, signal?: AbortSignal): Failure {
  if (error instanceof MosError) return { error, transient: false };
  if (signal?.aborted) return { error: cancelled(resource, error), transient: false };
  if (isDiskError(error)) return { error: diskError(error), transient: false };
  const code = errorCode(error);
  const reason = code === "" ? errorText(error) : code;
  const advice = CERTIFICATE.test(code)
    ? "its certificate is not trusted here; behind a company proxy, set NODE_EXTRA_CA_CERTS to the proxy's certificate"
    : `check the connection, or use a ${resource.kind ?? "model"} that is already on this machine`;
  const message = `${resource.endpoint} cannot be reached (${reason}): ${advice}`;
  return { error: new MosError("network", message, { cause: error }), transient: !CERTIFICATE.test(code) };
}

/** An answer other than 2xx as a failure that says what to do. */
export function responseFailure(response: Response, resource: Resource): Failure {
  const { status, headers } = response;
  if (status === 404) return final(notFound(headers, resource));
  if (status === 401 || status === 403) return final(forbidden(headers, resource));
  const what = resource.path ?? resource.name;
  const error = new MosError(
    "network",
    status === 429
      ? `${resource.endpoint} limits the number of requests (429) for ${what}; wait a few minutes${resource.hasToken ? "" : `, or set ${TOKEN} for a higher limit`}`
      : `${resource.endpoint} answered ${status} for ${what}; try again later`,
  );
  return { error, ...retryAdvice(response, MAX_WAIT) };
}

/**
 * Tells if a request may be repeated after this answer, and when: Retry-After, which is a number of seconds or a date, up to
 * `maxSeconds`.
 */
export function retryAdvice(
  { status, headers }: Response,
  maxSeconds: number,
): Pick<Failure, "transient" | "waitSeconds"> {
  const transient = [408, 425, 429].includes(status) || status >= 500;
  const asked = headers.get("retry-after") ?? "";
  const untilDate = (Date.parse(asked) - Date.parse(headers.get("date") ?? "")) / 1000;
  const seconds = /^\d+(\.\d+)?$/.test(asked) ? Number(asked) : untilDate;
  if (Number.isNaN(seconds)) return { transient };
  return { transient, waitSeconds: Math.min(Math.max(0, seconds), maxSeconds) };
}

/** The error of a download that its signal stopped. */
export function cancelled({ path, name }: Resource, cause?: unknown): MosError {
  const message = `stopped downloading ${path ?? name}; the same command resumes from here`;
  return new MosError("cancelled", message, { cause });
}

/** A refused write as an error that names the file and the reason. */
function diskError(error: unknown): MosError {
  const advice = isDiskFull(error)
    ? "the disk is full; free some space and run again: what was downloaded is kept"
    : "check that the cache folder is writable";
  return new MosError("storage", `the download cannot be stored: ${advice} (${errorText(error)})`, {
    cause: error,
  });
}

/** The code of a system error, also where fetch wraps it: "ECONNRESET", "ENOSPC", or "". */
function errorCode(error: unknown): string {
  if (!(error instanceof Error)) return "";
  return systemCode(error) ?? errorCode(error.cause);
}

/** The file system throws its errors bare; fetch wraps the network's, which can have the same codes (EACCES). */
function isDiskError(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return "path" in error || DISK_CODES.test(systemCode(error) ?? "");
}

/** Places for a token, as messages name them. */
const TOKEN = "HF_TOKEN (in a program the option hub.token)";

const final = (error: MosError): Failure => ({ error, transient: false });

function notFound(headers: Headers, resource: Resource): MosError {
  const { name, revision, endpoint, hasToken, path, kind = "model" } = resource;
  const refusal = headers.get("x-error-code");
  const access = hasToken ? "or the token has no access to it" : `or it is private and needs ${TOKEN}`;
  const message =
    refusal === "RevisionNotFound"
      ? `${name} has no revision ${revision}; see ${repositoryUrl(resource)}/tree/main`
      : path !== undefined
        ? `${name} has no file ${path} at revision ${revision}`
        : `there is no ${kind} ${name} at ${endpoint}; check the spelling, ${access}`;
  return new MosError("not_found", message);
}

function forbidden(headers: Headers, resource: Resource): MosError {
  const { name, endpoint, hasToken } = resource;
  const page = repositoryUrl(resource);
  const tokens = `${endpoint}/settings/tokens`;
  if (headers.get("x-error-code") === "GatedRepo") {
    return new MosError(
      "network",
      hasToken
        ? `${name} is gated, and the token's account has no access; accept the licence at ${page} with that account ` +
            "(a fine-grained token must also allow public gated repositories)"
        : `${name} is gated; accept the licence at ${page}, then set ${TOKEN} to a token of that account (${tokens})`,
    );
  }
  // The hub answers 401 both for a repository that does not exist and for one that the public may not see.
  return new MosError(
    "network",
    hasToken
      ? `${endpoint} refuses the token for ${name}; check the spelling, accept the licence at ${page} if there is one, and renew HF_TOKEN (${tokens})`
      : `${name} does not exist, or is private or gated; check the spelling, or set ${TOKEN} to a token (${tokens}) and accept the licence at ${page}`,
  );
}
