// Run folders below one folder. The tree is walked at most so often that looking costs a small part of the time.
import type { Dirent } from "node:fs";
import { readdir, realpath, stat } from "node:fs/promises";
import { basename, join, relative } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { RETRAINING, RUN_FILES } from "mixture-of-shards-core/adapters";
import { limitConcurrency, MosError, monotonicNow } from "mixture-of-shards-core/common";
import { storageError } from "mixture-of-shards-core/files";
import type { ApiKey } from "../auth.ts";
import { comparePlaces, placeOf, type RunEntry, type RunSource } from "./run.ts";
import { createFolderReader, type FoundRun, folderId, runName } from "./run-folder.ts";

/** Levels of folders that are searched. */
const MAX_DEPTH = 4;
/** Folders that are looked into, and runs that are shown: somebody may have given the root of a disk. */
const [MAX_FOLDERS, MAX_RUNS] = [20_000, 5_000];
/** Milliseconds for which a walk holds, and the same as a multiple of what it took. */
const [WALK_MS, WALK_SHARE] = [1_000, 20];
/** Folders that are read at once. */
const CONCURRENT = 16;

/** Hidden folders hold what other programs keep; node_modules thousands of folders without a run. */
const isSearched = (entry: Dirent): boolean =>
  entry.isDirectory() &&
  entry.name !== "node_modules" &&
  (!entry.name.startsWith(".") || entry.name.endsWith(RETRAINING));

/** The run folders below a folder. A link is not followed: it may lead out, or in a circle. */
async function findRuns(root: string): Promise<readonly FoundRun[]> {
  const found: FoundRun[] = [];
  let [folders, looked] = [[root], 0];
  for (let depth = 0; depth <= MAX_DEPTH && folders.length > 0; depth++) {
    const lists = await Promise.all(
      folders.map(limited(async (path) => ({ path, entries: await list(path) }))),
    );
    looked += folders.length;
    folders = [];
    for (const { path, entries } of lists) {
      const isRun = entries.some((entry) => entry.name === RUN_FILES.record && entry.isFile());
      if (isRun) found.push({ path, name: runName(relative(root, path) || basename(root)) });
      // what is in a run's folder are its checkpoints
      else folders.push(...entries.filter(isSearched).map(({ name }) => join(path, name)));
    }
    folders = folders.slice(0, Math.max(0, MAX_FOLDERS - looked));
  }
  return found.slice(0, MAX_RUNS);
}

const limited = <In, Out>(work: (value: In) => Promise<Out>): ((value: In) => Promise<Out>) => {
  const run = limitConcurrency(CONCURRENT);
  return (value) => run(() => work(value));
};

/** A folder that is gone, or that nobody may read, has none. */
const list = (path: string): Promise<readonly Dirent[]> =>
  readdir(path, { withFileTypes: true }).catch(() => []);

interface RunFolderOptions {
  /** A folder of adapters that are served under the names of its sub-folders. */
  readonly adapters: string | undefined;
  /** Tests whether a key may see them, which belong to no tenant. */
  readonly maySee: (key: ApiKey) => boolean;
}

/**
 * The runs in folders below `folder`.
 *
 * @throws MosError `not_found`, `bad_option`, `storage` where there is no such folder.
 */
export async function openRunFolders(
  folder: string,
  { adapters, maySee }: RunFolderOptions,
): Promise<RunSource> {
  const root = await realpath(folder).catch((error: unknown) => {
    throw storageError(error, folder);
  });
  if (!(await stat(root)).isDirectory())
    throw new MosError(
      "bad_option",
      `${folder} is a file; give --runs the folder that the run folders are in`,
    );
  const served = adapters === undefined ? undefined : await realpath(adapters).catch(() => undefined);
  const reader = createFolderReader(served);
  let walk: Promise<readonly FoundRun[]> | undefined;
  const find = (): Promise<readonly FoundRun[]> => {
    walk ??= timed(
      () => findRuns(root),
      () => {
        walk = undefined;
      },
    );
    return walk;
  };
  return {
    list: async (key, { after, limit }) => {
      if (!maySee(key)) return [];
      const runs = await find();
      reader.keep(new Set(runs.map(({ path }) => path)));
      const entries = await Promise.all(runs.map(limited(reader.read)));
      return entries
        .filter((entry): entry is RunEntry => entry !== undefined)
        .filter((entry) => after === undefined || comparePlaces(after, placeOf(entry)) < 0)
        .sort((a, b) => comparePlaces(placeOf(a), placeOf(b)))
        .slice(0, limit);
    },
    find: async (key, id) => {
      const run = !maySee(key) ? undefined : (await find()).find(({ path }) => folderId(path) === id);
      return run === undefined ? undefined : await reader.read(run);
    },
  };
}

/** Does some work, and says when it has to be done again. */
async function timed<T>(work: () => Promise<T>, onOld: () => void): Promise<T> {
  const begin = monotonicNow();
  try {
    return await work();
  } finally {
    const took = monotonicNow() - begin;
    void sleep(Math.max(WALK_MS, WALK_SHARE * took), undefined, { ref: false }).then(onOld);
  }
}
