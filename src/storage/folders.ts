// Folders appear, change and disappear as a whole: they are filled, or kept, under a hidden name beside the final one and
// renamed, so that a reader never meets half of one.

import { constants } from "node:fs";
import {
  copyFile,
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
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { MosError } from "#core";
import { storageError, systemCode } from "./error.ts";
import { partialName, pathExists, removeLeftovers, syncFolder } from "./files.ts";

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
      systemCode(cause) === "ENOENT" ? `${path}: no folder can be made there; choose another place` : message;
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
    throw new MosError("storage", `no temporary folder can be made in ${message}`, { cause });
  }
}

/**
 * The names in a folder, unordered.
 *
 * @throws MosError "not_found" or "storage".
 */
export async function listFolder(path: string): Promise<readonly string[]> {
  return readdir(path).catch((error: unknown) => {
    throw storageError(error, path);
  });
}

/**
 * Refuses a folder where a file is to be written: called before the work that the file is for.
 *
 * @throws MosError "bad_option".
 */
export async function expectNoFolder(path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined); // anything else that is wrong is reported when the file is written
  if (found?.isDirectory() === true)
    throw new MosError("bad_option", `${path} is a folder; name the file that is to be written`);
}

/** The name of the old folder while the new one is renamed into place. */
export const replacedName = (path: string): string => join(dirname(path), `.${basename(path)}.replaced`);

/**
 * Puts back the old folder if a writer died between the two renames of `writeFolderAtomic`. Readers that resume from a
 * folder call it first.
 */
export async function restoreFolder(path: string): Promise<void> {
  const kept = replacedName(path);
  if (!(await pathExists(kept))) return;
  try {
    if (await pathExists(path)) await rm(kept, { recursive: true, force: true });
    else await rename(kept, path);
  } catch (error) {
    throw storageError(error, path);
  }
}

/** A folder being written: it appears under its name at `commit`; without a commit, disposal removes it. */
export interface AtomicFolder extends AsyncDisposable {
  /** The empty folder under its temporary name, to be filled. */
  readonly path: string;
  /** Gives the folder its name, replacing a folder of that name. */
  commit(): Promise<void>;
  /** An error with the folder's final name in its message, not the temporary one. */
  explain(error: unknown): MosError;
}

/**
 * Starts a folder that is complete or absent, never half there.
 *
 * @throws MosError "storage" or "not_found"; nothing is left behind.
 */
export async function openAtomicFolder(path: string): Promise<AtomicFolder> {
  const temporary = partialName(path);
  let state: "open" | "done" = "open";
  const explain = (error: unknown): MosError => {
    const failure = storageError(error, path);
    return new MosError(failure.code, failure.message.replaceAll(temporary, path), { cause: error });
  };
  const discard = async (): Promise<void> => {
    if (state === "done") return;
    state = "done";
    await rm(temporary, { recursive: true, force: true }).catch(() => undefined);
    await restoreFolder(path).catch(() => undefined);
  };
  const guarded = async (action: () => Promise<void>): Promise<void> => {
    try {
      await action();
    } catch (error) {
      await discard();
      throw explain(error);
    }
  };
  await restoreFolder(path);
  await removeLeftovers(path);
  await guarded(async () => {
    await makeFolder(dirname(path));
    await mkdir(temporary);
  });
  return {
    path: temporary,
    explain,
    commit: () =>
      guarded(async () => {
        await syncFolder(temporary);
        const replaces = await pathExists(path);
        if (replaces) await rename(path, replacedName(path));
        await rename(temporary, path);
        state = "done";
        await syncFolder(dirname(path));
        if (replaces) await rm(replacedName(path), { recursive: true, force: true });
      }),
    [Symbol.asyncDispose]: discard,
  };
}

/**
 * Writes a folder as a whole: `fill` gets an empty folder under a temporary name, which then takes the place of `path`.
 * If `fill` fails, the old folder stays and nothing else is left.
 *
 * @example
 * await writeFolderAtomic("adapters/acme", async (folder) => {
 *   await writeFileAtomic(`${folder}/adapter_config.json`, "{}");
 * });
 */
export async function writeFolderAtomic(
  path: string,
  fill: (folder: string) => Promise<void>,
): Promise<void> {
  await using folder = await openAtomicFolder(path);
  try {
    await fill(folder.path);
  } catch (error) {
    throw folder.explain(error);
  }
  await folder.commit();
}

/** What was at a path before a change that may have to be undone. Disposal discards it. */
export interface KeptFolder extends AsyncDisposable {
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
 * Moves a folder aside in one rename, so that no reader ever sees half of it. It is deleted on disposal, unless it was
 * restored.
 *
 * @throws MosError "storage" or "not_found".
 */
export async function takeFolder(path: string): Promise<KeptFolder> {
  const bin = partialName(path);
  await guarded(path, () => rename(path, bin));
  return {
    restore: () => guarded(path, () => rename(bin, path)),
    [Symbol.asyncDispose]: () => guarded(path, () => rm(bin, { recursive: true, force: true })),
  };
}

/** Hard links cost nothing; on a file system without them, files are copied. */
async function linkTree(from: string, to: string): Promise<void> {
  await mkdir(to);
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    if (entry.isDirectory()) await linkTree(source, target);
    else if (entry.isSymbolicLink()) await symlink(await readlink(source), target);
    else if (entry.isFile())
      await link(source, target).catch(() => copyFile(source, target, constants.COPYFILE_FICLONE));
  }
}

async function copyOf(path: string, copy: string): Promise<void> {
  // a folder that is a link comes back as that link
  if ((await lstat(path)).isSymbolicLink()) await symlink(await readlink(path), copy);
  else await linkTree(path, copy);
}

/** Swaps a copy in. While it does, other readers see a folder that is being replaced (`replacedName`). */
async function putBack(copy: string, path: string): Promise<void> {
  const replaced = replacedName(path);
  await rm(replaced, { recursive: true, force: true });
  if (await pathExists(path)) await rename(path, replaced);
  await rename(copy, path);
  await rm(replaced, { recursive: true, force: true });
}

async function remove(path: string): Promise<void> {
  if (!(await pathExists(path))) return;
  await using _taken = await takeFolder(path);
}

/**
 * Keeps a copy of what is at a path, which itself stays where it is, for the case that its replacement turns out to be
 * bad.
 *
 * @throws MosError "storage".
 */
export async function keepFolder(path: string): Promise<KeptFolder> {
  const copy = partialName(path);
  const discard = (): Promise<void> => rm(copy, { recursive: true, force: true });
  const isThere = await pathExists(path);
  return guarded(path, async () => {
    if (isThere) await copyOf(path, copy).catch((error) => discard().then(() => Promise.reject(error)));
    return {
      restore: () => (isThere ? guarded(path, () => putBack(copy, path)) : remove(path)),
      [Symbol.asyncDispose]: discard,
    };
  });
}
