// Node's functions for files, on the volumes of this worker: in memory at first, and what is mounted then.
import type { BigIntStats, FileHandle, Platform, Stats } from "../platform.ts";
import { fileOf, openHandle, toBigIntStats, toStats } from "./file-handle.ts";
import { MemoryVolume } from "./memory-volume.ts";
import { basename, join, resolve } from "./path.ts";
import { type OpenMode, systemError, type Volume } from "./volume.ts";

/** Temporary files stay in memory. */
export const tmpdir = (): string => "/tmp";

/** Volumes by the paths of their roots. */
const mounts = new Map<string, Volume>([
  ["/", new MemoryVolume()],
  [tmpdir(), new MemoryVolume()],
]);

/** Puts a volume in the place of a folder, which need not exist. "/" is where all other files are. */
export function mount(path: string, volume: Volume): void {
  mounts.set(resolve(path), volume);
}

/** Takes it away. */
export function unmount(path: string): void {
  mounts.delete(resolve(path));
}

interface Place {
  readonly volume: Volume;
  /** Path within the volume. */
  readonly inner: string;
  readonly path: string;
  readonly device: number;
}

function locate(given: string): Place {
  const path = resolve(given);
  let root = "/";
  for (const one of mounts.keys())
    if (one.length > root.length && `${path}/`.startsWith(`${one}/`)) root = one;
  const volume = mounts.get(root);
  if (volume === undefined) throw systemError("ENOENT", path);
  return {
    volume,
    inner: join("/", path.slice(root.length)),
    path,
    device: [...mounts.keys()].indexOf(root),
  };
}

function locateWritable(given: string): Place {
  const place = locate(given);
  if (place.volume.isReadOnly) throw systemError("EROFS", place.path);
  return place;
}

export const glob: Platform["glob"] = (pattern) => notSupported(pattern);

const notSupported = async (path: string): Promise<never> => {
  throw systemError("ENOTSUP", path);
};

const hasCode = (error: unknown, code: string): boolean =>
  error instanceof Error && "code" in error && error.code === code;

export const constants: Platform["constants"] = { W_OK: 2, COPYFILE_FICLONE: 2 };

async function stat(path: string): Promise<Stats>;
async function stat(path: string, options: { readonly bigint: true }): Promise<BigIntStats>;
async function stat(given: string, options?: { readonly bigint: true }): Promise<Stats | BigIntStats> {
  const { volume, inner, device } = locate(given);
  const entry = await volume.stat(inner);
  return options === undefined ? toStats(entry, device) : toBigIntStats(entry);
}

export { stat };

export const lstat: Platform["lstat"] = (path) => stat(path);

export const access: Platform["access"] = async (path, mode) => {
  await stat(path);
  if ((mode & constants.W_OK) !== 0) locateWritable(path);
};

export const chmod: Platform["chmod"] = async (path) => {
  await stat(path);
};

/** Times cannot be set; `hasWriterEnded` needs none. */
export const utimes: Platform["utimes"] = async (path) => {
  await stat(path);
};

export const realpath: Platform["realpath"] = async (path) => {
  await stat(path);
  return resolve(path);
};

/** What the flags of `open` mean, for those that are used. */
const FLAGS: Readonly<Record<string, OpenMode & { readonly truncates?: true; readonly appends?: true }>> = {
  r: { isWritten: false, creates: "never" },
  w: { isWritten: true, creates: "missing", truncates: true },
  wx: { isWritten: true, creates: "always" },
  "wx+": { isWritten: true, creates: "always" },
  a: { isWritten: true, creates: "missing", appends: true },
  "a+": { isWritten: true, creates: "missing", appends: true },
};

export async function open(path: string, flags: string): Promise<FileHandle> {
  const mode = FLAGS[flags];
  if (mode === undefined) throw systemError("EINVAL", path);
  const { isWritten, truncates = false, appends = false } = mode;
  const { volume, inner, device } = isWritten ? locateWritable(path) : locate(path);
  const file = await volume.open(inner, mode);
  if (truncates) file.truncate(0);
  return openHandle(file, { path, entry: () => volume.stat(inner), device, isWritten, appends });
}

