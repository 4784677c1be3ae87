// Adapters from anywhere, as the folder of adapters that an engine serves.
import { mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { MosError } from "#core";
import { pathExists, storageError } from "#formats";

/** A folder of links to adapters; disposing it removes the links. */
export interface LinkedAdapters extends AsyncDisposable {
  readonly folder: string;
  /** In the order that they were given. */
  readonly names: readonly string[];
}

/** The last part of the path, and the part before it where that is not enough to tell them apart. */
function namesOf(paths: readonly string[]): readonly string[] {
  const short = paths.map((path) => basename(path));
  if (new Set(short).size === short.length) return short;
  return paths.map((path, i) => `${i + 1}-${basename(path)}`);
}

/**
 * Links adapter folders into one.
 *
 * @throws MosError `not_found` for a folder without an adapter, `storage`.
 * @example
 * await using linked = await linkAdapters(["adapters/mos", "adapters/lora"]);
 */
export async function linkAdapters(adapters: readonly string[]): Promise<LinkedAdapters> {
  const paths = adapters.map((path) => resolve(path));
  for (const path of paths)
    if (!(await pathExists(join(path, "adapter_config.json"))))
      throw new MosError(
        "not_found",
        `${path}: there is no adapter_config.json; give the folder of an adapter, as mos train --out writes it`,
      );
  const names = namesOf(paths);
  const folder = await mkdtemp(join(tmpdir(), "mos-adapters-")).catch((error: unknown) => {
    throw storageError(error, tmpdir());
  });
  const remove = (): Promise<void> => rm(folder, { recursive: true, force: true });
  try {
    for (const [i, path] of paths.entries())
      await symlink(path, join(folder, names[i] ?? ""), process.platform === "win32" ? "junction" : "dir");
  } catch (error) {
    await remove();
    throw storageError(error, folder);
  }
  return { folder, names, [Symbol.asyncDispose]: remove };
}
