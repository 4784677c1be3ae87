// Adapters on disk: a folder for each, complete or absent. Names come from clients, paths never do.
import { isAbsolute, join } from "node:path";
import {
  ADAPTER_CONFIG as CONFIG,
  MAX_CONFIG_BYTES,
  removeVersions,
  ADAPTER_TENSORS as TENSORS,
} from "mixture-of-shards-core/adapters";
import { attempt, isRecord, limitConcurrency, MosError, parseJson } from "mixture-of-shards-core/common";
import {
  assertAdapterHeader,
  fromFileName,
  lockChanges,
  openAtomicFile,
  openAtomicFolder,
  openSafetensors,
  pathExists,
  repairFolder,
  type SavedFolder,
  saveFolder,
  toFileName,
  writeFileAtomic,
} from "mixture-of-shards-core/files";
import type { AdapterInfo, Engine } from "mixture-of-shards-core/inference";
import { ApiError, invalidValue, notFound } from "./errors.ts";

/** An adapter's two files as a client sent them. */
export interface UploadedAdapter {
  /** JSON. */
  readonly config: string;
  /** Safetensors. */
  readonly tensors: Blob;
}

interface AdapterStoreOptions {
  readonly engine: Engine;
  readonly modelName: string;
  readonly folder: string | undefined;
  /** Checks a folder with the two files before it takes its name. Throws a MosError. */
  readonly check?: ((folder: string) => Promise<void>) | undefined;
}

const PLAIN_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

/** Names that Windows keeps for devices, with any ending. */
const DEVICE_NAME = /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i;

/**
 * An uploaded adapter's name must be valid as a folder's name on every system, and have one spelling only.
 *
 * @throws ApiError 400 for any other.
 */
export function checkAdapterName(name: string): void {
  if (PLAIN_NAME.test(name) && !name.endsWith(".") && !DEVICE_NAME.test(name)) return;
  throw invalidValue(
    "name: must start with a letter or digit, followed by letters, digits and . _ -, at most 128, and must not end with a dot or be a device name such as CON or COM1",
    "name",
  );
}

/** The base's name as a file of an adapter has it. The trainer may have written a path, which is nobody else's business; a name of the Hub stays whole. */
export const baseName = (name: string): string =>
  isAbsolute(name) || /^\.|^[A-Za-z]:|\\/.test(name) ? (name.split(/[/\\]/).at(-1) ?? "") : name;

/** Folders that an adapter's name may have; the operator may have named one as `toFileName` does not. None is elsewhere. */
function foldersFor(name: string): readonly string[] {
  if (name.startsWith(".") || !/^[^/\\\0]{1,255}$/.test(name)) return [];
  return [toFileName(name), name].filter((file) => fromFileName(file) === name);
}

/** The adapters' folder. @throws ApiError 400 if the server has none. */
function requireFolder({ folder }: AdapterStoreOptions): string {
  if (folder !== undefined) return folder;
  throw new ApiError("the server has no adapter folder; start it with --adapters", {
    status: 400,
    code: "no_adapter_folder",
  });
}

/** The path of an existing adapter, whose name need not be a plain one: the operator may have put it there. @throws ApiError 404. */
async function existingPath(name: string, options: AdapterStoreOptions): Promise<string> {
  const folder = requireFolder(options);
  for (const file of foldersFor(name))
    if (await pathExists(join(folder, file, CONFIG))) return join(folder, file);
  throw notFound(`there is no adapter ${JSON.stringify(name.slice(0, 200))}`, "model_not_found", "name");
}

/** @throws ApiError 503 where another server has been changing the folder for long. */
const lockServed = (folder: string): Promise<AsyncDisposable> =>
  lockChanges(folder).catch((error: unknown) => {
    if (!(error instanceof MosError) || error.code !== "busy") throw error;
    throw new ApiError("another server is changing the adapter folder; retry later", {
      status: 503,
      code: "adapters_locked",
      retryAfter: 5,
      cause: error,
    });
  });

const badAdapter = (message: string, cause?: unknown): ApiError =>
  new ApiError(message, { status: 400, code: "bad_adapter", cause });

/** The client learns what is wrong with its files, but not the path where they were checked. */
function explainUpload(cause: unknown, folder: string): never {
  const isClientFault =
    cause instanceof MosError && ["bad_adapter", "bad_config", "unsupported"].includes(cause.code);
  if (!isClientFault || cause instanceof ApiError) throw cause;
  throw badAdapter(cause.message.replaceAll(`${folder}/`, "").replaceAll(folder, "the adapter"), cause);
}

