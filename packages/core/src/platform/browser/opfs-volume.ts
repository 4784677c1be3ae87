// The origin's private file system, in a worker. Files are read as blobs, which all tabs can do at once, and written through
// handles, of which a file has one. Folders cannot be renamed there: their entries are moved one by one, and a note tells
// the next worker to go on where one was ended.
import { openBlob } from "./blob-volume.ts";
import { basename, dirname, join, partsOf } from "./path.ts";
import { exclusively, sleep } from "./system.ts";
import {
  checkNesting,
  type OpenMode,
  openFolder,
  systemError,
  type Volume,
  type VolumeEntry,
  type VolumeFile,
} from "./volume.ts";

// TypeScript has these types only with all of a page's; this is the part that is used.

interface SyncAccessHandle {
  getSize(): number;
  read(target: Uint8Array, options: { readonly at: number }): number;
  write(bytes: Uint8Array, options: { readonly at: number }): number;
  truncate(length: number): void;
  flush(): void;
  close(): void;
}

interface OpfsFile {
  readonly kind: "file";
  getFile(): Promise<Blob & { readonly lastModified: number }>;
  createSyncAccessHandle(): Promise<SyncAccessHandle>;
  /** Replaces a file of that name. */
  move(folder: OpfsFolder, name: string): Promise<void>;
}

/** A folder of `navigator.storage.getDirectory()`. */
export interface OpfsFolder {
  readonly kind: "directory";
  getFileHandle(name: string, options?: { readonly create: boolean }): Promise<OpfsFile>;
  getDirectoryHandle(name: string, options?: { readonly create: boolean }): Promise<OpfsFolder>;
  removeEntry(name: string): Promise<void>;
  keys(): AsyncIterable<string>;
}

/** What a browser calls a problem that Node has a code for. */
const CODES = {
  InvalidModificationError: "ENOTEMPTY",
  NoModificationAllowedError: "EBUSY",
  NotFoundError: "ENOENT",
  QuotaExceededError: "ENOSPC",
  TypeMismatchError: "ENOTDIR",
  TypeError: "EINVAL", // a name that is not allowed
} as const;

const hasName = (error: unknown, name: string): boolean => error instanceof Error && error.name === name;

const isKnown = (name: string): name is keyof typeof CODES => name in CODES;

function translate(error: unknown, path: string): Error {
  const name = error instanceof Error ? error.name : "";
  if (error instanceof Error && "code" in error && typeof error.code === "string") return error;
  return systemError(isKnown(name) ? CODES[name] : "EIO", path, error);
}

async function translated<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw translate(error, path);
  }
}

function translatedNow<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw translate(error, path);
  }
}

/** A worker that was ended holds its files for a moment longer. */
const MAX_WAIT = 2000;

/** Does something once a file is not held any more. */
async function whileBusy<T>(work: () => Promise<T>): Promise<T> {
  for (let waited = 0; ; waited += 50) {
    try {
      return await work();
    } catch (error) {
      if (waited >= MAX_WAIT || !hasName(error, "NoModificationAllowedError")) throw error;
    }
    await sleep(50);
  }
}

/** A file that is written. */
function openSync(handle: SyncAccessHandle, path: string): VolumeFile {
  const read = (target: Uint8Array, at: number): number =>
    translatedNow(path, () => handle.read(target, { at }));
  return {
    size: () => handle.getSize(),
    read,
    readSync: read,
    write(bytes, position) {
      for (let done = 0; done < bytes.length; ) {
        const rest = bytes.subarray(done);
        const count = translatedNow(path, () => handle.write(rest, { at: position + done }));
        // in a private window Chromium returns the number of an error rather than to throw it
        if (count <= 0 || count > rest.length) throw systemError("ENOSPC", path);
        done += count;
      }
    },
    truncate: (length) => translatedNow(path, () => handle.truncate(length)),
    flush: () => handle.flush(),
    close: () => handle.close(),
  };
}

interface Move {
  readonly from: string;
  readonly to: string;
}

/** The folder of notes about moves of folders that have begun. */
const MOVES = ".moves";

type OpfsEntry = OpfsFile | OpfsFolder;

/** The storage of an origin. */
interface Storage {
  getDirectory(): Promise<OpfsFolder>;
  estimate(): Promise<{ readonly quota?: number; readonly usage?: number }>;
}

class OpfsVolume implements Volume {
  readonly isReadOnly = false;
  readonly #root: OpfsFolder;
  readonly #estimate: Storage["estimate"];

  constructor(root: OpfsFolder, estimate: Storage["estimate"]) {
    this.#root = root;
    this.#estimate = estimate;
  }

  async stat(path: string): Promise<VolumeEntry> {
    return translated(path, async () => {
      const entry = await this.#find(path);
      if (entry.kind === "directory") return { isFolder: true, size: 0, changed: 0, id: 0 };
      const { size, lastModified } = await entry.getFile();
      return { isFolder: false, size, changed: lastModified, id: 0 };
    });
  }

