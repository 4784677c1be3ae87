// Folders appear, change and disappear as a whole: they are filled, or kept, under a hidden name beside the final one and
// renamed, so that a reader never meets half of one.

import { MosError } from "#common";
import {
  access,
  basename,
  constants,
  copyFile,
  dirname,
  join,
  link,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readlink,
  rename,
  rm,
  stat,
  symlink,
  tmpdir,
} from "#platform";
import { partialName, pathExists, removeLeftovers, syncFolder, temporaryEntry } from "./atomic-files.ts";
import { startHeartbeat } from "./heartbeat.ts";
import { lockChanges } from "./lock.ts";
import { storageError, storageFailure, systemCode } from "./system-error.ts";

/**
 * Makes a folder and those above it, and gives the topmost one that it made. Node's own `recursive` never returns where
 * a file system has no such folders, as /proc.
 *
 * @throws MosError "storage", whose cause is the system's error.
 */
export async function makeFolder(path: string): Promise<string | undefined> {
  try {
    return await makeWithParents(path);
  } catch (cause) {
    const { message } = storageError(cause, path);
    const why =
      systemCode(cause) === "ENOENT"
        ? `${path}: cannot create a folder there; choose another location`
        : message;
    // what is missing was to be made: never "not_found"
    throw new MosError("storage", why, { cause });
  }
}

async function makeWithParents(path: string): Promise<string | undefined> {
  try {
    await mkdir(path);
    return path;
  } catch (error) {
    const code = systemCode(error);
    if (code === "EEXIST" && (await stat(path)).isDirectory()) return undefined;
    if (code !== "ENOENT" || dirname(path) === path) throw error;
  }
  const made = await makeWithParents(dirname(path));
  await mkdir(path).catch((error: unknown) => {
    if (systemCode(error) !== "EEXIST") throw error; // another process was quicker
  });
  return made ?? path;
}

/** Checks that files can be created in a folder. @throws MosError "not_found" or "storage". */
export const assertWritable = (folder: string): Promise<void> =>
  guarded(folder, () => access(folder, constants.W_OK));

/**
 * Makes a folder of its own among the system's temporary ones, named by `prefix` and a random end. The caller
 * removes it.
 *
 * @throws MosError "storage", whose cause is the system's error.
 */
export async function makeTemporaryFolder(prefix: string): Promise<string> {
  try {
    return await mkdtemp(join(tmpdir(), prefix));
  } catch (cause) {
    const { message } = storageError(cause, tmpdir());
    throw new MosError("storage", `cannot create a temporary folder in ${message}`, { cause });
  }
}

/** The names in a folder, unordered. Throws "not_found" or "storage". */
export async function listFolder(path: string): Promise<readonly string[]> {
  return readdir(path).catch(storageFailure(path));
}

/** Refuses a folder where a file is to be written: called before the work that the file is for. Throws "bad_option". */
export async function assertNoFolder(path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined); // anything else that is wrong is reported when the file is written
  if (found?.isDirectory() === true) throw new MosError("bad_option", `${path} is a folder; name a file`);
}

/** The name of the old folder while the new one is renamed into place. */
export const replacedName = (path: string): string => join(dirname(path), `.${basename(path)}.replaced`);

/** A folder in use elsewhere may be busy for a moment. */
const removeFolder = (path: string): Promise<void> =>
  rm(path, { recursive: true, force: true, maxRetries: 3, retryDelay: 50 });

/**
 * Puts back the old folder if a writer died between the two renames of a replacement. Readers that resume from a folder
 * call it first; they wait for a writer that runs.
 */
export async function restoreFolder(path: string): Promise<void> {
  if (!(await pathExists(replacedName(path)))) return;
  try {
    await using _lock = await lockChanges(dirname(path));
    await settle(path);
  } catch (error) {
    if (!(await pathExists(path))) throw storageError(error, path);
  }
}

/** The same for whoever holds the lock. */
async function settle(path: string): Promise<void> {
  const kept = replacedName(path);
  if (!(await pathExists(kept))) return;
  if (await pathExists(path)) await removeFolder(kept);
  else await rename(kept, path);
}

const REPLACED = /^\.(.+)\.replaced$/;

/**
 * Cleans up after killed writers: restores the folders that they were about to replace, and removes those that they had
 * not finished.
 *
 * @throws MosError "not_found" or "storage".
 */
export async function repairFolder(folder: string): Promise<void> {
  for (const name of await listFolder(folder)) {
    const replaced = REPLACED.exec(name)?.[1];
    if (replaced !== undefined) await restoreFolder(join(folder, replaced));
  }
  await removeLeftovers(folder);
}

