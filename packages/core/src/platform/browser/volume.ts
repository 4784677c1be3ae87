// What a place for files has to offer. `files.ts` makes Node's functions of it. Paths are absolute within the volume.

/** A file that is open. */
export interface VolumeFile {
  size(): number;
  /** Fills `target` from a position on; the number of bytes is smaller at the end of the file. */
  read(target: Uint8Array, position: number): number | Promise<number>;
  readSync(target: Uint8Array, position: number): number;
  write(bytes: Uint8Array, position: number): void;
  truncate(length: number): void;
  flush(): void;
  close(): void;
}

/** A file or a folder. */
export interface VolumeEntry {
  readonly isFolder: boolean;
  /** Bytes of a file. */
  readonly size: number;
  /** Milliseconds since 1970. */
  readonly changed: number;
  /** Another file of the same name has another number, where the volume can tell. */
  readonly id: number;
}

/** How a file is opened. */
export interface OpenMode {
  readonly isWritten: boolean;
  /** Whether it is made: never, where it is missing, or in any case, so that it must be missing. */
  readonly creates: "never" | "missing" | "always";
}

/** A tree of files and folders. Errors have Node's codes. */
export interface Volume {
  stat(path: string): Promise<VolumeEntry>;
  list(path: string): Promise<readonly string[]>;
  makeFolder(path: string): Promise<void>;
  open(path: string, mode: OpenMode): Promise<VolumeFile>;
  /** Gives a file or a folder another name, which replaces a file, or an empty folder, of that name. */
  move(from: string, to: string): Promise<void>;
  /** Removes a file or an empty folder. */
  remove(path: string): Promise<void>;
  /** Bytes that can still be written, and those of all. */
  space(): Promise<{ readonly free: number; readonly total: number }>;
  readonly isReadOnly: boolean;
}

const TEXTS = {
  EBADF: "bad file descriptor",
  EBUSY: "the file is open elsewhere",
  EEXIST: "file already exists",
  EINVAL: "invalid argument",
  EISDIR: "illegal operation on a directory",
  ENOENT: "no such file or directory",
  ENOSPC: "no space left on device",
  ENOTDIR: "not a directory",
  ENOTEMPTY: "directory not empty",
  ENOTSUP: "operation not supported in a browser",
  EROFS: "read-only file system",
  EXDEV: "cross-device link not permitted",
  EIO: "i/o error",
} as const;

/** Refuses to move a folder into itself, and anything to where a folder around it is. */
export function checkNesting(from: string, to: string, { isFolder }: Pick<VolumeEntry, "isFolder">): void {
  if (isFolder && `${to}/`.startsWith(`${from}/`)) throw systemError("EINVAL", to);
  if (`${from}/`.startsWith(`${to}/`)) throw systemError("ENOTEMPTY", to);
}

/** A folder that is open, which can only be synced. */
export function openFolder(path: string): VolumeFile {
  const refuse = (): never => {
    throw systemError("EISDIR", path);
  };
  const ignore = (): void => undefined;
  return {
    size: () => 0,
    read: refuse,
    readSync: refuse,
    write: refuse,
    truncate: refuse,
    flush: ignore,
    close: ignore,
  };
}

/** An error as Node's. */
export const systemError = (code: keyof typeof TEXTS, path: string, cause?: unknown): Error =>
  Object.assign(new Error(`${code}: ${TEXTS[code]}, '${path}'`, { cause }), { code, path });
