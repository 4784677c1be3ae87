// The files of a repository on the hub, before any of them is downloaded.
import { datasetInfo, listFiles, modelInfo } from "@huggingface/hub";
import { z } from "zod";
import { MosError } from "#common";
import { apiFetch, type Connection } from "./connection.ts";
import { fileUrl, type Resource, toFailure, toResource } from "./failure.ts";
import { isCommit, isSafePath, parseRepository, type Repository, type RepositoryKind } from "./repository.ts";
import { type ListedFile, selectFiles } from "./select.ts";

/** Expected hash of a file's content. Git hashes a header and the content with SHA-1. */
export interface Digest {
  readonly algorithm: "sha256" | "git-sha1";
  readonly hex: string;
}

/** A file of the hub: its announced size in bytes, and the digest that it must have. */
export interface HubFile extends ListedFile {
  readonly digest: Digest;
}

const MAX_FILES = 100_000;
const bytes = z.int().nonnegative();
const entrySchema = z.object({
  type: z.string(),
  path: z.string().min(1),
  size: bytes.default(0),
  oid: z
    .string()
    .regex(/^[0-9a-f]{40}$/)
    .optional(),
  lfs: z.object({ oid: z.string().regex(/^[0-9a-f]{64}$/), size: bytes }).optional(),
});

/**
 * Asks the hub for the commit of a revision and for its files.
 *
 * @throws MosError `not_found`, `network`, `cancelled`, or `bad_model` for a file name that leads out of its folder.
 */
export async function listRepository(
  connection: Connection,
  repository: Repository,
  kind: RepositoryKind = "model",
): Promise<{ readonly commit: string; readonly files: readonly HubFile[] }> {
  const { name, revision } = repository;
  const { endpoint: hubUrl } = connection;
  const resource = toResource(repository, connection, kind);
  const fetch = apiFetch(connection, resource);
  try {
    const { sha } =
      kind === "dataset"
        ? await datasetInfo({ name, revision, hubUrl, fetch, additionalFields: ["sha"] })
        : await modelInfo({ name, revision, hubUrl, fetch, additionalFields: ["sha"] });
    const commit = readCommit(sha, resource);
    const files: HubFile[] = [];
    const repo = { type: kind, name };
    for await (const entry of listFiles({ repo, revision: commit, recursive: true, hubUrl, fetch })) {
      const file = readEntry(entry, resource);
      if (file !== undefined) files.push(file);
      if (files.length > MAX_FILES)
        throw new MosError(
          "unsupported",
          `${name} has more than ${MAX_FILES} files, the limit for one ${kind}`,
        );
    }
    return { commit, files };
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError || error instanceof RangeError) {
      throw notAHub(resource, error.message, error);
    }
    throw toFailure(error, resource, connection.signal).error;
  }
}

function readCommit(sha: unknown, resource: Resource): string {
  if (typeof sha === "string" && isCommit(sha)) return sha;
  throw notAHub(resource, `the commit of ${resource.revision} is ${JSON.stringify(sha)}`);
}

function readEntry(entry: unknown, resource: Resource): HubFile | undefined {
  const parsed = entrySchema.safeParse(entry);
  if (!parsed.success) throw notAHub(resource, z.prettifyError(parsed.error));
  const { type, path, size, oid, lfs } = parsed.data;
  if (!isSafePath(path))
    throw new MosError(
      "bad_model",
      `${resource.name} lists a file ${JSON.stringify(path)}, a name that could lead out of its folder; nothing was downloaded`,
    );
  if (type !== "file") return undefined;
  if (lfs !== undefined) return { path, size: lfs.size, digest: { algorithm: "sha256", hex: lfs.oid } };
  if (oid === undefined) throw notAHub(resource, `${path} has no digest`);
  return { path, size, digest: { algorithm: "git-sha1", hex: oid } };
}

function notAHub(resource: Resource, found: string, cause?: unknown): MosError {
  return new MosError(
    "network",
    `${resource.endpoint} does not answer as a Hugging Face Hub about ${resource.name}: ${found}`,
    { cause },
  );
}

/**
 * Finds the files that make up a model, those of `pull`, at one commit, and their addresses.
 *
 * @param repository `org/name[@revision][:file.gguf]`.
 * @throws MosError `bad_option`, `not_found`, `unsupported`, `bad_model`, `network`, `cancelled`.
 */
export async function findModelFiles(
  connection: Connection,
  repository: string,
  {
    revision,
    include,
  }: { readonly revision?: string | undefined; readonly include?: readonly string[] | undefined } = {},
) {
  const wanted = parseRepository(repository, revision);
  const { commit, files } = await listRepository(connection, wanted);
  const resource = toResource(wanted, connection);
  return {
    commit,
    selection: selectFiles(files, wanted, include),
    urlOf: (path: string): string => fileUrl(resource, commit, path),
  };
}