  async list(path: string): Promise<readonly string[]> {
    return translated(path, async () => {
      const names = await listNames(await this.#folder(path));
      return path === "/" ? names.filter((name) => name !== MOVES) : names;
    });
  }

  async makeFolder(path: string): Promise<void> {
    await translated(path, async () => {
      if ((await this.#findAny(path)) !== undefined) throw systemError("EEXIST", path);
      await (await this.#folder(dirname(path))).getDirectoryHandle(basename(path), { create: true });
    });
  }

  async open(path: string, { isWritten, creates }: OpenMode): Promise<VolumeFile> {
    return translated(path, async () => {
      if (!isWritten) {
        const entry = await this.#find(path);
        return entry.kind === "file" ? openBlob(await entry.getFile(), path) : openFolder(path);
      }
      const file = creates === "always" ? await this.#create(path) : await this.#file(path, creates);
      return openSync(await whileBusy(() => file.createSyncAccessHandle()), path);
    });
  }

  async move(from: string, to: string): Promise<void> {
    await translated(from, () =>
      exclusively(async () => {
        const [above, below] = [await this.#folder(dirname(from)), await this.#folder(dirname(to))];
        const source = await findIn(above, basename(from));
        if (from === to) return;
        checkNesting(from, to, { isFolder: source.kind === "directory" });
        await checkReplaced(source, await this.#findAny(to), to);
        if (source.kind === "file") return whileBusy(() => source.move(below, basename(to)));
        await this.finishMoves();
        const note = join("/", MOVES, crypto.randomUUID());
        await this.#note(note, { from, to });
        await this.#moveFolder({ from, to });
        await this.remove(note);
      }),
    );
  }

  async remove(path: string): Promise<void> {
    await translated(path, async () => {
      const folder = await this.#folder(dirname(path));
      await whileBusy(() => folder.removeEntry(basename(path)));
    });
  }

  async space(): Promise<{ readonly free: number; readonly total: number }> {
    const { quota = 0, usage = 0 } = await this.#estimate();
    return { free: quota - usage, total: quota };
  }

  /** Goes on with moves of workers that were ended. For the holder of the lock. */
  async finishMoves(): Promise<void> {
    const notes = await this.#root.getDirectoryHandle(MOVES, { create: true });
    for (const name of await listNames(notes)) {
      const text = await (await (await notes.getFileHandle(name)).getFile()).text();
      // a note that is not whole was written before its move began
      if (text.endsWith("}")) await this.#moveFolder(JSON.parse(text));
      await whileBusy(() => notes.removeEntry(name));
    }
  }

  async #note(path: string, move: Move): Promise<void> {
    const file = openSync(await (await this.#create(path)).createSyncAccessHandle(), path);
    try {
      file.write(new TextEncoder().encode(JSON.stringify(move)), 0);
      file.flush();
    } finally {
      file.close();
    }
  }

  async #moveFolder({ from, to }: Move): Promise<void> {
    const source = await this.#findAny(from);
    if (source?.kind !== "directory") return; // it was moved already
    const above = await this.#folder(dirname(to));
    await moveEntries(source, await above.getDirectoryHandle(basename(to), { create: true }));
    await this.remove(from);
  }

  /** Makes a file that must not exist, in which one worker alone succeeds. */
  #create(path: string): Promise<OpfsFile> {
    const make = async (): Promise<OpfsFile> => {
      if ((await this.#findAny(path)) !== undefined) throw systemError("EEXIST", path);
      return this.#file(path, "missing");
    };
    return path.startsWith(`/${MOVES}/`) ? make() : exclusively(make);
  }

  async #file(path: string, creates: OpenMode["creates"]): Promise<OpfsFile> {
    const folder = await this.#folder(dirname(path));
    return folder.getFileHandle(basename(path), { create: creates !== "never" }).catch((error: unknown) => {
      throw hasName(error, "TypeMismatchError") ? systemError("EISDIR", path) : error;
    });
  }

  async #folder(path: string): Promise<OpfsFolder> {
    let folder = this.#root;
    for (const name of partsOf(path)) folder = await folder.getDirectoryHandle(name);
    return folder;
  }

  #find(path: string): Promise<OpfsEntry> {
    return path === "/"
      ? Promise.resolve(this.#root)
      : this.#folder(dirname(path)).then((folder) => findIn(folder, basename(path)));
  }

  async #findAny(path: string): Promise<OpfsEntry | undefined> {
    return this.#find(path).catch((error: unknown) => {
      if (hasName(error, "NotFoundError")) return undefined;
      throw error;
    });
  }
}

async function checkReplaced(source: OpfsEntry, target: OpfsEntry | undefined, path: string): Promise<void> {
  if (source.kind === "file" && target?.kind === "directory") throw systemError("EISDIR", path);
  if (source.kind === "directory" && target?.kind === "file") throw systemError("ENOTDIR", path);
  if (target?.kind === "directory" && (await listNames(target)).length > 0)
    throw systemError("ENOTEMPTY", path);
}

async function findIn(folder: OpfsFolder, name: string): Promise<OpfsEntry> {
  try {
    return await folder.getFileHandle(name);
  } catch (error) {
    if (hasName(error, "TypeMismatchError")) return folder.getDirectoryHandle(name);
    throw error;
  }
}

async function listNames(folder: OpfsFolder): Promise<readonly string[]> {
  const names: string[] = [];
  for await (const name of folder.keys()) names.push(name);
  return names;
}

async function moveEntries(from: OpfsFolder, to: OpfsFolder): Promise<void> {
  for (const name of await listNames(from)) {
    const entry = await findIn(from, name);
    if (entry.kind === "file") await whileBusy(() => entry.move(to, name));
    else {
      await moveEntries(entry, await to.getDirectoryHandle(name, { create: true }));
      await from.removeEntry(name);
    }
  }
}

/**
 * The private files of this origin, which tabs share. A worker that was ended may have left a folder half moved: that is
 * completed first.
 */
export async function openOpfsVolume(): Promise<Volume> {
  const { storage } = (globalThis as unknown as { readonly navigator: { readonly storage: Storage } })
    .navigator;
  const volume = new OpfsVolume(await storage.getDirectory(), () => storage.estimate());
  await exclusively(() => volume.finishMoves());
  return volume;
}
