import type { BigIntStats, FileHandle, Stats } from "../platform.ts";
import { systemError, type VolumeEntry, type VolumeFile } from "./volume.ts";

const KINDS = { folder: 0o040000, file: 0o100000 };

/** Nobody else has these files. */
const OWNER_ONLY = { folder: 0o700, file: 0o600 };

/** Facts of an entry, as Node gives them; volumes know no owners and no links. */
export function toStats({ isFolder, size, changed }: VolumeEntry, device: number): Stats {
  const kind = isFolder ? "folder" : "file";
  return {
    size,
    mtimeMs: changed,
    mode: KINDS[kind] | OWNER_ONLY[kind],
    uid: 0,
    dev: device,
    isFile: () => !isFolder,
    isDirectory: () => isFolder,
    isSymbolicLink: () => false,
  };
}

export function toBigIntStats({ size, changed, id }: VolumeEntry): BigIntStats {
  const nanoseconds = BigInt(Math.round(changed * 1e6));
  return {
    ino: BigInt(id),
    size: BigInt(size),
    mtimeMs: BigInt(Math.floor(changed)),
    mtimeNs: nanoseconds,
    ctimeNs: nanoseconds,
  };
}

/** What a handle needs beside its file. */
interface HandleOptions {
  readonly path: string;
  /** Facts of the file now. */
  readonly entry: () => Promise<VolumeEntry>;
  readonly device: number;
  readonly isWritten: boolean;
  /** Whether all is written behind the end. */
  readonly appends: boolean;
}

const openFiles = new Map<number, VolumeFile>();
let lastDescriptor = 2;

/** The file of a descriptor. */
export function fileOf(fd: number): VolumeFile {
  const file = openFiles.get(fd);
  if (file === undefined) throw systemError("EBADF", String(fd));
  return file;
}

const toBytes = (content: string | Uint8Array): Uint8Array =>
  typeof content === "string" ? new TextEncoder().encode(content) : content;

/** A file of a volume as an open file of Node's. */
export function openHandle(
  file: VolumeFile,
  { path, entry, device, isWritten, appends }: HandleOptions,
): FileHandle {
  const fd = ++lastDescriptor;
  openFiles.set(fd, file);
  let position = 0;
  const append = async (content: string | Uint8Array): Promise<void> => {
    const bytes = toBytes(content);
    put(bytes, appends ? file.size() : position);
    position += bytes.length;
  };
  const put = (bytes: Uint8Array, at: number): void => {
    if (!isWritten) throw systemError("EBADF", path);
    file.write(bytes, at);
  };
  async function stat(): Promise<Stats>;
  async function stat(options: { readonly bigint: true }): Promise<BigIntStats>;
  async function stat(options?: { readonly bigint: true }): Promise<Stats | BigIntStats> {
    const found = { ...(await entry()), size: file.size() };
    return options === undefined ? toStats(found, device) : toBigIntStats(found);
  }
  const close = async (): Promise<void> => {
    if (openFiles.delete(fd)) file.close();
  };
  return {
    fd,
    stat,
    async read(target, offset, ...[length, at]) {
      return { bytesRead: await file.read(target.subarray(offset, offset + length), at) };
    },
    async write(bytes, offset, ...[length, at]) {
      const part = bytes.subarray(offset, offset + length);
      if (at === null) await append(part);
      else put(part, at);
      return { bytesWritten: part.length };
    },
    writeFile: append,
    appendFile: append,
    async truncate(length) {
      if (!isWritten) throw systemError("EBADF", path);
      file.truncate(length);
    },
    async sync() {
      file.flush();
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}
