// Adapters on disk: a folder of its own for each, complete or absent. Names come from clients, paths never do.
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { decodeText, MosError, parseJson } from "#core";
import { openSafetensors } from "#formats";
import type { AdapterInfo, Engine } from "#inference";
import {
  type KeptFolder,
  keepFolder,
  pathExists,
  restoreFolder,
  storageError,
  takeFolder,
  writeFileAtomic,
  writeFolderAtomic,
} from "#storage";
import { checkAdapterName, isFolderName } from "./adapter-name.ts";
import { Refusal } from "./refusal.ts";

const CONFIG = "adapter_config.json";
const TENSORS = "adapter_model.safetensors";

/** An adapter's two files. */
export interface AdapterFiles {
  readonly config: Uint8Array;
  readonly tensors: Uint8Array;
}

/** Adds, replaces and removes adapters, one after the other. */
export interface AdapterStore {
  put(name: string, files: AdapterFiles): Promise<AdapterInfo>;
  remove(name: string): Promise<void>;
}

export interface AdapterStoreOptions {
  readonly engine: Engine;
  readonly modelName: string;
  readonly folder: string | undefined;
  readonly check?: ((folder: string) => Promise<void>) | undefined;
}

/** The adapters' folder. @throws Refusal 400 where the server has none. */
function folderOf({ folder }: AdapterStoreOptions): string {
  if (folder !== undefined) return folder;
  throw new Refusal("the server runs without a folder of adapters; start it with --adapters", {
    status: 400,
    reason: "no_adapter_folder",
  });
}

/** The path of an upload. @throws Refusal 400 for a name that is no plain one. */
function newPath(name: string, options: AdapterStoreOptions): string {
  const folder = folderOf(options);
  checkAdapterName(name);
  if (name === options.modelName)
    throw new Refusal(`name: ${name} is the base model; take another name`, {
      status: 400,
      reason: "invalid_value",
      field: "name",
    });
  return join(folder, name);
}

/** The path of an adapter that is there: whoever laid it into the folder may have called it otherwise. @throws Refusal 404. */
async function knownPath(name: string, options: AdapterStoreOptions): Promise<string> {
  const folder = folderOf(options);
  if (isFolderName(name) && (await pathExists(join(folder, name, CONFIG)))) return join(folder, name);
  throw new Refusal(`there is no adapter ${JSON.stringify(name.slice(0, 200))}`, {
    status: 404,
    reason: "model_not_found",
    field: "name",
  });
}

const badAdapter = (message: string, cause?: unknown): Refusal =>
  new Refusal(message, { status: 400, reason: "bad_adapter", cause });

/** What is wrong with uploaded files is their sender's to know, without the place where they lay. */
async function inUpload<T>(folder: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    const isTheirs =
      cause instanceof MosError && ["bad_adapter", "bad_config", "unsupported"].includes(cause.code);
    if (!isTheirs || cause instanceof Refusal) throw cause;
    throw badAdapter(cause.message.replaceAll(`${folder}/`, "").replaceAll(folder, "the adapter"), cause);
  }
}

function checkConfig(config: Uint8Array): void {
  const place = { code: "bad_adapter", where: CONFIG } as const;
  const value = parseJson(decodeText(config, place), place);
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new MosError("bad_adapter", `${CONFIG}: this is no JSON object`);
}

async function writeUpload(folder: string, { files, check }: Upload): Promise<void> {
  await inUpload(folder, async () => {
    checkConfig(files.config);
    await writeFileAtomic(join(folder, TENSORS), files.tensors);
    await using opened = await openSafetensors(join(folder, TENSORS), { code: "bad_adapter" });
    if (opened.tensors.size === 0) throw new MosError("bad_adapter", `${TENSORS}: there is no tensor in it`);
    await writeFileAtomic(join(folder, CONFIG), files.config);
    await check?.(folder);
  });
}

interface Upload {
  readonly files: AdapterFiles;
  readonly check: AdapterStoreOptions["check"];
}

export function createAdapterStore(options: AdapterStoreOptions): AdapterStore {
  const { engine, check } = options;
  let last: Promise<unknown> = Promise.resolve();
  /** One change at a time: two uploads of the same name would race for it. */
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const done = last.then(work).catch((error: unknown) => {
      // a missing file of ours is nothing that a client has asked for
      if (!(error instanceof MosError) || error instanceof Refusal || error.code !== "not_found") throw error;
      throw new MosError("storage", error.message, { cause: error });
    });
    last = done.catch(() => undefined);
    return done;
  };
  const put = async (name: string, files: AdapterFiles): Promise<AdapterInfo> => {
    const path = newPath(name, options);
    await using old = await keepFolder(path);
    await writeFolderAtomic(path, (folder) => writeUpload(folder, { files, check })).catch((error) => {
      // the folder's helper tells errors anew, by the final name
      throw error instanceof MosError && error.cause instanceof Refusal ? error.cause : error;
    });
    try {
      const found = (await engine.refreshAdapters()).find((adapter) => adapter.name === name);
      if (found !== undefined) return found;
      throw badAdapter(`${name}: this is no adapter of this model, so all is as it was`);
    } catch (error) {
      await takeBack(old);
      throw error;
    }
  };
  const remove = async (name: string): Promise<void> => {
    await using taken = await takeFolder(await knownPath(name, options));
    try {
      await engine.refreshAdapters();
    } catch (error) {
      await takeBack(taken);
      throw error;
    }
  };
  /** The engine looks again when it can: what is to be told is why it came to this. */
  const takeBack = async (old: KeptFolder): Promise<void> => {
    await old.restore();
    await engine.refreshAdapters().catch(() => undefined);
  };
  return {
    put: (name, files) => inTurn(() => put(name, files)),
    remove: (name) => inTurn(() => remove(name)),
  };
}

const REPLACED = /^\.(.+)\.replaced$/;

/** Puts back what a server that was killed had in its hands; before the folder is served. */
export async function restoreAdapters(folder: string): Promise<void> {
  const names = await readdir(folder).catch((error: unknown) => {
    throw storageError(error, folder);
  });
  for (const name of names) {
    const [, replaced] = REPLACED.exec(name) ?? [];
    if (replaced !== undefined) await restoreFolder(join(folder, replaced));
  }
}
