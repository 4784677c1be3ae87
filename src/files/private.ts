// Folders that only their owner may enter. Windows has no such modes: there, the rights of the folder above count.
import { chmod, lstat, mkdir, readdir, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { MosError } from "#core";
import { makeFolder } from "./folders.ts";
import { storageError, systemCode } from "./system-error.ts";

/** Mode of files that only the owner may read and write. */
export const PRIVATE_FILE = 0o600;
/** Mode of folders that only the owner may enter. */
export const PRIVATE_FOLDER = 0o700;

const OTHERS = 0o077;
/** Set on folders that many users share, such as /tmp. */
const STICKY = 0o1000;

const hasModes = process.platform !== "win32";

/**
 * Makes a folder of mode 0700. One that exists loses the rights of other users.
 *
 * @throws MosError `storage` where no folder can be made, or where another user's folder is open to others.
 */
export async function makePrivateFolder(path: string): Promise<void> {
  if (await makeOwn(path)) return;
  await tighten(path);
}

/**
 * Makes a folder that an operator names, of mode 0700. One that exists loses the rights of other users only where nothing but
 * `entries` is in it: a home, a mounted disk or /tmp stays as it is, and what is made in it is private by itself.
 *
 * @throws MosError `storage` where no folder can be made.
 */
export async function makeNamedFolder(path: string, entries: readonly string[]): Promise<void> {
  if (await makeOwn(path)) return;
  const { mode, uid } = await stat(path);
  if ((mode & STICKY) !== 0 || uid !== process.geteuid?.()) return;
  const found = await readdir(path);
  if (found.every((name) => entries.includes(name))) await tighten(path);
}

/** Takes the rights of other users from everything in a folder. Links are not followed. */
export async function makePrivateTree(folder: string): Promise<void> {
  if (!hasModes) return;
  for (const entry of await readdir(folder, { withFileTypes: true, recursive: true }))
    if (!entry.isSymbolicLink()) await tighten(join(entry.parentPath, entry.name));
}

/** False where there is such a folder already. */
async function makeOwn(path: string): Promise<boolean> {
  await makeFolder(dirname(resolve(path)));
  try {
    await mkdir(path, { mode: PRIVATE_FOLDER });
    return true;
  } catch (error) {
    // says what else is in the way
    if (systemCode(error) === "EEXIST") await makeFolder(path);
    else throw new MosError("storage", storageError(error, path).message, { cause: error });
    return false;
  }
}

async function tighten(path: string): Promise<void> {
  if (!hasModes) return;
  const found = await lstat(path).catch(() => undefined); // removed meanwhile
  if (found === undefined || (found.mode & OTHERS) === 0) return;
  const target = found.isSymbolicLink() ? await stat(path) : found;
  await chmod(path, target.mode & 0o700).catch((cause: unknown) => {
    if (systemCode(cause) === "ENOENT" || (target.mode & OTHERS) === 0) return;
    throw new MosError(
      "storage",
      `${path}: other users may read it, and this user may not change that (mode ${(target.mode & 0o777).toString(8)}, owner ${target.uid}); run chmod 700 as its owner, or choose another folder`,
      { cause },
    );
  });
}