/** Looks at the first bytes of tensors: a hostile file is not read to its end. @throws ApiError 400. */
export function checkTensorsBegin(begin: Uint8Array): void {
  const problem = attempt(() => assertAdapterHeader(begin, TENSORS));
  if (problem instanceof MosError) throw badAdapter(problem.message, problem);
}

async function writeUpload(
  folder: string,
  { files, check }: { readonly files: UploadedAdapter; readonly check: AdapterStoreOptions["check"] },
): Promise<void> {
  const size = Buffer.byteLength(files.config);
  if (size > MAX_CONFIG_BYTES)
    throw new MosError("bad_adapter", `${CONFIG}: ${size} bytes exceed the limit of ${MAX_CONFIG_BYTES}`);
  if (!isRecord(parseJson(files.config, { code: "bad_adapter", where: CONFIG })))
    throw new MosError("bad_adapter", `${CONFIG}: not a JSON object`);
  await using tensors = await openAtomicFile(join(folder, TENSORS));
  for await (const chunk of files.tensors.stream()) await tensors.write(chunk);
  await tensors.commit();
  await using opened = await openSafetensors(join(folder, TENSORS), { code: "bad_adapter" });
  if (opened.tensors.size === 0) throw new MosError("bad_adapter", `${TENSORS}: contains no tensors`);
  await writeFileAtomic(join(folder, CONFIG), files.config);
  await check?.(folder);
}

/**
 * Adds, replaces and removes adapters, one after the other, also where several servers share the folder. A change that
 * fails leaves everything as it was.
 */
export function createAdapterStore(options: AdapterStoreOptions) {
  const { engine, check } = options;
  /** One change at a time: two uploads of the same name would race for it. */
  const oneByOne = limitConcurrency(1);
  const withLock = <T>(work: () => Promise<T>): Promise<T> =>
    oneByOne(work).catch((error: unknown) => {
      // a file that is missing in the server's folder is not what the client asked for
      if (!(error instanceof MosError) || error instanceof ApiError || error.code !== "not_found")
        throw error;
      throw new MosError("storage", error.message, { cause: error });
    });
  const put = async (name: string, files: UploadedAdapter): Promise<AdapterInfo> => {
    const folder = requireFolder(options);
    checkAdapterName(name);
    if (name === options.modelName)
      throw invalidValue(`name: ${name} is the base model; choose another name`, "name");
    const path = join(folder, name);
    await repairFolder(folder);
    await using upload = await openAtomicFolder(path);
    await writeUpload(upload.path, { files, check })
      .catch((cause: unknown) => explainUpload(cause, upload.path))
      .catch((error: unknown) => {
        throw error instanceof ApiError ? error : upload.explain(error);
      });
    // until the engine has seen it, no other server may change what it sees
    await using _lock = await lockServed(folder);
    await using old = await upload.replace();
    try {
      const isIt = (adapter: { readonly name: string }): boolean => adapter.name === name;
      const found = (await engine.refreshAdapters()).find(isIt);
      // what the folder held before may still be served from memory
      if (found !== undefined && !engine.refusedAdapters().some(isIt)) return found;
      if (!(await pathExists(join(path, CONFIG))))
        throw new ApiError(`${name}: its folder was removed during the upload; retry`, {
          status: 409,
          code: "conflict",
          param: "name",
        });
      throw badAdapter(`${name}: not an adapter of this model; nothing was changed`);
    } catch (error) {
      await undo(old);
      throw error;
    }
  };
  const remove = async (name: string): Promise<void> => {
    const folder = requireFolder(options);
    await existingPath(name, options);
    await repairFolder(folder);
    await using _lock = await lockServed(folder);
    const path = await existingPath(name, options);
    await using taken = await saveFolder(path);
    await engine.refreshAdapters().catch(async (error: unknown) => {
      await undo(taken);
      throw error;
    });
    await removeVersions(path); // what is removed is not kept anywhere
  };
  /** The client gets the first error; an engine that cannot scan the folder now does so later. */
  const undo = async (old: SavedFolder): Promise<void> => {
    await old.restore();
    await engine.refreshAdapters().catch(() => undefined);
  };
  return {
    /** @throws ApiError 400 for a wrong name, or files that are not an adapter of the served model. */
    put: (name: string, files: UploadedAdapter) => withLock(() => put(name, files)),
    /** @throws ApiError 404 if there is no such adapter. */
    remove: (name: string) => withLock(() => remove(name)),
    /** The folder of an adapter. @throws ApiError 404 if there is no such adapter, 400 if the server has no folder of adapters. */
    locate: (name: string): Promise<string> => existingPath(name, options),
  };
}
