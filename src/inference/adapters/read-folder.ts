// A folder may be replaced while it is read. What is read here is the content that it had at one moment, or an error.
import type { BigIntStats } from "node:fs";
import { realpath, stat } from "node:fs/promises";
import { join } from "node:path";
import { ADAPTER_CONFIG, ADAPTER_TENSORS } from "#adapters";
import { MosError } from "#core";
import {
  type ByteSource,
  bytesInMemory,
  openForReading,
  pathExists,
  type ReadableFile,
  storageError,
  systemCode,
} from "#storage";
import { contentDigest } from "./content-digest.ts";

const LARGEST_CONFIG = 1 << 20;

/** Changes whenever a file does, without reading it. */
const versionOf = ({ ino, size, mtimeNs, ctimeNs }: BigIntStats): string =>
  `${ino}:${size}:${mtimeNs}:${ctimeNs}`;

/** When the content changed last, and a text that changes with it. */
export interface FolderVersion {
  readonly text: string;
  /** Seconds since 1970. */
  readonly changedAt: number;
}

function combine(config: BigIntStats, tensors: BigIntStats | undefined): FolderVersion {
  const newest = Math.max(Number(config.mtimeMs), Number(tensors?.mtimeMs ?? 0));
  return {
    text: `${versionOf(config)} ${tensors === undefined ? "" : versionOf(tensors)}`,
    changedAt: newest / 1000,
  };
}

async function statOf(path: string): Promise<BigIntStats | undefined> {
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
    statOf(join(folder, ADAPTER_CONFIG)),
    statOf(join(folder, ADAPTER_TENSORS)),
  ]);
  return config === undefined ? undefined : combine(config, tensors);
}

/** Both files of a folder, open. */
export interface OpenFolder extends AsyncDisposable {
  readonly config: Uint8Array;
  readonly tensors: ReadableFile;
  readonly version: FolderVersion;
  /** Whether the folder still holds these very files, so that they belong together. */
  isCurrent(): Promise<boolean>;
}

async function readAll(file: ByteSource): Promise<Uint8Array> {
  const bytes = new Uint8Array(file.size);
  await file.read(bytes, 0);
  return bytes;
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
  const path = join(folder, ADAPTER_TENSORS);
  throw new MosError("bad_adapter", `${path} is missing; save the adapter again, as safetensors`);
}

/** Opens a folder and reads its settings. Throws `bad_adapter`, `not_found`, `storage`. */
export async function openFolder(folder: string): Promise<OpenFolder> {
  // both files of one folder, should it be a link that changes now
  const real = await realpath(folder).catch((error: unknown) => {
    throw storageError(error, folder);
  });
  await using config = await openFile(real, folder, ADAPTER_CONFIG);
  if (config.size > LARGEST_CONFIG)
    throw new MosError(
      "bad_adapter",
      `${config.path}: ${config.size} bytes are too many; at most ${LARGEST_CONFIG} are read`,
    );
  const tensors = await openTensors(real, folder);
  try {
    const version = combine(
      await config.handle.stat({ bigint: true }),
      await tensors.handle.stat({ bigint: true }),
    );
    return {
      config: await readAll(config),
      tensors,
      version,
      isCurrent: async () => (await folderVersion(folder))?.text === version.text,
      [Symbol.asyncDispose]: () => tensors[Symbol.asyncDispose](),
    };
  } catch (error) {
    await tensors[Symbol.asyncDispose]();
    throw error;
  }
}

/** The content of a folder in memory. */
export interface FolderContent {
  readonly digest: string;
  readonly config: Uint8Array;
  readonly tensors: Uint8Array;
}

/** Reads all of a folder; undefined where it holds another version by now. Only the digest says what was read. */
export async function readFolder(folder: string, version: string): Promise<FolderContent | undefined> {
  await using open = await openFolder(folder);
  if (open.version.text !== version) return undefined;
  const { config } = open;
  const tensors = await readAll(open.tensors);
  // of what is in memory, whatever the disk holds by now
  return {
    digest: await contentDigest({ config, tensors: bytesInMemory(open.tensors.path, tensors) }),
    config,
    tensors,
  };
}