/**
 * Starts a folder that is complete or absent, never half there: it appears under its name at `commit`; without a commit, disposal
 * removes it. `mode` are the permissions, less the umask.
 *
 * @throws MosError "storage" or "not_found"; nothing is left behind.
 */
export async function openAtomicFolder(path: string, { mode = 0o777 }: { readonly mode?: number } = {}) {
  const { path: temporary, guarded, begin, end, discard, explain } = temporaryEntry(path);
  await restoreFolder(path);
  await removeLeftovers(dirname(path), basename(path));
  await guarded(async () => {
    await makeFolder(dirname(path));
    await mkdir(temporary, { mode });
    begin();
  });
  /** Gives the folder its name, for the holder of `lockChanges` of the folder above, who can still undo it. */
  const replace = (): Promise<SavedFolder> =>
    guarded(async () => {
      await syncFolder(temporary);
      const old = await swap(temporary, path);
      end();
      return old;
    });
  return {
    /** The empty folder under its temporary name, to be filled. */
    path: temporary,
    explain,
    replace,
    /** Gives the folder its name, replacing a folder of that name. */
    async commit(): Promise<void> {
      await using _lock = await guarded(() => lockChanges(dirname(path)));
      await using _old = await replace();
    },
    [Symbol.asyncDispose]: discard,
  };
}

/** Gives a folder the name of another one, which is kept under a temporary name. */
async function swap(temporary: string, path: string): Promise<SavedFolder> {
  const replaced = replacedName(path);
  await settle(path);
  const found = await stat(path).catch(() => undefined);
  if (found?.isDirectory() === false)
    throw new MosError("storage", `${path}: a file is in the way; move it, or choose another name`);
  const replaces = found !== undefined;
  if (replaces) await rename(path, replaced);
  try {
    await rename(temporary, path);
  } catch (error) {
    if (replaces) await rename(replaced, path);
    throw error;
  }
  await syncFolder(dirname(path));
  return {
    restore: () =>
      guarded(path, async () => {
        await rename(path, temporary);
        if (replaces) await rename(replaced, path);
        await removeFolder(temporary);
      }),
    [Symbol.asyncDispose]: () => guarded(path, () => removeFolder(replaced)),
  };
}

/**
 * Gives a complete folder the name of another one, which it replaces. For the holder of `lockChanges` of the folder above.
 *
 * @throws MosError "storage"; the old folder has its name then.
 */
export async function replaceFolder(path: string, by: string): Promise<void> {
  await using _old = await guarded(path, () => swap(by, path));
}

/**
 * Writes a folder as a whole: `fill` gets an empty folder under a temporary name, which then takes the place of `path`.
 * If `fill` fails, the old folder stays and nothing else is left.
 */
export async function writeFolderAtomic(
  path: string,
  fill: (folder: string) => Promise<void>,
  options: { readonly mode?: number } = {},
): Promise<void> {
  await using folder = await openAtomicFolder(path, options);
  try {
    await fill(folder.path);
  } catch (error) {
    throw folder.explain(error);
  }
  await folder.commit();
}

/**
 * The former contents of a path during a change that may have to be undone, for the holder of `lockChanges`. Disposal removes them,
 * unless it was put back.
 */
export interface SavedFolder extends AsyncDisposable {
  /** Puts it back; where nothing was, removes what is there now. */
  restore(): Promise<void>;
}

async function guarded<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw storageError(error, path);
  }
}

/**
 * Moves a folder aside in one rename, so that no reader ever sees half of it. For the holder of `lockChanges`.
 *
 * @throws MosError "storage" or "not_found".
 */
export async function saveFolder(path: string): Promise<SavedFolder> {
  const bin = partialName(path);
  await guarded(path, () => rename(path, bin));
  const stopBeat = startHeartbeat(bin);
  return {
    restore: () => guarded(path, () => rename(bin, path)),
    [Symbol.asyncDispose]: () => guarded(path, () => removeFolder(bin).finally(stopBeat)),
  };
}

/** A folder becomes one of hard links, which cost nothing; on a file system without them, files are copied. */
async function linkOrCopy(path: string, copy: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (found === undefined) return;
  if (found.isDirectory()) {
    await mkdir(copy);
    await linkEntries(path, copy, await readdir(path));
  } else if (found.isSymbolicLink()) await symlink(await readlink(path), copy);
  else if (found.isFile())
    await link(path, copy).catch(() => copyFile(path, copy, constants.COPYFILE_FICLONE));
}

/** Links entries of a folder into another one. Entries that exist there stay, and missing ones are skipped. Throws "storage". */
export async function linkEntries(from: string, to: string, names: readonly string[]): Promise<void> {
  for (const name of names) {
    const [source, target] = [join(from, name), join(to, name)];
    if (!(await pathExists(target))) await guarded(target, () => linkOrCopy(source, target));
  }
}
