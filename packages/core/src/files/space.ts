import { describeBytes, MosError } from "#common";
import { dirname, resolve, statfs } from "#platform";
import { pathExists } from "./atomic-files.ts";
import { storageError } from "./system-error.ts";

/** The folder itself, or the nearest above it that exists. */
async function existing(path: string): Promise<string> {
  return (await pathExists(path)) || dirname(path) === path ? path : existing(dirname(path));
}

/** Some network file systems report no size; they are taken as large enough. */
async function measureFreeBytes(folder: string): Promise<number> {
  const { bavail, blocks, bsize } = await statfs(folder).catch((error: unknown) => {
    throw storageError(error, folder);
  });
  return blocks === 0 ? Number.POSITIVE_INFINITY : bavail * bsize;
}

interface AssertSpaceOptions {
  /** Name of the data to write, as the start of a sentence: "the merged model". */
  readonly what: string;
  readonly bytes: number;
  /** Bytes that a user may still write to the disk of a folder. */
  readonly freeBytes?: ((folder: string) => Promise<number>) | undefined;
}

/**
 * Checks that the disk of a folder, which need not exist yet, has room for a number of bytes.
 *
 * @throws MosError "storage".
 */
export async function assertSpace(
  folder: string,
  { what, bytes, freeBytes = measureFreeBytes }: AssertSpaceOptions,
): Promise<void> {
  const free = await freeBytes(await existing(resolve(folder)));
  if (free >= bytes) return;
  throw new MosError(
    "storage",
    `${folder}: ${what} takes ${describeBytes(bytes)}, but its disk has ${describeBytes(free)} free; free some space, or choose another folder`,
    { cause: Object.assign(new Error("the disk is too small"), { code: "ENOSPC" }) },
  );
}
