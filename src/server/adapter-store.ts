// Adapters on disk: a folder of its own for each, complete or absent. Names come from clients, paths never do.
import { randomBytes } from "node:crypto";
import { link, mkdir, readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { MosError } from "#core";
import {
  decodeText,
  openSafetensors,
  parseJson,
  pathExists,
  restoreFolder,
  storageError,
  writeFileAtomic,
  writeFolderAtomic,
} from "#formats";
import type { AdapterInfo, Engine } from "#serving";
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

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

/** The path of a name's folder. @throws Refusal for a name that is no plain one. */
function pathOf(name: string, { folder, modelName }: AdapterStoreOptions): string {
  const refuse = (message: string): Refusal =>
    new Refusal(message, { status: 400, reason: "invalid_value", field: "name" });
  if (folder === undefined)
    throw new Refusal("the server runs without a folder of adapters; start it with --adapters", {
      status: 400,
      reason: "no_adapter_folder",
    });
  if (!NAME.test(name))
    throw refuse(
      "name: an adapter's name begins with a letter or digit; letters, digits and . _ - follow, 128 at most",
    );
  if (name === modelName) throw refuse(`name: ${name} is the base model; take another name`);
  return join(folder, name);
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
    const path = pathOf(name, options);
    await using old = await keepOld(path);
    await writeFolderAtomic(path, (folder) => writeUpload(folder, { files, check })).catch((error) => {
      // the folder's helper tells errors anew, by the final name
      throw error instanceof MosError && error.cause instanceof Refusal ? error.cause : error;
    });
    const find = async (): Promise<AdapterInfo | undefined> =>
      (await engine.refreshAdapters()).find((adapter) => adapter.name === name);
    const found = await find();
    if (found !== undefined) return found;
    await (old === undefined ? removeFolder(path) : old.restore());
    await find();
    throw badAdapter(`${name}: this is no adapter of this model, so all is as it was`);
  };
  const remove = async (name: string): Promise<void> => {
    const path = pathOf(name, options);
    if (!(await pathExists(path)))
      throw new Refusal(`there is no adapter ${name}`, {
        status: 404,
        reason: "model_not_found",
        field: "name",
      });
    await removeFolder(path);
    await engine.refreshAdapters();
  };
  return {
    put: (name, files) => inTurn(() => put(name, files)),
    remove: (name) => inTurn(() => remove(name)),
  };
}

/** A hidden name beside a path; what a killed process leaves under it goes when the path is written again. */
const hidden = (path: string): string =>
  join(dirname(path), `.${basename(path)}.${process.pid}-${randomBytes(4).toString("hex")}.partial`);

/** Under a hidden name first, so that nobody ever sees half of it. */
async function removeFolder(path: string): Promise<void> {
  const bin = hidden(path);
  try {
    await rename(path, bin);
    await rm(bin, { recursive: true, force: true });
  } catch (error) {
    throw storageError(error, path);
  }
}

/** An adapter's files under a hidden name, while others take their place. */
interface KeptAdapter extends AsyncDisposable {
  restore(): Promise<void>;
}

async function linkFiles(from: string, to: string): Promise<void> {
  for (const name of [CONFIG, TENSORS])
    if (await pathExists(join(from, name))) await link(join(from, name), join(to, name));
}

/** Keeps the old files by links, which cost nothing; undefined where there are none. */
async function keepOld(path: string): Promise<KeptAdapter | undefined> {
  if (!(await pathExists(join(path, CONFIG)))) return undefined;
  const folder = hidden(path);
  const discard = (): Promise<void> => rm(folder, { recursive: true, force: true });
  try {
    await mkdir(folder);
    await linkFiles(path, folder);
  } catch (error) {
    await discard();
    throw storageError(error, path);
  }
  return {
    restore: () => writeFolderAtomic(path, (into) => linkFiles(folder, into)),
    [Symbol.asyncDispose]: discard,
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
