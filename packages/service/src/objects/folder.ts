// Contents as files in a folder, by their digests.
import { createHash, randomUUID } from "node:crypto";
import { access, readdir, rename, rm, stat, utimes } from "node:fs/promises";
import { dirname, join } from "node:path";
import { MosError } from "mixture-of-shards";
import {
  assertWritable,
  makePrivateFolder,
  openAtomicFile,
  pathExists,
  storageError,
} from "mixture-of-shards-core/files";
import { type Contents, DIGEST, NO_OWNER } from "./stored-object.ts";

function objectPath(folder: string, digest: string): string {
  if (!DIGEST.test(digest)) throw new MosError("storage", "a digest must have 64 hexadecimal digits");
  return join(folder, "objects", digest.slice(0, 2), digest);
}

/** Tests whether a folder, which may be missing, has a content. */
export const folderHas = (folder: string, digest: string): Promise<boolean> =>
  pathExists(objectPath(folder, digest));

/** Contents as files by their digest in a folder, which is made where it is not there. */
export async function openFolder(folder: string): Promise<Contents> {
  const incoming = join(folder, "incoming");
  await makePrivateFolder(incoming);
  await makePrivateFolder(join(folder, "objects"));
  /** The storage's own folders are always there, but while it is not mounted. */
  const failed = (error: unknown): never => {
    const cause = storageError(error, folder);
    if (cause.code !== "not_found") throw cause;
    throw new MosError("storage", `${folder}: the storage folder is missing; remount it`, { cause });
  };

  const put: Contents["put"] = async (source, putter = NO_OWNER) => {
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
    const place = objectPath(folder, digest);
    await putter.name(digest);
    // without a row, its time keeps it from a sweep
    if (await touch(place)) return { digest, bytes };
    await file.commit().catch(failed);
    await makePrivateFolder(dirname(place)).catch(failed);
    await rename(temporary, place).catch(failed);
    return { digest, bytes };
  };

  const locate: Contents["locate"] = async (digest) => {
    const place = objectPath(folder, digest);
    if (await pathExists(place)) return { path: place, [Symbol.dispose]: () => undefined };
    await access(incoming).catch(failed);
    throw new MosError("not_found", `content ${digest.slice(0, 12)}… is missing from the storage`);
  };

  return {
    put,
    has: (digest) => folderHas(folder, digest),
    locate,
    remove: async (digest) => {
      await rm(objectPath(folder, digest)).catch(ignoreMissing(incoming)).catch(failed);
    },
    check: async () => {
      for (const place of [incoming, join(folder, "objects")]) await assertWritable(place).catch(failed);
    },
    discard: (id) => discard(incoming, id).catch(failed),
    sweep: (isUsed, olderThan) => sweep(folder, isUsed, olderThan),
    trim: async () => true,
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
  ...[isUsed, olderThan]: Parameters<Contents["sweep"]>
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

const namesIn = (folder: string): Promise<readonly string[]> => readdir(folder).catch(() => []);

async function isOlder(path: string, olderThan: number): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  // its time and the present by the same clock, that of the file system's machine at best
  return found !== undefined && Date.now() - found.mtimeMs >= olderThan * 1000;
}
