// The place of models and adapters, and what to remove where it is full.
import { describeBytes, MosError } from "#common";
import { fromFileName, isDiskFull, pathExists } from "#files";
import { join, readdir, stat, statfs } from "#platform";
import { mount, openOpfsVolume } from "#platform/browser";

/**
 * Puts the private files of this origin in their place, which all its tabs share. False where the browser gives none, as in some
 * private windows: then all files are in the memory of this worker.
 */
export async function openStorage(): Promise<boolean> {
  try {
    mount("/", await openOpfsVolume());
    return true;
  } catch {
    return false;
  }
}

/** What holds most of the space, and what removes it. */
const REMOVERS = { "/models": "removeModel", "/adapters": "remove" } as const;

/** The largest are enough to choose from. */
const MOST = 10;

async function sizeOf(path: string): Promise<number> {
  const found = await stat(path);
  if (!found.isDirectory()) return found.size;
  const sizes = await Promise.all((await readdir(path)).map((name) => sizeOf(join(path, name))));
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** The calls that free space, those of the most bytes first. */
async function listRemovable(): Promise<readonly string[]> {
  const found: { readonly call: string; readonly bytes: number }[] = [];
  for (const [folder, remover] of Object.entries(REMOVERS))
    for (const file of (await pathExists(folder)) ? await readdir(folder) : [])
      if (!file.startsWith("."))
        found.push({
          call: `${remover}("${fromFileName(file)}")`,
          bytes: await sizeOf(join(folder, file)),
        });
  return found
    .sort((a, b) => b.bytes - a.bytes)
    .slice(0, MOST)
    .map(({ call, bytes }) => `${call} frees ${describeBytes(bytes)}`);
}

/** Where the storage of this origin is full, an error that says what can be removed; any other error stays as it is. */
export async function explainFull(error: unknown): Promise<unknown> {
  if (!isDiskFull(error)) return error;
  const { bavail, blocks, bsize } = await statfs("/");
  // the browser knows more exactly what is used than what it would give
  const used = describeBytes((blocks - bavail) * bsize);
  const calls = await listRemovable();
  const advice = calls.length === 0 ? "free some space on this machine" : calls.join(", ");
  return new MosError("storage", `the browser's storage for this site is full (${used}): ${advice}`, {
    cause: error,
  });
}
