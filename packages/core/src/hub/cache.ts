import { randomUUID } from "node:crypto";
import { copyFile, link, readdir, readFile, rename, rm, stat, symlink } from "node:fs/promises";
import { dirname, join, relative, sep } from "node:path";
import { z } from "zod";
import { MosError } from "#common";
import { makeFolder, pathExists, readJson, writeFileAtomic } from "#files";
import { isCommit, isSafePath, parseRepository, type Repository, type RepositoryKind } from "./repository.ts";
import { type ListedFile, type Selection, selectFiles } from "./select.ts";

/** A model that is on this machine. */
export interface PulledModel {
  readonly kind: Selection["kind"];
  /** `org/name`. */
  readonly repository: string;
  readonly revision: string;
  readonly commit: string;
  /** The folder of a safetensors model or an adapter, or the GGUF file: what to give to the loader. */
  readonly path: string;
  /** Names in the repository, and sizes in bytes. */
  readonly files: readonly ListedFile[];
  readonly bytes: number;
}

/**
 * Paths of one repository in the cache. The layout is the one of Python's `huggingface_hub`: contents under
 * `blobs/<digest>`, names under `snapshots/<commit>/` as links to them, and `refs/<revision>` holding a commit.
 */
export function cacheEntry(cacheFolder: string, name: string, kind: RepositoryKind = "model") {
  const root = join(cacheFolder, `${kind}s--${name.replace("/", "--")}`);
  return {
    root,
    blob: (digest: string) => join(root, "blobs", digest),
    snapshot: (commit: string) => join(root, "snapshots", commit),
    ref: (revision: string) => join(root, "refs", revision),
    /** File with the hub's listing of a commit; Python's cache has no such file, and ignores it. */
    listing: (commit: string) => join(root, "listings", `${commit}.json`),
  };
}
export type CacheEntry = ReturnType<typeof cacheEntry>;

/**
 * Finds a model that `pull` or Python has downloaded, without any network.
 *
 * @returns undefined where the cache has no complete model of that name and revision.
 * @throws MosError `bad_option` where the name is malformed, or the cache holds several GGUF files to choose from.
 */
export async function resolveCached(
  repository: string,
  {
    cacheFolder,
    revision,
    include = [],
  }: { readonly cacheFolder: string; readonly revision?: string; readonly include?: readonly string[] },
): Promise<PulledModel | undefined> {
  const wanted = parseRepository(repository, revision);
  const entry = cacheEntry(cacheFolder, wanted.name);
  const commit = isCommit(wanted.revision) ? wanted.revision : await readRef(entry, wanted.revision);
  if (commit === undefined) return undefined;
  const listed = await listFolder(entry.snapshot(commit));
  try {
    return describeModel(wanted, entry.snapshot(commit), { commit, ...selectFiles(listed, wanted, include) });
  } catch (error) {
    // an incomplete snapshot says nothing about the hub; the next pull decides
    if (error instanceof MosError && error.code !== "bad_option") return undefined;
    throw error;
  }
}

/** The model that a selection of files makes in its snapshot folder. */
export function describeModel(
  { name: repository, revision }: Repository,
  folder: string,
  { kind, commit, files: selected }: Selection & { readonly commit: string },
): PulledModel {
  const files = selected.map(({ path, size }) => ({ path, size }));
  const gguf = kind === "gguf" ? files.find(({ path }) => /\.gguf$/i.test(path)) : undefined;
  const path = gguf === undefined ? folder : join(folder, gguf.path);
  const bytes = files.reduce((sum, { size }) => sum + size, 0);
  return { kind, repository, revision, commit, path, files, bytes };
}

/** The size of a file in bytes, links followed; undefined where there is none. */
export async function fileSize(path: string): Promise<number | undefined> {
  const found = await stat(path).catch(() => undefined);
  return found?.isFile() ? found.size : undefined;
}

/** Links a blob into a snapshot: by a relative link or, where the platform has none, by a hard link or a copy. */
export async function placeInSnapshot(blob: string, path: string): Promise<void> {
  await makeFolder(dirname(path));
  const temporary = `${path}.${randomUUID()}.tmp`;
  await symlink(relative(dirname(path), blob), temporary)
    .catch(() => link(blob, temporary))
    .catch(() => copyFile(blob, temporary));
  await rename(temporary, path).finally(() => rm(temporary, { force: true }));
}

/** Records which commit a revision stands for, for use without the network. */
export async function writeRef(entry: CacheEntry, revision: string, commit: string): Promise<void> {
  if (isCommit(revision)) return;
  const path = entry.ref(revision);
  await makeFolder(dirname(path));
  await writeFileAtomic(path, commit);
}

/** Stores the hub's listing of a commit, by which missing files are found later. */
export async function writeListing(
  entry: CacheEntry,
  commit: string,
  files: readonly ListedFile[],
): Promise<void> {
  const path = entry.listing(commit);
  await makeFolder(dirname(path));
  await writeFileAtomic(path, JSON.stringify(files.map(({ path, size }) => ({ path, size }))));
}

const listingSchema = z.array(z.object({ path: z.string().refine(isSafePath), size: z.int().min(0) }));

/** The hub's listing of the commit of a revision; undefined before it was requested. */
export async function readListing(
  entry: CacheEntry,
  revision: string,
): Promise<{ readonly commit: string; readonly files: readonly ListedFile[] } | undefined> {
  const commit = isCommit(revision) ? revision : await readRef(entry, revision);
  if (commit === undefined || !(await pathExists(entry.listing(commit)))) return undefined;
  return { commit, files: await readJson(entry.listing(commit), listingSchema, { code: "bad_data" }) };
}

async function readRef(entry: CacheEntry, revision: string): Promise<string | undefined> {
  const path = entry.ref(revision);
  const size = (await fileSize(path)) ?? 0;
  if (size < 40 || size > 64) return undefined;
  const commit = (await readFile(path, "utf8")).trim();
  return isCommit(commit) ? commit : undefined;
}

async function listFolder(folder: string): Promise<readonly ListedFile[]> {
  const names = await readdir(folder, { recursive: true }).catch(() => []);
  const files = await Promise.all(
    names.map(async (name) => ({ name, size: await fileSize(join(folder, name)) })),
  );
  return files.flatMap(({ name, size }) =>
    size === undefined ? [] : [{ path: name.split(sep).join("/"), size }],
  );
}
