// An adapter's folder beyond its two files: the run that made it, the run that will replace it, and the versions that it
// replaced. The last two are hidden folders beside it, which servers pass over: `.NAME.retraining` and `.NAME.versions`.
import { MosError } from "#common";
import {
  fromFileName,
  linkEntries,
  listFolder,
  lockChanges,
  openAtomicFolder,
  pathExists,
  replaceFolder,
  restoreFolder,
  storageFailure,
  writeFolderAtomic,
} from "#files";
import { basename, dirname, join, resolve, rm, rmdir, stat } from "#platform";
import { type AdapterDescription, openAdapterFolder } from "./folder.ts";
import { ADAPTER_CONFIG, ADAPTER_TENSORS, folderVersion } from "./folder-files.ts";

/** The files of an adapter. */
export const ADAPTER_FILES: readonly string[] = [ADAPTER_CONFIG, ADAPTER_TENSORS];

/** Names in the folder of a run, beside those of its adapter. */
export const RUN_FILES = {
  /** What it measured, as JSON Lines. */
  metrics: "metrics.jsonl",
  /** Folder of event files for TensorBoard. */
  tensorboard: "tensorboard",
  /** How far its metrics are at a tracker. */
  tracking: "tracking.json",
  /** Log-probabilities of the targets before training. */
  reference: "reference.safetensors",
  checkpoints: "checkpoints",
  /** Folder of the best adapter so far. */
  best: "best",
  /** What it has taught and lost, of a run that is complete. */
  outcome: "outcome.json",
  /** Everything that decides the result. It is written last and marks the folder as a run's. */
  record: "run.json",
} as const;

/** All names that a run writes into its folder. */
export const RUN_ENTRIES: readonly string[] = [...ADAPTER_FILES, ...Object.values(RUN_FILES)];

/** Suffix of the folder of a run whose result will replace an adapter. */
export const RETRAINING = ".retraining";

function siblingFolder(folder: string, ending: string): string {
  // "." has no name of its own
  const named = /^\.*$/.test(basename(folder)) ? resolve(folder) : folder;
  return join(dirname(named), `.${basename(named)}${ending}`);
}

/** Where a run lives whose result will replace this folder's adapter. */
export const retrainingFolder = (folder: string): string => siblingFolder(folder, RETRAINING);

const versionsFolder = (folder: string): string => siblingFolder(folder, ".versions");

/** An adapter as it can be used, though its run may not have finished. @inline */
export interface FoundAdapter {
  readonly path: string;
  /** "adapter" is the folder's own; the others are what an unfinished run has so far. */
  readonly what: "adapter" | "best" | "checkpoint";
}

/**
 * The adapter in a folder; of a run that has not finished the best one so far, or else that of its last checkpoint.
 * Undefined where there is none.
 */
export async function findAdapter(folder: string): Promise<FoundAdapter | undefined> {
  await restoreFolder(folder);
  if (await pathExists(join(folder, ADAPTER_CONFIG))) return { path: folder, what: "adapter" };
  if (await pathExists(join(folder, ADAPTER_TENSORS))) return undefined; // a broken one, not an unfinished run
  const checkpoints = join(folder, RUN_FILES.checkpoints);
  const steps = (await pathExists(checkpoints)) ? await listFolder(checkpoints) : [];
  const last = steps.filter((name) => /^step-\d+$/.test(name)).sort();
  const places: readonly FoundAdapter[] = [
    { path: join(folder, RUN_FILES.best), what: "best" },
    ...last.reverse().map((name) => ({ path: join(checkpoints, name), what: "checkpoint" }) as const),
  ];
  for (const place of places) if (await pathExists(join(place.path, ADAPTER_CONFIG))) return place;
  return undefined;
}

/** The adapter to use of a folder, as `findAdapter` finds it. Where there is none, the folder: loading it says what is missing. */
export const isAdapterInUse = async (folder: string): Promise<FoundAdapter> =>
  (await findAdapter(folder)) ?? { path: folder, what: "adapter" };

