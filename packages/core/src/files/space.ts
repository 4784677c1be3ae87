import { describeBytes, MosError } from "#common";
import { dirname, resolve, statfs } from "#platform";
import { pathExists } from "./atomic-files.ts";
import { storageFailure } from "./system-error.ts";

/** The folder itself, or the nearest above it that exists. */
async function existing(path: string): Promise<string> {
  return (await pathExists(path)) || dirname(path) === path ? path : existing(dirname(path));
}

/** Some network file systems report no size; they are taken as large enough. */
async function measureFreeBytes(folder: string): Promise<number> {
  const { bavail, blocks, bsize } = await statfs(folder).catch(storageFailure(folder));
  return blocks === 0 ? Number.POSITIVE_INFINITY : bavail * bsize;
}

/**
 * Checks that the disk of a folder, which need not exist yet, has room for a number of bytes.
 *
 * @param data `what` is their name, as the start of a sentence: "the merged model".
 * @throws MosError "storage".
 */
export async function assertSpace(
  folder: string,
  {
    what,
    bytes,
    freeBytes = measureFreeBytes,
  }: { what: string; bytes: number; freeBytes?: typeof measureFreeBytes | undefined },
): Promise<void> {
  const free = await freeBytes(await existing(resolve(folder)));
  if (free >= bytes) return;
  throw new MosError(
    "storage",
    `${folder}: ${what} takes ${describeBytes(bytes)}, but its disk has ${describeBytes(free)} free; free some space, or choose another folder`,
    { cause: Object.assign(new Error("the disk is too small"), { code: "ENOSPC" }) },
  );
}
