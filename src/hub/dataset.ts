import { join } from "node:path";
import { MosError } from "#core";
import { cacheEntry } from "./cache.ts";
import { type ConnectionOptions, connect } from "./connection.ts";
import { failureOf, subjectOf } from "./failure.ts";
import { listRepository } from "./listing.ts";
import { parseRepository } from "./repository.ts";
import type { ListedFile } from "./select.ts";
import { type TransferEvent, transfer } from "./transfer.ts";

/** Some files of a data set that are on this machine. */
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
  /** Which of the files are wanted; none of them is an error. */
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
  const subject = subjectOf(wanted, connection, "dataset");
  const { commit, files: listed } = await listRepository(connection, wanted, "dataset");
  const names = new Set(options.select(listed));
  const files = listed.filter(({ path }) => names.has(path));
  if (files.length === 0)
    throw new MosError("not_found", `the data set ${name} has none of the wanted files at ${revision}`);
  const entry = cacheEntry(options.cacheFolder, name, "dataset");
  try {
    yield* transfer(connection, { subject, entry, commit, files });
  } catch (error) {
    throw failureOf(error, subject, connection.signal).error;
  }
  const paths = new Map(files.map(({ path }) => [path, join(entry.snapshot(commit), path)]));
  return { repository: name, revision, commit, paths };
}
