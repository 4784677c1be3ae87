// Downloads from the hub: a model, files of a data set, a text file of any server.
import { join } from "node:path";
import { decodeText, MosError } from "#common";
import {
  type CacheEntry,
  cacheEntry,
  describeModel,
  fileSize,
  type PulledModel,
  readListing,
  writeListing,
} from "./cache.ts";
import { apiFetch, type ConnectionOptions, connect } from "./connection.ts";
import { toFailure, toResource } from "./failure.ts";
import { findModelFiles, listRepository } from "./listing.ts";
import { parseRepository } from "./repository.ts";
import type { ListedFile } from "./select.ts";
import { type TransferEvent, transfer } from "./transfer.ts";

/** Event of a pull. */
export type PullEvent = TransferEvent | { readonly type: "finish"; readonly model: PulledModel };

export interface PullOptions extends ConnectionOptions {
  /** The hub cache, as Python lays it out: see `hubSettings`. */
  readonly cacheFolder: string;
  /** Revision of a repository that is written without `@revision`. */
  readonly revision?: string;
  /** File names to take instead of the default choice; `*` stands for anything but a slash. */
  readonly include?: readonly string[] | undefined;
  /** Free bytes on the disk of a folder. */
  readonly freeBytes?: (folder: string) => Promise<number>;
}

/**
 * Downloads a model of the Hugging Face Hub into the cache: only settings, safetensors and GGUF, each checked
 * against the hub's digest. What an interrupted run has downloaded is used; `break` and the signal stop it.
 *
 * @param repository `org/name[@revision][:file.gguf]`.
 * @throws MosError `bad_option`, `not_found`, `unsupported`, `bad_model`, `network`, `storage`, `cancelled`.
 */
export async function* pull(
  repository: string,
  options: PullOptions,
): AsyncGenerator<PullEvent, PulledModel> {
  const wanted = parseRepository(repository, options.revision);
  const connection = connect(options);
  const resource = toResource(wanted, connection);
  const { commit, selection } = await findModelFiles(connection, repository, options);
  const entry = cacheEntry(options.cacheFolder, wanted.name);
  const { files } = selection;
  try {
    yield* transfer(connection, { resource, entry, commit, files, freeBytes: options.freeBytes });
    const model = describeModel(wanted, entry.snapshot(commit), { commit, ...selection });
    yield { type: "finish", model };
    return model;
  } catch (error) {
    throw toFailure(error, resource, connection.signal).error;
  }
}

/** Some files of a data set that are on this machine. @inline */
export interface PulledDataset {
  readonly repository: string;
  readonly revision: string;
  readonly commit: string;
  /** By their names in the repository, where they are. */
  readonly paths: ReadonlyMap<string, string>;
}

export interface PullDatasetOptions extends ConnectionOptions {
  /** The hub cache, as Python lays it out: see `hubSettings`. */
  readonly cacheFolder: string;
  readonly revision?: string;
  /** Chooses files; choosing none is an error. */
  readonly select: (files: readonly ListedFile[]) => readonly string[];
}

/**
 * Downloads files of a data set of the Hugging Face Hub into the cache, each checked against the hub's digest. What an
 * interrupted run has downloaded is used; `break` and the signal stop it.
 *
 * @throws MosError `bad_option`, `not_found`, `network`, `storage`, `cancelled`.
 * @example
 * const select = (files) => files.map(({ path }) => path).filter((path) => path.endsWith(".parquet"));
 * const { paths } = yield* pullDataset("openai/gsm8k", { ...settings, select });
 */
export async function* pullDataset(
  repository: string,
  options: PullDatasetOptions,
): AsyncGenerator<TransferEvent, PulledDataset> {
  const wanted = parseRepository(repository, options.revision);
  const { name, revision } = wanted;
  const connection = connect(options);
  const resource = toResource(wanted, connection, "dataset");
  const { commit, files: listed } = await listRepository(connection, wanted, "dataset");
  const names = new Set(options.select(listed));
  const files = listed.filter(({ path }) => names.has(path));
  if (files.length === 0)
    throw new MosError("not_found", `the data set ${name} has none of the requested files at ${revision}`);
  const entry = cacheEntry(options.cacheFolder, name, "dataset");
  try {
    yield* transfer(connection, { resource, entry, commit, files });
    await writeListing(entry, commit, listed);
  } catch (error) {
    throw toFailure(error, resource, connection.signal).error;
  }
  return { repository: name, revision, commit, paths: snapshotPaths(files, entry, commit) };
}

const snapshotPaths = (
  files: readonly ListedFile[],
  entry: CacheEntry,
  commit: string,
): ReadonlyMap<string, string> =>
  new Map(files.map(({ path }) => [path, join(entry.snapshot(commit), path)]));

/**
 * Finds files of a data set that `pullDataset` has downloaded, without any network.
 *
 * @returns undefined where one of them is not here.
 * @throws MosError `bad_option`, and what `select` throws.
 */
export async function cachedDataset(
  repository: string,
  { cacheFolder, revision: wanted, select }: Omit<PullDatasetOptions, keyof ConnectionOptions>,
): Promise<PulledDataset | undefined> {
  const { name, revision } = parseRepository(repository, wanted);
  const entry = cacheEntry(cacheFolder, name, "dataset");
  const listing = await readListing(entry, revision);
  if (listing === undefined) return undefined;
  const names = new Set(select(listing.files));
  const files = listing.files.filter(({ path }) => names.has(path));
  const paths = snapshotPaths(files, entry, listing.commit);
  for (const { path, size } of files) if ((await fileSize(paths.get(path) ?? "")) !== size) return undefined;
  return { repository: name, revision, commit: listing.commit, paths };
}

/**
 * Fetches a small public text file of any server, such as one of a GitHub repository; retries after a break. No token is sent.
 *
 * @param file `repository` and `path` are for messages.
 * @throws MosError `bad_option`, `not_found`, `network`, `bad_data` where it is not UTF-8, `cancelled`.
 */
export async function fetchTextFile(
  { url, repository, path }: { readonly url: string; readonly repository: string; readonly path: string },
  options: Omit<ConnectionOptions, "endpoint" | "token"> = {},
): Promise<string> {
  if (!URL.canParse(url)) throw new MosError("bad_option", `${JSON.stringify(url)} is not a URL`);
  const connection = connect({ ...options, endpoint: new URL(url).origin, token: undefined });
  const resource = { ...toResource({ name: repository, revision: "main" }, connection, "dataset"), path };
  const response = await apiFetch(connection, resource)(url);
  return decodeText(new Uint8Array(await response.arrayBuffer()), { code: "bad_data", where: url });
}
