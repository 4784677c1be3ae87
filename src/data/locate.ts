// Location of data: files by name or by pattern, or a data set of the Hugging Face Hub.
import { realpath, stat } from "node:fs/promises";
import { basename, dirname, isAbsolute, join } from "node:path";
import { glob } from "tinyglobby";
import { MosError } from "#core";
import { pathExists } from "#files";
import { type HubOptions, looksLikeRepository, type TransferEvent, withHubDefaults } from "#hub";
import { pullTables } from "./hub-tables.ts";
import { DATA_EXTENSIONS, isDataFile } from "./records.ts";

/** Options of locating data. */
export interface LocateDataOptions {
  /** Hub to look up and download `org/name`. */
  readonly hub?: HubOptions | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Finds data files: a path as it is, a pattern such as `data/*.jsonl` in the order of names, or
 * `org/name[@revision][:configuration/split]` of the hub, which is downloaded where it is not in the cache. Gives the events
 * of downloads, and returns the paths.
 *
 * @throws MosError `not_found`; `bad_option` where a file is named twice; and what a download throws.
 * @example
 * const paths = yield* locateData(["train.jsonl", "more/*.parquet"], {});
 */
export async function* locateData(
  names: string | readonly string[],
  options: LocateDataOptions,
): AsyncGenerator<TransferEvent, readonly string[]> {
  const paths: string[] = [];
  for (const name of typeof names === "string" ? [names] : names) {
    const found = yield* locateOne(name, options);
    for (const path of found) paths.push(path); // a pattern may have more than a call takes arguments
  }
  await refuseTwice(paths);
  return paths;
}

async function* locateOne(
  name: string,
  { hub, signal }: LocateDataOptions,
): AsyncGenerator<TransferEvent, readonly string[]> {
  if (await pathExists(name)) {
    if (!(await stat(name)).isDirectory()) return [name];
    throw new MosError("bad_data", `${name}: this is a folder; name its files, such as "${name}/*.jsonl"`);
  }
  if (/[*?[\]{}]/.test(name)) return await matching(name);
  if (isDataFile(name.replace(/:.*/, "")) || !looksLikeRepository(name))
    throw new MosError(
      "not_found",
      `${name}: no such file; give a file (${DATA_EXTENSIONS.join(", ")}), a pattern in quotes such as "data/*.jsonl", or org/name of a data set of the Hugging Face Hub`,
    );
  return yield* pullTables(name, {
    hub: await withHubDefaults(hub),
    ...(signal === undefined ? {} : { signal }),
  });
}

/** Files by the order of their names, which is the same everywhere. */
async function matching(pattern: string): Promise<readonly string[]> {
  const found = await glob(pattern, {
    onlyFiles: true,
    expandDirectories: false,
    absolute: isAbsolute(pattern),
  });
  if (found.length > 0) return await listEntries(found.sort((a, b) => (a < b ? -1 : 1)));
  throw new MosError("not_found", `${pattern}: no file matches; patterns are relative to this folder`);
}

/** Each entry of a folder once: a link to a folder may lead to one that was searched already. */
async function listEntries(paths: readonly string[]): Promise<readonly string[]> {
  const entries = new Map<string, string>();
  for (const path of paths) {
    const entry = join(await realpath(dirname(path)), basename(path));
    const other = entries.get(entry);
    if (other === undefined || path.length < other.length) entries.set(entry, path);
  }
  const kept = new Set(entries.values());
  return paths.filter((path) => kept.has(path));
}

async function refuseTwice(paths: readonly string[]): Promise<void> {
  const seen = new Set<string>();
  for (const path of paths) {
    const real = await realpath(path);
    if (seen.has(real))
      throw new MosError("bad_option", `${path} is given twice, so its examples would count twice`);
    seen.add(real);
  }
}
