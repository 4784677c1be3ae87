import { join } from "./path.ts";
import { openFolder, systemError, type Volume, type VolumeEntry, type VolumeFile } from "./volume.ts";

/** Reads a blob at once, which workers can. @internal */
interface SyncReader {
  readAsArrayBuffer(blob: Blob): ArrayBuffer;
}

/** A blob as an open file. */
export function openBlob(blob: Blob, path: string): VolumeFile {
  const refuse = (): never => {
    throw systemError("EROFS", path);
  };
  const put = (bytes: ArrayBuffer, target: Uint8Array): number => {
    target.set(new Uint8Array(bytes));
    return bytes.byteLength;
  };
  const part = (target: Uint8Array, position: number): Blob => blob.slice(position, position + target.length);
  return {
    size: () => blob.size,
    async read(target, position) {
      // the file behind it was changed or removed
      const bytes = await part(target, position)
        .arrayBuffer()
        .catch((cause: unknown) => {
          throw systemError("EIO", path, cause);
        });
      return put(bytes, target);
    },
    readSync(target, position) {
      const { FileReaderSync } = globalThis as unknown as { FileReaderSync: new () => SyncReader };
      return put(new FileReaderSync().readAsArrayBuffer(part(target, position)), target);
    },
    write: refuse,
    truncate: refuse,
    flush: () => undefined,
    close: () => undefined,
  };
}

const refuseChange = async (path: string): Promise<never> => {
  throw systemError("EROFS", path);
};

/** Blobs, such as the files that a user picked, as files that nobody changes. */
export class BlobVolume implements Volume {
  readonly isReadOnly = true;
  readonly makeFolder = refuseChange;
  readonly move = refuseChange;
  readonly remove = refuseChange;
  readonly #files: ReadonlyMap<string, Blob>;

  /** By their paths, such as "model/config.json". */
  constructor(files: Readonly<Record<string, Blob>>) {
    this.#files = new Map(Object.entries(files).map(([path, blob]) => [join("/", path), blob]));
  }

  async stat(path: string): Promise<VolumeEntry> {
    const blob = this.#files.get(path);
    if (blob === undefined) {
      await this.list(path);
      return { isFolder: true, size: 0, changed: 0, id: 0 };
    }
    const changed = "lastModified" in blob ? Number(blob.lastModified) : 0;
    return { isFolder: false, size: blob.size, changed, id: 0 };
  }

  async list(path: string): Promise<readonly string[]> {
    if (this.#files.has(path)) throw systemError("ENOTDIR", path);
    const begin = path === "/" ? path : `${path}/`;
    const inner = [...this.#files.keys()].filter((file) => file.startsWith(begin));
    if (inner.length === 0 && path !== "/") throw systemError("ENOENT", path);
    return [...new Set(inner.map((file) => file.slice(begin.length).replace(/\/.*/, "")))];
  }

  async open(path: string): Promise<VolumeFile> {
    const blob = this.#files.get(path);
    if (blob !== undefined) return openBlob(blob, path);
    await this.list(path);
    return openFolder(path);
  }

  async space(): Promise<{ readonly free: number; readonly total: number }> {
    return { free: 0, total: 0 };
  }
}