/** Says that what is used is not a folder's own adapter; undefined where it is. */
export function unfinishedText(folder: string, { path, what }: FoundAdapter): string | undefined {
  if (what === "adapter") return undefined;
  const used = what === "best" ? "its best adapter so far" : "the adapter of its last checkpoint";
  return `${folder}: this run has not finished; ${used} is used, ${path}`;
}

/** The reason why a folder holds no adapter. */
export async function explainMissingAdapter(folder: string): Promise<string> {
  return (await pathExists(join(folder, RUN_FILES.record)))
    ? "its training has not finished, or was stopped"
    : `there is no ${ADAPTER_CONFIG}`;
}

/** A replaced adapter that is kept. */
export interface StoredVersion {
  /** Counts up with every replacement. */
  readonly version: number;
  readonly path: string;
  /** Time at which its files were written, in seconds since 1970. */
  readonly changedAt: number;
}

/** The versions of a folder's adapter that are kept, the last replaced one first. */
export async function listVersions(folder: string): Promise<readonly StoredVersion[]> {
  const versions = versionsFolder(folder);
  const names = (await pathExists(versions)) ? await listFolder(versions) : [];
  const kept: StoredVersion[] = [];
  for (const name of names.filter((one) => /^[1-9]\d*$/.test(one))) {
    const path = join(versions, name);
    const found = await folderVersion(path);
    if (found !== undefined) kept.push({ version: Number(name), path, changedAt: found.changedAt });
  }
  return kept.sort((a, b) => b.version - a.version);
}

/** Does what changes a folder's adapter, which servers and other processes wait for, as this one does for them. */
async function withLock<T>(folder: string, work: () => Promise<T>): Promise<T> {
  await restoreFolder(folder);
  const versions = versionsFolder(folder);
  await using _lock = await lockChanges(dirname(versions));
  try {
    return await work();
  } finally {
    await rmdir(versions).catch(() => undefined); // where nothing is kept
  }
}

/** Keeps the adapter of a folder as a version; undefined where there is none. The folder itself stays as it is. */
async function storeVersion(folder: string): Promise<number | undefined> {
  if ((await folderVersion(folder)) === undefined) return undefined;
  const version = 1 + ((await listVersions(folder))[0]?.version ?? 0);
  await writeFolderAtomic(join(versionsFolder(folder), String(version)), (into) =>
    linkEntries(folder, into, ADAPTER_FILES),
  );
  return version;
}

/** Temporary entries of running processes. */
const TRANSIENT = /^\.(changing\.json|.+\.(partial|replaced))/;

/** Entries that are not of a run stay in the folder when it is replaced. */
async function carryOver(folder: string, into: string): Promise<void> {
  if (!(await pathExists(folder))) return;
  const names = (await listFolder(folder)).filter(
    (name) => !RUN_ENTRIES.includes(name) && !TRANSIENT.test(name),
  );
  await linkEntries(folder, into, names);
}

const remove = (path: string): Promise<void> =>
  rm(path, { recursive: true, force: true }).catch(storageFailure(path));

/**
 * Puts a complete folder in the place of an adapter's, in one move: no reader finds files of both. The last `keep`
 * adapters that were replaced are kept; the number of this one is returned.
 *
 * @throws MosError "storage"; everything is as it was then.
 */
export function replaceAdapter(
  folder: string,
  by: string,
  { keepVersions }: { readonly keepVersions: number },
): Promise<number | undefined> {
  return withLock(folder, async () => {
    const version = keepVersions === 0 ? undefined : await storeVersion(folder);
    await carryOver(folder, by);
    await replaceFolder(folder, by);
    for (const { path } of (await listVersions(folder)).slice(keepVersions)) await remove(path);
    return version;
  });
}

/** Result of a rollback. */
export interface RolledBack {
  readonly restored: StoredVersion;
  /** The version that the replaced adapter is kept as; undefined where there was none. */
  readonly kept: number | undefined;
}

/**
 * Puts a kept version back in the place of a folder's adapter, in one move, and keeps the replaced one. Of the run that
 * had made that one, checkpoints and metrics go.
 *
 * @throws MosError `not_found` where no such version is kept, `bad_option` where an unfinished run is in its place, `storage`.
 */
