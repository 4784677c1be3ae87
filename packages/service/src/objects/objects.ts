import { createHash, randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { access, copyFile, link, readdir, rename, rm, stat, utimes } from "node:fs/promises";
import { dirname, join, relative, sep } from "node:path";
import { MosError } from "mixture-of-shards";
import {
  assertWritable,
  makeFolder,
  makePrivateFolder,
  openAtomicFile,
  pathExists,
  storageError,
} from "mixture-of-shards/cli";

/** A content: its SHA-256 in hexadecimal digits, and its size. */
export interface StoredObject {
  readonly digest: string;
  readonly bytes: number;
}

/** A folder as digests by relative path, with "/" between folders. */
export type Files = Readonly<Record<string, string>>;

/** The owner of contents that are put: one of its rows names each content before anybody relies on it. */
export interface Putter {
  readonly id: string;
  name(digest: string): Promise<void>;
}

/** For contents that only the age in `sweep` keeps until a row names them. */
const NO_OWNER: Putter = { id: "unnamed", name: async () => undefined };

/** Store of objects. An object is complete on the disk before its digest is known, so that a row can name it. */
export interface ObjectStore {
  /** Keeps bytes as they arrive. What fails in the middle leaves nothing. */
  put(source: AsyncIterable<Uint8Array>, putter?: Putter): Promise<StoredObject>;
  /** Keeps all files of a folder, but those whose path `skip` names. */
  putFolder(folder: string, skip?: (path: string) => boolean, putter?: Putter): Promise<Files>;
  /** Path of the content; for reading only. @throws MosError `not_found` where it is missing, `storage` where all are. */
  locate(digest: string): Promise<string>;
  /** Writes copies, which may be changed, into a folder; with `link`, files that share their content and may not. */
  restore(files: Files, folder: string, options?: { readonly link?: boolean }): Promise<void>;
  /** Removes a content that no row names. @throws MosError `storage`, also where the storage is not there. */
  remove(digest: string): Promise<void>;
  /** Looks whether contents can be kept. @throws MosError `storage`. */
  check(): Promise<void>;
  /** Removes what a putter that is gone has left half. It throws as `remove`. */
  discard(id: string): Promise<void>;
  /** Contents that nobody uses and that are older than some seconds; of files that arrive, removes those that are older. */
  sweep(
    isUsed: (digests: readonly string[]) => Promise<ReadonlySet<string>>,
    olderThan: number,
  ): Promise<readonly string[]>;
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
  const objectPath = (digest: string): string => {
    if (!DIGEST.test(digest)) throw new MosError("storage", "a digest must have 64 hexadecimal digits");
    return join(folder, "objects", digest.slice(0, 2), digest);
  };

  /** The storage's own folders are always there, but while it is not mounted. */
  const failed = (error: unknown): never => {
    const cause = storageError(error, folder);
    if (cause.code !== "not_found") throw cause;
    throw new MosError("storage", `${folder}: the storage folder is missing; remount it`, { cause });
  };

  const put: ObjectStore["put"] = async (source, putter = NO_OWNER) => {
    const temporary = join(incoming, `${putter.id}.${randomUUID()}`);
    const hash = createHash("sha256");
    let bytes = 0;
    await using file = await openAtomicFile(temporary, { mode: 0o600 }).catch(failed);
    for await (const chunk of source) {
      hash.update(chunk);
      bytes += chunk.length;
      await file.write(chunk);
    }
    const digest = hash.digest("hex");
    const place = objectPath(digest);
    await putter.name(digest);
    // without a row, its time keeps it from a sweep
    if (await touch(place)) return { digest, bytes };
    await file.commit().catch(failed);
    await makePrivateFolder(dirname(place)).catch(failed);
    await rename(temporary, place).catch(failed);
    return { digest, bytes };
  };

  const locate: ObjectStore["locate"] = async (digest) => {
    const place = objectPath(digest);
    if (await pathExists(place)) return place;
    await access(incoming).catch(failed);
    throw new MosError("not_found", `content ${digest.slice(0, 12)}… is missing from the storage`);
  };

  return {
    put,
    locate,
    putFolder: async (from, skip = () => false, putter = NO_OWNER) => {
      const files: Record<string, string> = {};
      for (const path of await filesIn(from)) {
        const name = relative(from, path).split(sep).join("/");
        if (!skip(name)) files[name] = (await put(createReadStream(path), putter)).digest;
      }
      return files;
    },
    restore: async (files, to, { link: isLinked = false } = {}) => {
      for (const [name, digest] of Object.entries(files)) {
        const target = join(to, ...name.split("/"));
        await makeFolder(dirname(target));
        const place = await locate(digest);
        await (isLinked ? linkOrCopy(place, target) : copyFile(place, target)).catch((error: unknown) => {
          throw storageError(error, target);
        });
      }
    },
    remove: async (digest) => {
      await rm(objectPath(digest)).catch(ignoreMissing(incoming)).catch(failed);
    },
    check: async () => {
      for (const place of [incoming, join(folder, "objects")]) await assertWritable(place).catch(failed);
    },
    discard: (id) => discard(incoming, id).catch(failed),
    sweep: (isUsed, olderThan) => sweep(folder, isUsed, olderThan),
  };
}

/** A missing content is removed already, unless the whole storage is away. */
const ignoreMissing =
  (incoming: string) =>
  async (error: NodeJS.ErrnoException): Promise<void> => {
    if (error.code !== "ENOENT" || !(await pathExists(incoming))) throw error;
  };

async function discard(incoming: string, id: string): Promise<void> {
  for (const name of await readdir(incoming))
    if (name.startsWith(`.${id}.`) || name.startsWith(`${id}.`))
      await rm(join(incoming, name), { force: true });
}

async function sweep(
  folder: string,
  ...[isUsed, olderThan]: Parameters<ObjectStore["sweep"]>
): Promise<readonly string[]> {
  const [objects, incoming] = [join(folder, "objects"), join(folder, "incoming")];
  const unused: string[] = [];
  for (const part of await namesIn(objects)) {
    const names = (await namesIn(join(objects, part))).filter((name) => DIGEST.test(name));
    const used = await isUsed(names);
    for (const name of names)
      if (!used.has(name) && (await isOlder(join(objects, part, name), olderThan))) unused.push(name);
  }
  for (const name of await namesIn(incoming))
    if (await isOlder(join(incoming, name), olderThan)) await rm(join(incoming, name), { force: true });
  return unused;
}

/** Sets the time of a file to now; false if it is missing. */
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
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EEXIST" || code === "ENOSPC") throw error;
    await copyFile(from, to);
  }
}

async function isOlder(path: string, olderThan: number): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  // its time and the present by the same clock, that of the file system's machine at best
  return found !== undefined && Date.now() - found.mtimeMs >= olderThan * 1000;
}
