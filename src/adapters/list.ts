// The adapters of a folder as a server would find them, without the model that they are for.
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { MosError } from "#core";
import { fromFileName, listFolder, pathExists } from "#files";
import { openAdapterFolder } from "./folder.ts";
import type { SavedBase } from "./folder-config.ts";
import { folderVersion } from "./folder-files.ts";
import type { AdapterConfig } from "./methods.ts";
import {
  explainMissingAdapter,
  findAdapter,
  listVersions,
  RUN_RECORD,
  retrainingFolder,
  type StoredVersion,
} from "./versions.ts";

/** A sub-folder of a folder of adapters. @inline */
export interface ListedAdapter {
  readonly name: string;
  /** Undefined where it cannot be served. */
  readonly adapter: DescribedAdapter | undefined;
  /** Reason why it cannot be served, as far as known without the model. */
  readonly reason: string | undefined;
  /** Path of an unfinished run's usable adapter. */
  readonly soFar: string | undefined;
  /** The replaced ones that are kept, the last first. */
  readonly versions: readonly StoredVersion[];
  /** True if a run that will replace it is running or was stopped. */
  readonly isRetrained: boolean;
}

/** Description of an adapter by its own files. @inline */
export interface DescribedAdapter {
  readonly config: AdapterConfig;
  readonly base: SavedBase;
  /** Numbers in its file. */
  readonly parameters: number;
  /** Seconds since 1970. */
  readonly changedAt: number;
}

/**
 * Lists a folder of adapters by name. Whether an adapter fits a model, only that model tells.
 *
 * @throws MosError `not_found`, `storage`, `bad_option` for a folder that is an adapter itself.
 * @example
 * for (const { name, reason } of await listAdapters("adapters")) console.log(name, reason ?? "can be served");
 */
export async function listAdapters(folder: string): Promise<readonly ListedAdapter[]> {
  const listed: ListedAdapter[] = [];
  const names = (await listFolder(folder)).filter((name) => !name.startsWith("."));
  if ((await folderVersion(folder)) !== undefined)
    throw new MosError("bad_option", `${folder} is an adapter; give the folder that it is in`);
  for (const name of names.sort()) {
    const path = join(folder, name);
    const found = await stat(path).catch(() => undefined);
    if (found?.isDirectory() === true) listed.push(await describe(fromFileName(name), path));
  }
  return listed;
}

async function describe(name: string, path: string): Promise<ListedAdapter> {
  const about = {
    name,
    versions: await listVersions(path),
    isRetrained: await pathExists(join(retrainingFolder(path), RUN_RECORD)),
  };
  const broken = (reason: string, soFar?: string): ListedAdapter => ({
    ...about,
    adapter: undefined,
    reason,
    soFar,
  });
  const found = await findAdapter(path);
  if (found?.what !== "adapter") return broken(await explainMissingAdapter(path), found?.path);
  try {
    await using opened = await openAdapterFolder(path);
    const adapter = { ...(await opened.describe()), changedAt: opened.version.changedAt };
    return { ...about, adapter, reason: undefined, soFar: undefined };
  } catch (error) {
    if (!(error instanceof MosError)) throw error;
    return broken(error.message.replaceAll(path, name));
  }
}
