// Uploads to the hub: files of one commit, of which only those that differ are sent.
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { pathToFileURL } from "node:url";
import { commitIter, createBranch, createRepo, HubApiError, modelInfo } from "@huggingface/hub";
import { MosError, omitUndefined } from "#common";
import { storageFailure } from "#files";
import {
  apiFetch,
  type Connection,
  type ConnectionOptions,
  connect,
  DEFAULT_ENDPOINT,
  MAX_REDIRECTS,
  redirectTarget,
  withRetries,
} from "./connection.ts";
import { type Resource, repositoryUrl, responseFailure, toFailure, toResource } from "./failure.ts";
import { type Digest, type HubFile, listRepository } from "./listing.ts";
import { parseRepository, type Repository } from "./repository.ts";

/** A file to upload: its name in the repository, and its bytes or the path of its file. */
export interface PushedFile {
  readonly path: string;
  readonly content: Uint8Array<ArrayBuffer> | string;
  /** Leaves what the repository has by this name, such as a card that was edited there. */
  readonly isDefault?: boolean;
}

/** Event of a push. */
export type PushEvent =
  | { readonly type: "created"; readonly repository: string; readonly private: boolean }
  | { readonly type: "upload"; readonly path: string; readonly size: number; readonly share: number }
  | {
      readonly type: "finish";
      readonly url: string;
      readonly revision: string;
      /** Undefined where nothing had changed. */
      readonly commit: string | undefined;
      readonly sent: readonly string[];
      readonly unchanged: readonly string[];
    };

export interface PushOptions extends ConnectionOptions {
  /** Branch to commit to, which is made where it is missing ("main"). */
  readonly revision?: string | undefined;
  /** Makes the repository private; one that is public is refused. */
  readonly private?: boolean;
  /** Hosts that files may be uploaded to, besides those of the endpoint's domain. */
  readonly uploadHosts?: readonly string[];
  /** Title of the commit. */
  readonly title: string;
}

/**
 * Puts files into a model repository of the hub, which is made where it is missing, in one commit. Files that the revision
 * has already are not sent, and large ones that an interrupted push has sent are not sent again.
 *
 * @param repository `org/name`.
 * @throws MosError `bad_option`, `network`, `storage`, `cancelled`.
 */
export async function* push(
  files: readonly PushedFile[],
  repository: string,
  options: PushOptions,
): AsyncGenerator<PushEvent> {
  const connection = connect(options);
  const wanted = parseRepository(repository, options.revision);
  if (wanted.file !== undefined)
    throw new MosError("bad_option", `${repository}: write org/name; a push names no file`);
  if (connection.token === undefined)
    throw new MosError(
      "bad_option",
      `pushing needs a token: set HF_TOKEN to one with write access (${connection.endpoint}/settings/tokens)`,
    );
  const resource = toResource(wanted, connection);
  const api = {
    repo: { type: "model", name: wanted.name } as const,
    accessToken: connection.token,
    hubUrl: connection.endpoint,
    fetch: writeFetch(connection, resource, options.uploadHosts ?? []),
  };
  try {
    const isPrivate = await readVisibility(connection, resource);
    if (isPrivate === false && options.private)
      throw new MosError(
        "bad_option",
        `${wanted.name} exists and is public; push without --private, or make it private at ${repositoryUrl(resource)}/settings`,
      );
    if (isPrivate === undefined) {
      await createRepo({ ...api, ...(options.private ? { visibility: "private" as const } : {}) });
      yield { type: "created", repository: wanted.name, private: options.private ?? false };
    }
    const listed = await listBranch(connection, wanted, () =>
      createBranch({ ...api, branch: wanted.revision }),
    );
    const abort = omitUndefined({ abortSignal: connection.signal });
    yield* commitChanges({ ...api, branch: wanted.revision, title: options.title, ...abort }, files, {
      listed,
      url: repositoryUrl(resource),
    });
  } catch (error) {
    throw pushFailure(error, resource, connection);
  }
}

async function* commitChanges(
  commit: Omit<Parameters<typeof commitIter>[0], "operations" | "accessToken" | "credentials"> & {
    readonly branch: string;
    readonly accessToken: string;
  },
  files: readonly PushedFile[],
  { listed, url }: { readonly listed: readonly HubFile[]; readonly url: string },
): AsyncGenerator<PushEvent> {
  const sizes = new Map<string, number>();
  const changed: PushedFile[] = [];
  for (const file of files) {
    const there = listed.find(({ path }) => path === file.path);
    if (there !== undefined && file.isDefault === true) continue;
    sizes.set(file.path, await fileSize(file));
    if (there?.size !== sizes.get(file.path) || (await fileDigest(file, there?.digest)) !== there?.digest.hex)
      changed.push(file);
  }
  const sent = changed.map(({ path }) => path);
  const unchanged = files.map(({ path }) => path).filter((path) => !sent.includes(path));
  const finish = { type: "finish" as const, revision: commit.branch, url, sent, unchanged };
  if (changed.length === 0) return yield { ...finish, commit: undefined };
  const committing = commitIter({
    ...commit,
    operations: changed.map(({ path, content }) => ({
      operation: "addOrUpdate",
      path,
      content: typeof content === "string" ? pathToFileURL(content) : new Blob([content]),
    })),
  });
  let step = await committing.next();
  for (; step.done !== true; step = await committing.next()) {
    const event = step.value;
    if (event.event === "fileProgress" && event.state === "uploading")
      yield { type: "upload", path: event.path, size: sizes.get(event.path) ?? 0, share: event.progress };
  }
  yield { ...finish, commit: step.value?.commit.oid };
}

