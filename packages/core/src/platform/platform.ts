// What the modules above need of the platform, under the names that Node has for it: no more than they use. `node/` and
// `browser/` are the two platforms; the conditions of an import of #platform choose one.

/** The part of a file's facts that is used. */
export interface Stats {
  readonly size: number;
  /** Milliseconds since 1970. */
  readonly mtimeMs: number;
  readonly mode: number;
  readonly uid: number;
  readonly dev: number;
  isFile(): boolean;
  isDirectory(): boolean;
  isSymbolicLink(): boolean;
}

/** Facts that change whenever a file does. */
export interface BigIntStats {
  readonly ino: bigint;
  readonly size: bigint;
  readonly mtimeMs: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
}

/** An entry of a folder. */
export interface Dirent {
  readonly name: string;
  isDirectory(): boolean;
  isSymbolicLink(): boolean;
}

export interface StatFunction<Arguments extends readonly unknown[]> {
  (...args: Arguments): Promise<Stats>;
  (...args: [...Arguments, options: { readonly bigint: true }]): Promise<BigIntStats>;
}

/** An open file. */
export interface FileHandle extends AsyncDisposable {
  /** For `readSync`. */
  readonly fd: number;
  readonly stat: StatFunction<[]>;
  read(
    target: Uint8Array,
    offset: number,
    length: number,
    position: number,
  ): Promise<{ readonly bytesRead: number }>;
  /** At a position, or after what was written last where it is null. */
  write(
    bytes: Uint8Array,
    offset: number,
    length: number,
    position: number | null,
  ): Promise<{ readonly bytesWritten: number }>;
  writeFile(content: string | Uint8Array): Promise<void>;
  appendFile(content: string | Uint8Array): Promise<void>;
  truncate(length: number): Promise<void>;
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** A running digest. */
export interface Hash {
  update(data: string | Uint8Array | Int32Array | Float32Array): Hash;
  digest(encoding: "hex" | "base64url"): string;
}

/** Identity of a program that writes a temporary file or holds a lock. */
export interface Writer {
  readonly pid: number;
  /** Its start time: another process may get its id later. */
  readonly start: string;
  /** Scope of process ids: a boot of a machine, and a container in it. */
  readonly place: string;
}

export interface GlobOptions {
  readonly absolute?: boolean;
  readonly cwd?: string;
  readonly expandDirectories?: boolean;
  readonly ignore?: string[];
  readonly onlyFiles?: boolean;
}

export interface RemoveOptions {
  readonly force?: boolean;
  readonly recursive?: boolean;
  readonly maxRetries?: number;
  readonly retryDelay?: number;
}

/** Paths, as `node:path` has them. */
interface Paths {
  basename(path: string): string;
  dirname(path: string): string;
  extname(path: string): string;
  isAbsolute(path: string): boolean;
  join(...parts: string[]): string;
  resolve(...parts: string[]): string;
}

/** Files, as `node:fs/promises` has them; errors have Node's `code`. */
interface Files {
  access(path: string, mode: number): Promise<void>;
  chmod(path: string, mode: number): Promise<void>;
  copyFile(from: string, to: string, mode?: number): Promise<void>;
  /** Paths that a pattern matches. */
  glob(pattern: string, options: GlobOptions): Promise<string[]>;
  link(from: string, to: string): Promise<void>;
  lstat(path: string): Promise<Stats>;
  mkdir(path: string, options?: { readonly mode?: number; readonly recursive?: false }): Promise<unknown>;
  mkdir(path: string, options: { readonly mode?: number; readonly recursive: true }): Promise<unknown>;
  mkdtemp(prefix: string): Promise<string>;
  open(path: string, flags: string, mode?: number): Promise<FileHandle>;
  readdir(path: string): Promise<string[]>;
  readdir(path: string, options: { readonly withFileTypes: true }): Promise<Dirent[]>;
  readFile(path: string, encoding: "utf8"): Promise<string>;
  readlink(path: string): Promise<string>;
  realpath(path: string): Promise<string>;
  rename(from: string, to: string): Promise<void>;
  rm(path: string, options?: RemoveOptions): Promise<void>;
  rmdir(path: string): Promise<void>;
  readonly stat: StatFunction<[path: string]>;
  /** Sizes of the disk in blocks of `bsize` bytes. */
  statfs(path: string): Promise<{ readonly bavail: number; readonly blocks: number; readonly bsize: number }>;
  symlink(target: string, path: string): Promise<void>;
  utimes(path: string, accessed: Date, changed: Date): Promise<void>;
  /** Reads at once, for values that are parsed one after the other. */
  readSync(fd: number, target: Uint8Array, offset: number, length: number, position: number): number;
  readFileSync(path: string, encoding: "utf8"): string;
  readonly constants: { readonly W_OK: number; readonly COPYFILE_FICLONE: number };
}

/** The process and its machine. */
interface System {
  availableParallelism(): number;
  /** Bytes of memory that the machine has free. */
  freemem(): number;
  hostname(): string;
  tmpdir(): string;
  readonly process: {
    readonly pid: number;
    readonly platform: string;
    constrainedMemory(): number;
    geteuid?(): number;
    getuid?(): number;
    readonly memoryUsage: { rss(): number };
  };
  readonly thisWriter: Writer;
  /** Tests whether a writer has ended; undefined if that cannot be known here. */
  hasWriterEnded(writer: Writer): Promise<boolean | undefined>;
}

/** Time, and turns of the event loop. */
interface Time {
  /** Resolves after events that are waiting have been handled. */
  nextTurn(): Promise<void>;
  /** Rejects where the signal is aborted. */
  sleep(milliseconds: number, options?: { readonly signal?: AbortSignal | undefined }): Promise<void>;
  /** Lets the process end before a timer does. */
  unref(timer: NodeJS.Timeout): NodeJS.Timeout;
  /**
   * Runs a function, and tells whether it ended: on Node it takes about as long of the process's CPU at most, and may be begun
   * again. A page ends its worker instead.
   */
  runWithTimeout(work: () => void, milliseconds: number): boolean;
}

/** All of it. */
export interface Platform extends Paths, Files, System, Time {
  createHash(algorithm: "sha256"): Hash;
  randomUUID(): string;
  setMaxListeners(count: number, ...targets: AbortSignal[]): void;
  /** Reads what `serialize` of `node:v8` wrote. */
  deserialize(bytes: Uint8Array): unknown;
}
