// Adapters that a browser keeps, as on Node a folder for each: they come and go as archives of the folder.
import {
  ADAPTER_FILES,
  type ListedAdapter,
  listAdapter,
  listAdapters,
  openAdapterFolder,
  RUN_FILES,
  removeVersions,
  retrainingFolder,
} from "#adapters";
import { MosError } from "#common";
import { fromFileName, pathExists, readBytes, toFileName, writeFileAtomic, writeFolderAtomic } from "#files";
import { basename, join, mkdir, rm } from "#platform";
import { readTar, type TarEntry, tarParts } from "./tar.ts";

/** Where they are, with the runs that make them. */
const ADAPTERS = "/adapters";

/** The files that go with an adapter: what a server needs of it, and how it was trained. */
const FILES = [...ADAPTER_FILES, RUN_FILES.record, RUN_FILES.metrics];

/** An adapter's file is far smaller than what a browser can hold. */
const READ = { code: "bad_adapter", maximumBytes: 2 ** 31 } as const;

/** An adapter, or the run of one. */
export interface StoredAdapter {
  readonly name: string;
  /** Why it cannot be used yet: a run that has not finished can be resumed. */
  readonly reason: string | undefined;
  readonly method: string | undefined;
  readonly rank: number | undefined;
}

/** The folder of an adapter, which may be missing. */
export const adapterFolder = (name: string): string => join(ADAPTERS, toFileName(name));

/** The adapters that are kept, by name. */
export async function listStored(): Promise<readonly StoredAdapter[]> {
  await mkdir(ADAPTERS, { recursive: true });
  return (await listAdapters(ADAPTERS)).map(toStored);
}

const toStored = ({ name, reason, adapter }: ListedAdapter): StoredAdapter => ({
  name,
  reason,
  method: adapter?.config.method,
  rank: adapter?.config.rank,
});

/** Removes an adapter with its run, its kept versions and a run that was to replace it. */
export async function removeAdapter(name: string): Promise<void> {
  const folder = adapterFolder(name);
  for (const path of [folder, retrainingFolder(folder)]) await rm(path, { recursive: true, force: true });
  await removeVersions(folder);
}

/** An adapter as files: for `POST /v1/adapters` of a server, and as one archive. */
export interface ExportedAdapter {
  readonly name: string;
  /** adapter_config.json and adapter_model.safetensors. */
  readonly config: Blob;
  readonly tensors: Blob;
  /** A tar of its folder. */
  readonly archive: Blob;
}

/** The files of an adapter. Throws MosError `not_found`, `bad_adapter`. */
export async function exportAdapter(name: string): Promise<ExportedAdapter> {
  const folder = adapterFolder(name);
  // says what is missing or broken
  {
    await using opened = await openAdapterFolder(folder);
    await opened.describe();
  }
  const entries: TarEntry[] = [];
  for (const file of FILES) {
    const path = join(folder, file);
    if (await pathExists(path))
      entries.push({
        name: `${toFileName(name)}/${file}`,
        bytes: new Uint8Array(await readBytes(path, READ)),
      });
  }
  const [config, tensors] = ADAPTER_FILES.map(
    (file) => entries.find((entry) => basename(entry.name) === file)?.bytes,
  );
  return {
    name,
    config: new Blob([config ?? ""], { type: "application/json" }),
    tensors: new Blob([tensors ?? ""], { type: "application/octet-stream" }),
    archive: new Blob(tarParts(entries), { type: "application/x-tar" }),
  };
}

/** Files that become an adapter: one archive, or those of its folder. */
export interface ImportedAdapter {
  readonly files: readonly (Blob & { readonly name?: string })[];
  readonly name?: string | undefined;
  readonly overwrite?: boolean | undefined;
}

/**
 * Keeps an adapter.
 *
 * @throws MosError `bad_adapter` for files that are none, `bad_option` for a name that is taken, `storage`.
 */
export async function importAdapter({
  files,
  name,
  overwrite = false,
}: ImportedAdapter): Promise<StoredAdapter> {
  const entries: TarEntry[] = [];
  for (const file of files) {
    const bytes = new Uint8Array(await file.arrayBuffer());
    const known = FILES.includes(file.name ?? "");
    entries.push(...(known ? [{ name: file.name ?? "", bytes }] : readTar(bytes)));
  }
  const missing = ADAPTER_FILES.find((file) => !entries.some((entry) => basename(entry.name) === file));
  if (missing !== undefined)
    throw new MosError(
      "bad_adapter",
      `the files have no ${missing}; give an archive of exportAdapter, or the folder's files`,
    );
  const [first = ""] = entries[0]?.name.split("/").slice(0, -1) ?? [];
  const called = name ?? fromFileName(first);
  if (called === "") throw new MosError("bad_option", "importAdapter: give the adapter a name");
  const folder = adapterFolder(called);
  if (!overwrite && (await pathExists(folder)))
    throw new MosError(
      "bad_option",
      `the adapter ${called} is there already; give another name, or overwrite`,
    );
  await mkdir(ADAPTERS, { recursive: true });
  await writeFolderAtomic(folder, async (path) => {
    for (const entry of entries)
      if (FILES.some((file) => file === basename(entry.name)))
        await writeFileAtomic(join(path, basename(entry.name)), entry.bytes);
    await using opened = await openAdapterFolder(path);
    await opened.describe();
  });
  return toStored(await listAdapter(folder));
}
