import { createHash, randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { copyFile, link, readdir, rename, rm, stat, utimes } from "node:fs/promises";
import { dirname, join, relative, sep } from "node:path";
import { MosError } from "mixture-of-shards/core";
import {
  makeFolder,
  makePrivateFolder,
  openAtomicFile,
  PRIVATE_FILE,
  pathExists,
  storageError,
  systemCode,
} from "mixture-of-shards/storage";

/** A content: its SHA-256 in hexadecimal digits, and its size. */
export interface StoredObject {
  readonly digest: string;
  readonly bytes: number;
}

/** A folder as digests by relative path, with "/" between folders. */
export type Files = Readonly<Record<string, string>>;

/** What is put is complete on the disk before its digest is known, so that a row can name it. */
export interface ObjectStore {
  /** Keeps bytes as they arrive. What fails in the middle leaves nothing. */
  put(source: AsyncIterable<Uint8Array>): Promise<StoredObject>;
  /** Keeps all files of a folder, but those whose path `skip` names. */
  putFolder(folder: string, skip?: (path: string) => boolean): Promise<Files>;
  /** Where the content lies; for reading only. @throws MosError `not_found` where it is missing, `storage` where all are. */
  pathOf(digest: string): Promise<string>;
  /** Writes copies, which may be changed, into a folder; with `link`, files that share their content and may not. */
  restore(files: Files, folder: string, options?: { readonly link?: boolean }): Promise<void>;
  /** Removes contents that nobody uses and that are older than some seconds. Gives their number. */
  sweep(
    isUsed: (digests: readonly string[]) => Promise<ReadonlySet<string>>,
    olderThan: number,
  ): Promise<number>;
}

const DIGEST = /^[0-9a-f]{64}$/;

/**
 * The store in a folder, which is made where it is not there.
 *
 * @throws MosError "storage".
 * @example
 * const objects = await openObjects("state/storage");
 * const { digest } = await objects.put(Readable.from(["{}"]));
 */
export async function openObjects(folder: string): Promise<ObjectStore> {
  const incoming = join(folder, "incoming");
  await makePrivateFolder(incoming);
  await makePrivateFolder(join(folder, "objects"));
  const placeOf = (digest: string): string => {
    if (!DIGEST.test(digest)) throw new MosError("storage", "a digest has 64 hexadecimal digits");
    return join(folder, "objects", digest.slice(0, 2), digest);
  };

  const away = (cause?: unknown): MosError =>
    new MosError("storage", `${folder}: the storage folder is not there; mount it again`, { cause });
  /** The storage's own folders are always there, but while it is not mounted. */
  const failed = (error: unknown): never => {
    const cause = storageError(error, folder);
    throw cause.code === "not_found" ? away(cause) : cause;
  };

  const put: ObjectStore["put"] = async (source) => {
    const temporary = join(incoming, randomUUID());
    const hash = createHash("sha256");
    let bytes = 0;
    await using file = await openAtomicFile(temporary, { mode: PRIVATE_FILE }).catch(failed);
    for await (const chunk of source) {
      hash.update(chunk);
      bytes += chunk.length;
      await file.write(chunk);
    }
    const digest = hash.digest("hex");
    const place = placeOf(digest);
    // a sweep must not take it before a row names it
    if (await touch(place)) return { digest, bytes };
    await file.commit().catch(failed);
    await makePrivateFolder(dirname(place)).catch(failed);
    await rename(temporary, place).catch(failed);
    return { digest, bytes };
  };

  const pathOf: ObjectStore["pathOf"] = async (digest) => {
    const place = placeOf(digest);
    if (await pathExists(place)) return place;
    if (!(await pathExists(incoming))) throw away();
    throw new MosError("not_found", `the content ${digest.slice(0, 12)}… is missing in the storage`);
  };

  return {
    put,
    pathOf,
    putFolder: async (from, skip = () => false) => {
      const files: Record<string, string> = {};
      for (const path of await filesIn(from)) {
        const name = relative(from, path).split(sep).join("/");
        if (!skip(name)) files[name] = (await put(createReadStream(path))).digest;
      }
      return files;
    },
    restore: async (files, to, { link: isLinked = false } = {}) => {
      for (const [name, digest] of Object.entries(files)) {
        const target = join(to, ...name.split("/"));
        await makeFolder(dirname(target));
        const place = await pathOf(digest);
        await (isLinked ? linkOrCopy(place, target) : copyFile(place, target)).catch((error: unknown) => {
          throw storageError(error, target);
        });
      }
    },
    sweep: (isUsed, olderThan) => sweep(folder, isUsed, olderThan),
  };
}

async function sweep(
  folder: string,
  ...[isUsed, olderThan]: Parameters<ObjectStore["sweep"]>
): Promise<number> {
  const [objects, incoming] = [join(folder, "objects"), join(folder, "incoming")];
  let removed = 0;
  for (const part of await namesIn(objects)) {
    const names = await namesIn(join(objects, part));
    const used = await isUsed(names);
    for (const name of names)
      if (!used.has(name) && (await removeOld(join(objects, part, name), olderThan))) removed++;
  }
  for (const name of await namesIn(incoming)) await removeOld(join(incoming, name), olderThan);
  return removed;
}

/** Whether a file was there, whose time is now. */
async function touch(path: string): Promise<boolean> {
  const now = new Date();
  return utimes(path, now, now).then(
    () => true,
    () => false,
  );
}

async function filesIn(folder: string): Promise<readonly string[]> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

const namesIn = (folder: string): Promise<readonly string[]> => readdir(folder).catch(() => []);

/** Other file systems have no links between them. */
async function linkOrCopy(from: string, to: string): Promise<void> {
  try {
    await link(from, to);
  } catch (error) {
    if (systemCode(error) === "EEXIST" || systemCode(error) === "ENOSPC") throw error;
    await copyFile(from, to);
  }
}

async function removeOld(path: string, olderThan: number): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  // its time and the present by the same clock, that of the file system's machine at best
  if (found === undefined || Date.now() - found.mtimeMs < olderThan * 1000) return false;
  await rm(path, { force: true });
  return true;
}
