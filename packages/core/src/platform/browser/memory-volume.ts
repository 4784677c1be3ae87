import { partsOf } from "./path.ts";
import {
  checkNesting,
  type OpenMode,
  openFolder,
  systemError,
  type Volume,
  type VolumeEntry,
  type VolumeFile,
} from "./volume.ts";

interface MemoryFile {
  readonly id: number;
  /** With room for more. */
  bytes: Uint8Array;
  size: number;
  changed: number;
}

interface MemoryFolder {
  readonly id: number;
  readonly entries: Map<string, MemoryFile | MemoryFolder>;
  changed: number;
}

type MemoryNode = MemoryFile | MemoryFolder;

/** Where a name stands, or would. */
interface Place {
  readonly folder: MemoryFolder;
  readonly name: string;
  readonly node: MemoryNode | undefined;
}

const isFolder = (node: MemoryNode | undefined): node is MemoryFolder =>
  node !== undefined && "entries" in node;

/** Files in memory. One that is open stays readable when it is removed or replaced, as on POSIX. */
export class MemoryVolume implements Volume {
  readonly isReadOnly = false;
  #lastId = 0;
  readonly #root: MemoryFolder = this.#newFolder();

  async stat(path: string): Promise<VolumeEntry> {
    const node = this.#find(path);
    return {
      isFolder: isFolder(node),
      size: isFolder(node) ? 0 : node.size,
      changed: node.changed,
      id: node.id,
    };
  }

  async list(path: string): Promise<readonly string[]> {
    return [...this.#folder(path).entries.keys()];
  }

  async makeFolder(path: string): Promise<void> {
    const { folder, name, node } = this.#place(path);
    if (node !== undefined || name === "") throw systemError("EEXIST", path);
    this.#put(folder, name, this.#newFolder());
  }

  async open(path: string, { isWritten, creates }: OpenMode): Promise<VolumeFile> {
    const { folder, name, node } = this.#place(path);
    if (creates === "always" && node !== undefined) throw systemError("EEXIST", path);
    if (isFolder(node) || name === "") {
      if (isWritten) throw systemError("EISDIR", path);
      return openFolder(path);
    }
    if (node === undefined && creates === "never") throw systemError("ENOENT", path);
    const file = node ?? { id: ++this.#lastId, bytes: new Uint8Array(0), size: 0, changed: Date.now() };
    if (node === undefined) this.#put(folder, name, file);
    return openMemory(file);
  }

  async move(from: string, to: string): Promise<void> {
    const [source, target] = [this.#place(from), this.#place(to)];
    if (source.node === undefined) throw systemError("ENOENT", from);
    if (target.node === source.node) return;
    checkNesting(from, to, { isFolder: isFolder(source.node) });
    checkReplaced(source.node, target.node, to);
    source.folder.entries.delete(source.name);
    this.#put(target.folder, target.name, source.node);
  }

  async remove(path: string): Promise<void> {
    const { folder, name, node } = this.#place(path);
    if (node === undefined) throw systemError("ENOENT", path);
    if (isFolder(node) && node.entries.size > 0) throw systemError("ENOTEMPTY", path);
    folder.entries.delete(name);
    folder.changed = Date.now();
  }

  async space(): Promise<{ readonly free: number; readonly total: number }> {
    return { free: 0, total: 0 }; // not known
  }

  #newFolder(): MemoryFolder {
    return { id: ++this.#lastId, entries: new Map(), changed: Date.now() };
  }

  #put(folder: MemoryFolder, name: string, node: MemoryNode): void {
    folder.entries.set(name, node);
    folder.changed = Date.now();
  }

  #find(path: string): MemoryNode {
    const { name, node } = this.#place(path);
    const found = name === "" ? this.#root : node;
    if (found === undefined) throw systemError("ENOENT", path);
    return found;
  }

  #folder(path: string): MemoryFolder {
    const node = this.#find(path);
    if (!isFolder(node)) throw systemError("ENOTDIR", path);
    return node;
  }

  #place(path: string): Place {
    const parts = partsOf(path);
    let folder = this.#root;
    for (const part of parts.slice(0, -1)) {
      const next = folder.entries.get(part);
      if (!isFolder(next)) throw systemError(next === undefined ? "ENOENT" : "ENOTDIR", path);
      folder = next;
    }
    const name = parts.at(-1) ?? "";
    return { folder, name, node: folder.entries.get(name) };
  }
}

function checkReplaced(source: MemoryNode, target: MemoryNode | undefined, path: string): void {
  if (target === undefined) return;
  if (!isFolder(source) && isFolder(target)) throw systemError("EISDIR", path);
  if (isFolder(source) && !isFolder(target)) throw systemError("ENOTDIR", path);
  if (isFolder(target) && target.entries.size > 0) throw systemError("ENOTEMPTY", path);
}

function openMemory(file: MemoryFile): VolumeFile {
  const resize = (size: number): void => {
    if (size > file.bytes.length) {
      const grown = new Uint8Array(Math.max(size, 2 * file.size));
      grown.set(file.bytes.subarray(0, file.size));
      file.bytes = grown;
    } else if (size < file.size) file.bytes.fill(0, size, file.size); // what is written behind later has zeros before it
    file.size = size;
  };
  const read = (target: Uint8Array, position: number): number => {
    const part = file.bytes.subarray(position, Math.min(file.size, position + target.length));
    target.set(part);
    return part.length;
  };
  return {
    size: () => file.size,
    read,
    readSync: read,
    write: (bytes, position) => {
      if (position + bytes.length > file.size) resize(position + bytes.length);
      file.bytes.set(bytes, position);
      file.changed = Date.now();
    },
    truncate: (length) => {
      resize(length);
      file.changed = Date.now();
    },
    flush: () => undefined,
    close: () => undefined,
  };
}
