// The two files of an adapter's folder in the shape of Hugging Face PEFT, adapter_config.json and adapter_model.safetensors:
// written, and opened as they are at one moment, since the folder may be replaced while it is read.
import { decodeText, MosError, parseJson, parseWith } from "#common";
import {
  type ByteSource,
  openForReading,
  pathExists,
  type ReadableFile,
  readBytes,
  restoreFolder,
  storageFailure,
  systemCode,
  type WritableTensor,
  writeFileAtomic,
  writeFolderAtomic,
  writeSafetensors,
} from "#files";
import { type BigIntStats, createHash, join, realpath, stat } from "#platform";
import { type Adapter, bindMethod } from "./adapter.ts";
import {
  type AdapterBase,
  type SavedBase,
  type SavedFields,
  savedBase,
  savedFields,
  writeFields,
} from "./folder-config.ts";

/** The file of an adapter's folder that holds its settings. */
export const ADAPTER_CONFIG = "adapter_config.json";
/** The file of an adapter's folder that holds its tensors. */
export const ADAPTER_TENSORS = "adapter_model.safetensors";

/** Bytes of an adapter_config.json: few enough to be parsed at once, and more than one that names each layer of a large model. */
export const MAX_CONFIG_BYTES = 1 << 18;
/** The same for entries of a list or an object in it. */
const MAX_ENTRIES = 2_000;

/**
 * Writes the fields of adapter_config.json, and the tensors by their names in adapter_model.safetensors, into a folder that may hold other things, each complete or absent. The config comes last:
 * a folder without it is not an adapter.
 *
 * @throws MosError `storage`, `not_found`.
 */
export async function writeFolderFiles(
  folder: string,
  {
    fields,
    tensors,
  }: { readonly fields: object; readonly tensors: Readonly<Record<string, WritableTensor>> },
): Promise<void> {
  await writeSafetensors(join(folder, ADAPTER_TENSORS), tensors, { format: "pt" });
  await writeFileAtomic(join(folder, ADAPTER_CONFIG), `${JSON.stringify(fields, null, 2)}\n`);
}

/**
 * Writes an adapter's two files into a folder that may hold other things, as `writeFolderFiles`.
 *
 * @throws MosError `storage`, `not_found`.
 */
export async function writeAdapterFiles(
  folder: string,
  adapter: Adapter,
  { base }: { readonly base: AdapterBase },
): Promise<void> {
  const method = bindMethod(adapter.config);
  const named = new Map<string, WritableTensor>();
  const seeded = new Set(
    method.tensors(adapter.shapes).flatMap(({ name, role }) => (role === "seeded" ? [name] : [])),
  );
  for (const [name, { shape, data }] of adapter.tensors) {
    if (seeded.has(name)) continue;
    named.set(
      method.tensorName(name),
      data instanceof Int32Array ? { dtype: "I32", shape, data } : { dtype: "F32", shape, data },
    );
  }
  await writeFolderFiles(folder, { fields: writeFields(adapter, base), tensors: Object.fromEntries(named) });
}

/**
 * Saves an adapter as a folder of its own, which replaces what was there only when it is complete.
 *
 * @throws MosError `storage`.
 */
export const saveAdapter = (
  folder: string,
  adapter: Adapter,
  options: { readonly base: AdapterBase },
): Promise<void> => writeFolderAtomic(folder, (into) => writeAdapterFiles(into, adapter, options));

/** The last change of the files of an adapter's folder, and a string that differs whenever one of them has changed. */
export interface FolderVersion {
  readonly text: string;
  /** Seconds since 1970. */
  readonly changedAt: number;
  /** Of both files. */
  readonly bytes: number;
}

/** Changes whenever the file does; needs no reading. */
const formatStamp = ({ ino, size, mtimeNs, ctimeNs }: BigIntStats): string =>
  `${ino}:${size}:${mtimeNs}:${ctimeNs}`;

function toVersion(config: BigIntStats, tensors: BigIntStats | undefined): FolderVersion {
  const newest = Math.max(Number(config.mtimeMs), Number(tensors?.mtimeMs ?? 0));
  return {
    text: `${formatStamp(config)} ${tensors === undefined ? "" : formatStamp(tensors)}`,
    changedAt: newest / 1000,
    bytes: Number(config.size + (tensors?.size ?? 0n)),
  };
}

async function statFile(path: string): Promise<BigIntStats | undefined> {
  try {
    return await stat(path, { bigint: true });
  } catch (error) {
    const code = systemCode(error);
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw error;
  }
}

/** The version of an adapter's folder; undefined where there is no adapter. */
export async function folderVersion(folder: string): Promise<FolderVersion | undefined> {
  const [config, tensors] = await Promise.all([
    statFile(join(folder, ADAPTER_CONFIG)),
    statFile(join(folder, ADAPTER_TENSORS)),
  ]);
  return config === undefined ? undefined : toVersion(config, tensors);
}

