// Files are read with their size checked first, and written under a temporary name that is renamed at the end, so that
// a reader never sees half a file, even if the writer is killed.

import type { z } from "zod";
import { decodeText, type ErrorCode, MosError, parseJson, parseWith } from "#common";
import {
  basename,
  dirname,
  type FileHandle,
  hasWriterEnded,
  join,
  open,
  randomUUID,
  readdir,
  rename,
  rm,
  stat,
  thisWriter,
} from "#platform";
import { isBeating, startHeartbeat } from "./heartbeat.ts";
import { storageError, storageFailure, systemCode } from "./system-error.ts";

/** One system call moves at most this many bytes; larger ones fail on some platforms. */
const MAX_READ_BYTES = 1 << 30;

/** A file's bytes, on the disk or in memory. The owner closes it (`await using`). */
export interface ByteSource extends AsyncDisposable {
  /** Name in messages. */
  readonly path: string;
  readonly size: number;
  /** Fills `target` from byte `position` on; a file that ends too early is an error. */
  read(target: Uint8Array, position: number): Promise<void>;
}

/** An open regular file whose size is known. */
export interface ReadableFile extends ByteSource {
  readonly handle: FileHandle;
}

/** Makes something of an open file, and closes the file where that fails. */
export async function closeOnFailure<File extends AsyncDisposable, Made>(
  file: File,
  make: (file: File) => Made | Promise<Made>,
): Promise<Made> {
  try {
    return await make(file);
  } catch (error) {
    await file[Symbol.asyncDispose]();
    throw error;
  }
}

/** Bytes in memory as a `ByteSource`; `path` is their name in messages. */
export const bytesInMemory = (path: string, bytes: Uint8Array): ByteSource => ({
  path,
  size: bytes.length,
  async read(target, position) {
    if (position + target.length > bytes.length)
      throw new MosError("storage", `${path}: the file ends at byte ${bytes.length}; download it again`);
    target.set(bytes.subarray(position, position + target.length));
  },
  [Symbol.asyncDispose]: async () => {},
});

/** Opens a regular file for reading; `code` is the error code for a file that is too short. Throws "not_found" or "storage". */
export async function openForReading(path: string, code: ErrorCode): Promise<ReadableFile> {
  try {
    const found = await stat(path);
    if (found.isDirectory()) throw new MosError(code, `${path}: expected a file, found a folder`);
    if (!found.isFile()) throw new MosError(code, `${path}: this is not a regular file`);
    const handle = await open(path, "r");
    const read = async (target: Uint8Array, position: number): Promise<void> => {
      for (let done = 0; done < target.length; ) {
        const length = Math.min(target.length - done, MAX_READ_BYTES);
        const { bytesRead } = await handle
          .read(target, done, length, position + done)
          .catch(storageFailure(path));
        if (bytesRead === 0)
          throw new MosError(
            code,
            `${path}: the file ends at byte ${position + done}, but ${position + target.length} bytes were expected; download it again`,
          );
        done += bytesRead;
      }
    };
    return { path, size: found.size, handle, read, [Symbol.asyncDispose]: () => handle.close() };
  } catch (error) {
    throw storageError(error, path);
  }
}

interface ReadOptions {
  /** Error code for a file that is too large or cannot be parsed. */
  readonly code: ErrorCode;
  /** Files above this many bytes are refused before anything is allocated. */
  readonly maximumBytes?: number;
}

/** Reads a whole file of bounded size (64 MiB by default). */
export async function readBytes(
  path: string,
  { code, maximumBytes = 64 << 20 }: ReadOptions,
): Promise<Uint8Array> {
  await using file = await openForReading(path, code);
  if (file.size > maximumBytes)
    throw new MosError(code, `${path}: the file has ${file.size} bytes; the limit is ${maximumBytes}`);
  const bytes = new Uint8Array(file.size);
  await file.read(bytes, 0);
  return bytes;
}

/**
 * Reads a JSON file of bounded size and checks it against a zod schema.
 *
 * @throws MosError "not_found" or "storage" from the disk; `options.code` for anything wrong with the content.
 */
export async function readJson<S extends z.ZodType>(
  path: string,
  schema: S,
  options: ReadOptions,
): Promise<z.output<S>> {
  const place = { code: options.code, where: path };
  return parseWith(schema, parseJson(decodeText(await readBytes(path, options), place), place), place);
}

/**
 * Size and times of a file: another stamp means that it was written to or replaced.
 *
 * @throws the system's error where there is no such file.
 */
export async function fileStamp(path: string): Promise<string> {
  const { mtimeNs, ctimeNs, size, ino } = await stat(path, { bigint: true });
  return `${mtimeNs} ${ctimeNs} ${size} ${ino}`;
}

/** Tests whether a file, a folder or anything else exists at a path. */
export async function pathExists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    const code = systemCode(error);
    if (code === "ENOENT" || code === "ENOTDIR") return false;
    throw storageError(error, path);
  }
}

const PARTIAL = /^\.(.+?)\.(\d+)-(\w+)-([0-9a-f]{8})-[0-9a-f]{8}\.partial$/;

