import { mkdir, mkdtemp, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { MosError } from "#core";
import { storageError, systemCode } from "./storage-error.ts";

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
 * Makes a folder of its own among the system's temporary ones, named by `prefix` and a random end. Whoever makes it removes
 * it.
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
 * Refuses a folder where a file is to be written: called before the work that the file is for.
 *
 * @throws MosError "bad_option".
 */
export async function expectNoFolder(path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined); // what else is wrong is told by who writes
  if (found?.isDirectory() === true)
    throw new MosError("bad_option", `${path} is a folder; name the file that is to be written`);
}