/** Whether a repository is private; undefined where there is none. */
async function readVisibility(connection: Connection, resource: Resource): Promise<boolean | undefined> {
  try {
    const { name } = resource;
    const fetch = apiFetch(connection, resource);
    return (await modelInfo({ name, hubUrl: connection.endpoint, fetch })).private;
  } catch (error) {
    if (error instanceof MosError && error.code === "not_found") return undefined;
    throw error;
  }
}

/** The files of a branch, which is made where it is missing. */
async function listBranch(
  connection: Connection,
  wanted: Repository,
  create: () => Promise<void>,
): Promise<readonly HubFile[]> {
  try {
    return (await listRepository(connection, wanted)).files;
  } catch (error) {
    if (!(error instanceof MosError) || error.code !== "not_found") throw error;
    await create();
    return (await listRepository(connection, wanted)).files;
  }
}

async function fileSize({ content }: PushedFile): Promise<number> {
  if (typeof content !== "string") return content.length;
  const { size } = await stat(content).catch(storageFailure(content));
  return size;
}

/** The digest of a file as the hub computes that of the one it has. */
async function fileDigest(file: PushedFile, there: Digest | undefined): Promise<string> {
  const hash = createHash(there?.algorithm === "sha256" ? "sha256" : "sha1");
  if (there?.algorithm === "git-sha1") hash.update(`blob ${await fileSize(file)}\0`);
  if (typeof file.content === "string")
    for await (const chunk of createReadStream(file.content)) hash.update(chunk);
  else hash.update(file.content);
  return hash.digest("hex");
}

/** Where the Hugging Face Hub stores files besides its own domain: Xet's servers, and buckets of S3. */
const HUB_STORAGE = /\.hf\.co$|^hf-hub-lfs-[a-z0-9-]+\.s3[.-][a-z0-9.-]+\.amazonaws\.com$/;

/** The hub's answers name where to upload to. Throws `network` unless that is the hub's own, or allowed. */
function checkTarget(target: URL, { endpoint }: Connection, uploadHosts: readonly string[]): void {
  const { protocol, hostname } = new URL(endpoint);
  const isOwn = target.hostname === hostname || target.hostname.endsWith(`.${hostname}`);
  const isStorage = endpoint === DEFAULT_ENDPOINT && HUB_STORAGE.test(target.hostname);
  const isSecure = target.protocol === "https:" || target.protocol === protocol;
  if (isSecure && (isOwn || isStorage || uploadHosts.includes(target.hostname))) return;
  throw new MosError(
    "network",
    `${endpoint} asks for an upload to ${target.origin}, which is not of its domain${isSecure ? `; where you trust that host, pass --upload-host ${target.hostname}` : " or not encrypted"}`,
  );
}

/** A `fetch` for requests that write: retried where they may succeed later. The library adds the token for the hub's own. */
function writeFetch(
  connection: Connection,
  resource: Resource,
  uploadHosts: readonly string[],
): typeof fetch {
  const send = async (url: string, init: RequestInit | undefined): Promise<Response> => {
    let target = new URL(url);
    for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
      checkTarget(target, connection, uploadHosts);
      const own: RequestInit = { ...init, redirect: "manual", signal: connection.signal ?? null };
      const response = await connection.fetch(target.href, own);
      const location = response.headers.get("location");
      if ((response.status !== 307 && response.status !== 308) || location === null) return response;
      await response.body?.cancel();
      const { origin } = target;
      target = redirectTarget(location, target);
      if (target.origin !== origin)
        throw new MosError(
          "network",
          `${origin} redirects an upload to ${target.origin}, where it is not sent`,
        );
    }
    throw new MosError("network", `${url} redirects more than ${MAX_REDIRECTS} times`);
  };
  return (input, init) =>
    withRetries(connection, resource, () =>
      send(input instanceof Request ? input.url : String(input), init)
        .then((response) =>
          response.status < 500 && response.status !== 429 ? response : responseFailure(response, resource),
        )
        .catch((error: unknown) => toFailure(error, resource, connection.signal)),
    );
}

function pushFailure(error: unknown, resource: Resource, { endpoint, signal }: Connection): MosError {
  if (signal?.aborted)
    return new MosError(
      "cancelled",
      `stopped pushing to ${resource.name}; the same command sends what is missing`,
      {
        cause: error,
      },
    );
  if (!(error instanceof HubApiError)) return toFailure(error, resource, signal).error;
  const { statusCode, message } = error;
  const advice =
    statusCode === 401 || statusCode === 403
      ? `the token may not write to ${resource.name}; set HF_TOKEN to one with write access (${endpoint}/settings/tokens)`
      : message;
  return new MosError("network", `${endpoint} refused the push (${statusCode}): ${advice}`, { cause: error });
}