/** A hidden neighbour of `path`: the same file system, so that a rename is atomic. Its name tells who writes it. */
export function partialName(path: string): string {
  const { pid, start, place } = thisWriter;
  const end = `${pid}-${start}-${place}-${randomUUID().slice(0, 8)}.partial`;
  return join(dirname(path), `.${basename(path)}.${end}`);
}

/** Tests whether a killed writer left a file. */
async function isLeftover(
  folder: string,
  [name, , pid, start = "", place = ""]: RegExpExecArray,
): Promise<boolean> {
  const path = join(folder, name);
  return (await hasWriterEnded({ pid: Number(pid), start, place })) ?? (await isBeating(path)) === false;
}

/**
 * Removes temporary files that killed writers of `target`, or of any file, left in a folder. Those of running processes
 * stay; whether a process of another machine or container runs shows only after its files were watched for a while.
 */
export async function removeLeftovers(folder: string, target?: string): Promise<void> {
  for (const name of await readdir(folder).catch(() => [])) {
    const found = PARTIAL.exec(name);
    if (found === null || (target !== undefined && found[1] !== target)) continue;
    if (await isLeftover(folder, found))
      await rm(join(folder, name), { recursive: true, force: true }).catch(() => undefined);
  }
}

/** Makes a rename in `folder` survive a power cut. Not every platform can open a folder; that is not a failure. */
export async function syncFolder(folder: string): Promise<void> {
  try {
    const handle = await open(folder, "r");
    await handle.sync().finally(() => handle.close());
  } catch {}
}

/** A file or a folder under a temporary name, which is removed where its writing fails or is given up; `close` comes before that. */
export function temporaryEntry(final: string, close: () => Promise<void> = async () => undefined) {
  const path = partialName(final);
  let stopBeat: (() => void) | undefined;
  /** An error with the final name in its message, not the temporary one. */
  const explain = (error: unknown): MosError => {
    const { code, message } = storageError(error, final);
    return new MosError(code, message.replaceAll(path, final), { cause: error });
  };
  /** It has its final name now. */
  const end = (): void => {
    stopBeat?.();
    stopBeat = undefined;
  };
  const discard = async (): Promise<void> => {
    if (stopBeat === undefined) return;
    end();
    await close().catch(() => undefined);
    await rm(path, { recursive: true, force: true }).catch(() => undefined);
  };
  const guarded = async <T>(action: () => Promise<T>): Promise<T> => {
    try {
      return await action();
    } catch (error) {
      await discard();
      throw explain(error);
    }
  };
  /** It exists from now on. */
  const begin = (): void => {
    stopBeat = startHeartbeat(path);
  };
  return { path, begin, guarded, end, discard, explain };
}

/** A file being written: it appears under its name at `commit`; without a commit, disposal removes it. */
export type AtomicFile = Awaited<ReturnType<typeof openAtomicFile>>;

/**
 * Starts a file that is complete or absent, never partial.
 * `mode` are the permissions, less the umask.
 * @throws MosError "storage" or "not_found" (the folder does not exist); nothing is left behind.
 */
export async function openAtomicFile(path: string, { mode = 0o666 }: { readonly mode?: number } = {}) {
  await removeLeftovers(dirname(path), basename(path));
  const { guarded, ...temporary } = temporaryEntry(path, () => handle.close());
  const handle = await open(temporary.path, "wx+", mode).catch(storageFailure(path));
  temporary.begin();
  const put = async (bytes: Uint8Array, position: number | null): Promise<void> => {
    for (let done = 0; done < bytes.length; ) {
      const length = Math.min(bytes.length - done, MAX_READ_BYTES);
      const at = position === null ? null : position + done;
      done += (await handle.write(bytes, done, length, at)).bytesWritten;
    }
  };
  return {
    /** Appends bytes. */
    write: (bytes: Uint8Array): Promise<void> => guarded(() => put(bytes, null)),
    /** Puts bytes at a position; those before it that were never written are zero. */
    writeAt: (bytes: Uint8Array, position: number): Promise<void> => guarded(() => put(bytes, position)),
    /** Fills `target` with what was written from `position` on. */
    read: (target: Uint8Array, position: number): Promise<void> =>
      guarded(async () => void (await handle.read(target, 0, target.length, position))),
    /** Flushes to the disk and gives the file its name, replacing a file of that name. */
    commit: (): Promise<void> =>
      guarded(async () => {
        await handle.sync();
        await handle.close();
        await rename(temporary.path, path);
        temporary.end();
        await syncFolder(dirname(path));
      }),
    [Symbol.asyncDispose]: temporary.discard,
  };
}

/** Writes a whole file at once: afterwards it holds all of `content`, or what it held before. */
export async function writeFileAtomic(
  path: string,
  content: Uint8Array | string,
  options: { readonly mode?: number } = {},
): Promise<void> {
  await using file = await openAtomicFile(path, options);
  await file.write(typeof content === "string" ? new TextEncoder().encode(content) : content);
  await file.commit();
}
