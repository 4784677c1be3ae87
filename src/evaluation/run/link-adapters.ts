// Adapters from anywhere, as the folder of adapters that an engine serves.
import { rm, symlink } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { type AdapterGeometry, loadAdapter } from "#adapters";
import { MosError } from "#core";
import { makeTemporaryFolder, storageError } from "#storage";

/** A folder of links to adapters; disposing it removes the links. */
export interface LinkedAdapters extends AsyncDisposable {
  readonly folder: string;
  /** In the order that they were given. */
  readonly names: readonly string[];
}

/** What tables call the model without an adapter. */
export const BASE_NAME = "base";

/** The last part of the path, with a number before it where that does not tell them apart or is taken. */
function namesOf(paths: readonly string[]): readonly string[] {
  const short = paths.map((path) => basename(path));
  const isPlain = new Set([...short, BASE_NAME]).size > short.length;
  return isPlain && !short.some((name) => name.startsWith("."))
    ? short
    : short.map((name, i) => `${i + 1}-${name}`);
}

/**
 * Links adapter folders into one, after a look at all of them. Whether they were trained on these very weights is for the
 * engine to say.
 *
 * @throws MosError `not_found` for a folder without an adapter, `bad_adapter`, `unsupported`, `bad_option` for one that is
 * given twice, `storage`.
 * @example
 * await using linked = await linkAdapters(["adapters/mos", "adapters/lora"], geometryOf(config));
 */
export async function linkAdapters(
  adapters: readonly string[],
  geometry: AdapterGeometry,
): Promise<LinkedAdapters> {
  const paths = adapters.map((path) => resolve(path));
  const twice = paths.find((path, i) => paths.indexOf(path) < i);
  if (twice !== undefined) throw new MosError("bad_option", `the adapter ${twice} is given twice`);
  // the engine would leave a broken one out; here every one is wanted, so what is wrong is told
  for (const path of paths) await loadAdapter(path, { geometry, fingerprint: undefined });
  const names = namesOf(paths);
  const folder = await makeTemporaryFolder("mos-adapters-");
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