export const readSync: Platform["readSync"] = (fd, target, ...[offset, length, position]) =>
  fileOf(fd).readSync(target.subarray(offset, offset + length), position);

export async function readFile(path: string, _encoding: "utf8"): Promise<string> {
  await using file = await open(path, "r");
  const { size } = await file.stat();
  const bytes = new Uint8Array(Math.max(1, size)); // to read a folder fails
  const { bytesRead } = await file.read(bytes, 0, bytes.length, 0);
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes.subarray(0, bytesRead));
}

export const readFileSync: Platform["readFileSync"] = (path) => {
  throw systemError("ENOTSUP", path);
};

async function readdir(path: string): Promise<string[]>;
async function readdir(
  path: string,
  options: { readonly withFileTypes: true },
): Promise<(Stats & { readonly name: string })[]>;
async function readdir(
  given: string,
  options?: { readonly withFileTypes: true },
): Promise<string[] | (Stats & { readonly name: string })[]> {
  const { volume, inner, path } = locate(given);
  const names = [...(await volume.list(inner))];
  if (options === undefined) return names;
  return Promise.all(names.map(async (name) => ({ ...(await stat(join(path, name))), name })));
}

export { readdir };

export const mkdir: Platform["mkdir"] = async (given, { recursive = false } = {}) => {
  const { volume, inner, path } = locateWritable(given);
  try {
    await volume.makeFolder(inner);
  } catch (error) {
    if (!recursive || hasCode(error, "ENOTDIR")) throw error;
    if (hasCode(error, "EEXIST")) {
      if (!(await volume.stat(inner)).isFolder) throw error;
      return;
    }
    await mkdir(join(path, ".."), { recursive });
    await volume.makeFolder(inner);
  }
};

export const mkdtemp: Platform["mkdtemp"] = async (prefix) => {
  const path = prefix + crypto.randomUUID().slice(0, 6);
  await mkdir(path);
  return path;
};

export const rename: Platform["rename"] = async (from, to) => {
  const [source, target] = [locateWritable(from), locateWritable(to)];
  if (source.volume !== target.volume) throw systemError("EXDEV", to);
  await source.volume.move(source.inner, target.inner);
};

export const rmdir: Platform["rmdir"] = async (given) => {
  const { volume, inner, path } = locateWritable(given);
  if (!(await volume.stat(inner)).isFolder) throw systemError("ENOTDIR", path);
  await volume.remove(inner);
};

export const rm: Platform["rm"] = async (given, { recursive = false, force = false } = {}) => {
  const { volume, inner, path } = locateWritable(given);
  try {
    if ((await volume.stat(inner)).isFolder) {
      if (!recursive) throw systemError("EISDIR", path);
      for (const name of await volume.list(inner)) await rm(join(path, name), { recursive, force });
    }
    await volume.remove(inner);
  } catch (error) {
    if (!force || !hasCode(error, "ENOENT")) throw error;
  }
};

const COPIED = 1 << 22;

export const copyFile: Platform["copyFile"] = async (from, to) => {
  if ((await stat(from)).isDirectory()) throw systemError("EISDIR", from);
  if (resolve(from) === resolve(to)) return;
  await using source = await open(from, "r");
  await using target = await open(to, "w");
  const buffer = new Uint8Array(COPIED);
  for (let at = 0; ; ) {
    const { bytesRead } = await source.read(buffer, 0, buffer.length, at);
    if (bytesRead === 0) return;
    await target.write(buffer, 0, bytesRead, at);
    at += bytesRead;
  }
};

export const statfs: Platform["statfs"] = async (path) => {
  const { free, total } = await locate(path).volume.space();
  return { bavail: free, blocks: total, bsize: 1 };
};

// There are no links.
export const link: Platform["link"] = notSupported;
export const symlink: Platform["symlink"] = notSupported;
export const readlink: Platform["readlink"] = async (path) => {
  throw systemError("EINVAL", basename(path));
};
