// Folders that only their owner may enter. Windows has no such modes: there, the rights of the folder above count.
import { MosError } from "#common";
import { chmod, dirname, lstat, mkdir, process, readdir, resolve, stat } from "#platform";
import { makeFolder } from "./folders.ts";
import { storageError, systemCode } from "./system-error.ts";

const OTHERS = 0o077;
/** Set on folders that many users share, such as /tmp. */
const STICKY = 0o1000;

const hasModes = process.platform !== "win32";

/**
 * Makes a folder of mode 0700. One that exists loses the rights of other users; with `ownEntries`, for a folder that an
 * operator names, only where nothing else is in it: a home, a mounted disk or /tmp stays as it is.
 *
 * @throws MosError `storage` where no folder can be made, or where another user's folder is open to others.
 */
export async function makePrivateFolder(
  path: string,
  { ownEntries }: { readonly ownEntries?: readonly string[] } = {},
): Promise<void> {
  if (await makeOwn(path)) return;
  if (ownEntries !== undefined) {
    const { mode, uid } = await stat(path);
    if ((mode & STICKY) !== 0 || uid !== process.geteuid?.()) return;
    if ((await readdir(path)).some((name) => !ownEntries.includes(name))) return;
  }
  await tighten(path);
}

/** False where there is such a folder already. */
async function makeOwn(path: string): Promise<boolean> {
  await makeFolder(dirname(resolve(path)));
  try {
    await mkdir(path, { mode: 0o700 });
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
      `${path}: other users can read it, and this user cannot change that (mode ${(target.mode & 0o777).toString(8)}, owner ${target.uid}); run chmod 700 as its owner, or choose another folder`,
      { cause },
    );
  });
}

/** Rights of others to write. */
export const SHARED = 0o022;

/**
 * Whoever can write the cache decides what the model answers: that may be who could write the model anyway. Windows has
 * no such modes.
 *
 * @throws MosError `storage`.
 */
export async function assertOwned(paths: readonly string[], model: string): Promise<void> {
  const user = process.getuid?.();
  if (user === undefined) return;
  const owners = [user, 0, (await stat(model)).uid];
  for (const path of paths) {
    const { uid, mode } = await stat(path);
    if (!owners.includes(uid))
      throw new MosError("storage", `${path}: owned by another user (uid ${uid}); remove it`);
    if ((mode & SHARED) !== 0)
      throw new MosError("storage", `${path}: writable by other users; remove it, or revoke that permission`);
  }
}