/** Hashed a piece at a time, on the threads of Web Crypto, so that the event loop is not blocked. */
const CHUNK_BYTES = 1 << 22;

/** SHA-256 over the settings and the digests of the tensors' pieces of 4 MiB. */
export async function contentDigest(config: Uint8Array, tensors: ByteSource): Promise<string> {
  const hash = createHash("sha256").update(`${config.length} ${tensors.size}\n`).update(config);
  const buffer = new Uint8Array(Math.min(CHUNK_BYTES, tensors.size));
  for (let done = 0; done < tensors.size; done += buffer.length) {
    const piece = buffer.subarray(0, Math.min(buffer.length, tensors.size - done));
    await tensors.read(piece, done);
    hash.update(new Uint8Array(await crypto.subtle.digest("SHA-256", piece)));
  }
  return `sha256:${hash.digest("hex")}`;
}

const noAdapter = (folder: string): MosError =>
  new MosError("not_found", `${folder}: no adapter here (there is no ${ADAPTER_CONFIG})`);

/** Refuses too many entries before they are checked one by one. */
function refuseLong(value: unknown, where: string): void {
  if (typeof value !== "object" || value === null) return;
  const { length } = Object.keys(value);
  if (length > MAX_ENTRIES)
    throw new MosError("bad_adapter", `${where} has ${length} entries; at most ${MAX_ENTRIES} are read`);
}

/** The fields of an adapter_config.json, which messages call `where`. Throws `bad_adapter`. */
export function parseFields(bytes: Uint8Array, where: string): SavedFields {
  const place = { code: "bad_adapter", where } as const;
  const value = parseJson(decodeText(bytes, place), place);
  refuseLong(value, `${where}: this`);
  for (const [name, field] of Object.entries(value ?? {})) refuseLong(field, `${where}: field "${name}"`);
  return parseWith(savedFields, value, place);
}

/**
 * Reads what an adapter's folder records about its base. The tensors are not read.
 *
 * @throws MosError `not_found`, `bad_adapter`, `storage`.
 */
export async function readAdapterBase(folder: string): Promise<SavedBase> {
  await restoreFolder(folder);
  const where = join(folder, ADAPTER_CONFIG);
  if (!(await pathExists(where))) throw noAdapter(folder);
  const bytes = await readBytes(where, { code: "bad_adapter", maximumBytes: MAX_CONFIG_BYTES });
  return savedBase(parseFields(bytes, where));
}

/** Opens a file of the folder `real`, which messages call `folder`. */
async function openFile(real: string, folder: string, name: string): Promise<ReadableFile> {
  try {
    const file = await openForReading(join(real, name), "bad_adapter");
    return { ...file, path: join(folder, name) };
  } catch (error) {
    if (!(error instanceof MosError)) throw error;
    throw new MosError(error.code, error.message.replaceAll(real, folder), { cause: error });
  }
}

async function openTensors(real: string, folder: string): Promise<ReadableFile> {
  if (await pathExists(join(real, ADAPTER_TENSORS))) return openFile(real, folder, ADAPTER_TENSORS);
  const advice = (await pathExists(join(real, "adapter_model.bin")))
    ? "; adapter_model.bin may contain code and is never read: load it with torch.load(…, weights_only=True) and save it with safetensors.torch.save_file"
    : "";
  throw new MosError("not_found", `${folder}: ${ADAPTER_TENSORS} is missing${advice}`);
}

/** Everything in a file. */
export async function readAll(file: ByteSource): Promise<Uint8Array> {
  const bytes = new Uint8Array(file.size);
  await file.read(bytes, 0);
  return bytes;
}

/** Opens both files of a folder at one moment, and reads the config. Throws `not_found`, `bad_adapter`, `storage`. */
export async function openFiles(folder: string) {
  if (!(await pathExists(join(folder, ADAPTER_CONFIG)))) throw noAdapter(folder);
  // if `folder` is a link that changes now, both files still come from one folder
  const real = await realpath(folder).catch(storageFailure(folder));
  await using config = await openFile(real, folder, ADAPTER_CONFIG);
  if (config.size > MAX_CONFIG_BYTES)
    throw new MosError(
      "bad_adapter",
      `${config.path}: the file has ${config.size} bytes; the limit is ${MAX_CONFIG_BYTES}`,
    );
  const tensors = await openTensors(real, folder);
  try {
    const stats = [
      await config.handle.stat({ bigint: true }),
      await tensors.handle.stat({ bigint: true }),
    ] as const;
    return { config: await readAll(config), tensors, version: toVersion(...stats) };
  } catch (error) {
    await tensors[Symbol.asyncDispose]();
    throw error;
  }
}