export async function rollBack(folder: string, version: number | undefined): Promise<RolledBack> {
  if ((await listVersions(folder)).length === 0)
    throw new MosError("not_found", `${folder}: no earlier version is kept`);
  await using fresh = await openAtomicFolder(folder);
  return await withLock(folder, async () => {
    const versions = await listVersions(folder);
    const restored = versions.find((one) => version === undefined || one.version === version);
    if (restored === undefined)
      throw new MosError(
        "not_found",
        `${folder}: there is no version ${version}; the kept versions are ${versions.map((one) => one.version).join(", ")}`,
      );
    const isRun = await pathExists(join(folder, RUN_FILES.record));
    if (isRun && (await folderVersion(folder)) === undefined)
      throw new MosError(
        "bad_option",
        `${folder}: an unfinished run is in this folder; finish it with mos train --resume, or move it`,
      );
    await linkEntries(restored.path, fresh.path, ADAPTER_FILES);
    const kept = await storeVersion(folder);
    await carryOver(folder, fresh.path);
    await using _old = await fresh.replace();
    await remove(restored.path);
    return { restored, kept };
  });
}

/** Deletes the kept versions of a folder's adapter. Throws `storage`. */
export const removeVersions = (folder: string): Promise<void> => remove(versionsFolder(folder));

/** A sub-folder of a folder of adapters. @inline */
export interface ListedAdapter {
  readonly name: string;
  /** Undefined where it cannot be served. */
  readonly adapter: DescribedAdapter | undefined;
  /** Reason why it cannot be served, as far as known without the model. */
  readonly reason: string | undefined;
  /** Path of an unfinished run's usable adapter. */
  readonly soFar: string | undefined;
  /** The replaced ones that are kept, the last first. */
  readonly versions: readonly StoredVersion[];
  /** True if a run that will replace it is running or was stopped. */
  readonly isRetrained: boolean;
}

/** Description of an adapter by its own files. @inline */
export interface DescribedAdapter extends AdapterDescription {
  /** Seconds since 1970. */
  readonly changedAt: number;
}

/**
 * Lists a folder of adapters by name. Whether an adapter fits a model, only that model tells.
 *
 * @throws MosError `not_found`, `storage`, `bad_option` for a folder that is an adapter itself.
 * @example
 * for (const { name, reason } of await listAdapters("adapters")) console.log(name, reason ?? "can be served");
 */
export async function listAdapters(folder: string): Promise<readonly ListedAdapter[]> {
  const listed: ListedAdapter[] = [];
  const names = (await listFolder(folder)).filter((name) => !name.startsWith("."));
  if ((await folderVersion(folder)) !== undefined)
    throw new MosError("bad_option", `${folder} is an adapter; give the folder that it is in`);
  for (const name of names.sort()) {
    const path = join(folder, name);
    const found = await stat(path).catch(() => undefined);
    if (found?.isDirectory() === true) listed.push(await listAdapter(path));
  }
  return listed;
}

/** One of them, by its folder. Throws MosError `storage`. */
export async function listAdapter(path: string): Promise<ListedAdapter> {
  const name = fromFileName(basename(path));
  const about = {
    name,
    versions: await listVersions(path),
    isRetrained: await pathExists(join(retrainingFolder(path), RUN_FILES.record)),
  };
  const broken = (reason: string, soFar?: string): ListedAdapter => ({
    ...about,
    adapter: undefined,
    reason,
    soFar,
  });
  const found = await findAdapter(path);
  if (found?.what !== "adapter") return broken(await explainMissingAdapter(path), found?.path);
  try {
    await using opened = await openAdapterFolder(path);
    const adapter = { ...(await opened.describe()), changedAt: opened.version.changedAt };
    return { ...about, adapter, reason: undefined, soFar: undefined };
  } catch (error) {
    if (!(error instanceof MosError)) throw error;
    return broken(error.message.replaceAll(path, name));
  }
}
