// Adapters on disk: a folder of its own for each, complete or absent. Names come from clients, paths never do.
import { randomBytes } from "node:crypto";
import { mkdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { MosError } from "#core";
import {
  decodeText,
  openSafetensors,
  parseJson,
  pathExists,
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
    const done = last.then(work);
    last = done.catch(() => undefined);
    return done;
  };
  const put = async (name: string, files: AdapterFiles): Promise<AdapterInfo> => {
    const path = pathOf(name, options);
    await writeFolderAtomic(path, (folder) => writeUpload(folder, { files, check })).catch((error) => {
      // the folder's helper tells errors anew, by the final name
      throw error instanceof MosError && error.cause instanceof Refusal ? error.cause : error;
    });
    const found = (await engine.refreshAdapters()).find((adapter) => adapter.name === name);
    if (found === undefined)
      throw badAdapter(`${name} was written, but it is no adapter of this model; remove or replace it`);
    return found;
  };
  const remove = async (name: string): Promise<void> => {
    const path = pathOf(name, options);
    if (!(await pathExists(path)))
      throw new Refusal(`there is no adapter ${name}`, {
        status: 404,
        reason: "model_not_found",
        field: "name",
      });
    await removeFolder(path, name);
    await engine.refreshAdapters();
  };
  return {
    put: (name, files) => inTurn(() => put(name, files)),
    remove: (name) => inTurn(() => remove(name)),
  };
}

/** Under a hidden name first, so that nobody ever sees half of it. */
async function removeFolder(path: string, name: string): Promise<void> {
  const bin = join(path, "..", `.${name}.${process.pid}-${randomBytes(4).toString("hex")}.partial`);
  try {
    await mkdir(bin);
    await rename(path, join(bin, "adapter"));
    await rm(bin, { recursive: true, force: true });
  } catch (error) {
    throw storageError(error, path);
  }
}
