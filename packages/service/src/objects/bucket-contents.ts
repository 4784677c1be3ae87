// Contents in a bucket, by their digests, with local copies in bounded space. What is in use stays: what somebody holds, and what shares
// its bytes with another file, such as a published model.
import { readdir, rm, stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import { MosError } from "mixture-of-shards";
import { isDiskFull } from "mixture-of-shards-core/files";
import { type Bucket, openBucket } from "./bucket.ts";
import { openFolder } from "./folder.ts";
import {
  type BucketOptions,
  type Contents,
  DIGEST,
  type FindUsed,
  type LocatedObject,
  NO_OWNER,
} from "./stored-object.ts";

const objectName = (digest: string): string => `objects/${digest}`;

/**
 * Opens a bucket and its cache.
 *
 * @throws MosError `bad_option`, `storage`.
 */
export async function openBucketContents(
  url: string,
  { cache: { folder, bytes }, endpoint }: BucketOptions,
): Promise<Contents> {
  const bucket = await openBucket(url, endpoint);
  await bucket.check(); // which says more of what is wrong
  await bucket.tryWriting();
  const local = await openFolder(folder);
  const cache = await openCache(join(folder, "objects"), bytes);
  const upload = shareRunning(async (digest) => {
    using place = await local.locate(digest);
    if (await bucket.has(objectName(digest))) return;
    await bucket.upload(objectName(digest), { path: place.path, bytes: (await stat(place.path)).size });
  });
  const download = shareRunning((digest) => fetchCopy(digest, { url, bucket, local, cache }));

  return {
    put: async (source, putter = NO_OWNER) => {
      let held: Disposable | undefined;
      try {
        const stored = await local.put(source, {
          id: putter.id,
          name: async (digest) => {
            held = await cache.hold(digest);
            await putter.name(digest);
          },
        });
        await upload(stored.digest);
        await cache.grow(stored.bytes);
        return stored;
      } catch (error) {
        // there is room where it is tried again
        if (isDiskFull(error)) await cache.trim({ bytes: 0 });
        throw error;
      } finally {
        held?.[Symbol.dispose]();
      }
    },
    has: (digest) => bucket.has(objectName(digest)),
    locate: async (digest) => {
      const held = await cache.hold(digest);
      try {
        const place = await local.locate(digest).catch(async (error: unknown): Promise<LocatedObject> => {
          if (!(error instanceof MosError) || error.code !== "not_found") throw error;
          await download(digest);
          return local.locate(digest);
        });
        await markUsed(place.path);
        return { path: place.path, [Symbol.dispose]: () => held[Symbol.dispose]() };
      } catch (error) {
        held[Symbol.dispose]();
        throw error;
      }
    },
    remove: async (digest) => {
      await bucket.remove(objectName(digest));
      await local.remove(digest);
    },
    check: async () => {
      await local.check();
      await bucket.check();
    },
    discard: local.discard,
    sweep: (isUsed, olderThan) => sweep({ bucket, local }, isUsed, olderThan),
    trim: (isUsed) => cache.trim({ isUsed }),
  };
}

/** Ends old uploads, sweeps the copies, and gives the contents of the bucket that nobody uses. */
async function sweep(
  { bucket, local }: Pick<Places, "bucket" | "local">,
  ...[isUsed, olderThan]: Parameters<Contents["sweep"]>
): Promise<readonly string[]> {
  const unused: string[] = [];
  for await (const page of bucket.list("objects")) {
    // others may have put contents there by other names, which are theirs
    const found = page
      .map(({ name, ...file }) => ({ digest: name.slice(objectName("").length), ...file }))
      .filter(({ digest }) => DIGEST.test(digest));
    const used = await isUsed(found.map(({ digest }) => digest));
    const before = Date.now() - olderThan * 1000;
    for (const { digest, changedAt = 0 } of found)
      if (!used.has(digest) && changedAt <= before) unused.push(digest);
  }
  await bucket.endUploads("objects", olderThan);
  await local.sweep(isUsed, olderThan);
  return unused;
}

/** Sets the time of a copy, which says when it was last used; a file that shares its bytes, and so its time, keeps both. */
async function markUsed(path: string): Promise<void> {
  const now = new Date();
  if ((await stat(path)).nlink === 1) await utimes(path, now, now);
}

interface Places {
  readonly url: string;
  readonly bucket: Bucket;
  readonly local: Contents;
  readonly cache: Awaited<ReturnType<typeof openCache>>;
}

/** Copies a content to this machine, and checks that it is the one of its name. */
async function fetchCopy(digest: string, { url, bucket, local, cache }: Places): Promise<void> {
  const putter = { id: "download", name: async () => undefined };
  const name = objectName(digest);
  const missing = (error: unknown): never => {
    if (!(error instanceof MosError) || error.code !== "not_found") throw error;
    throw new MosError("not_found", `content ${digest.slice(0, 12)}… is missing from the storage`, {
      cause: error,
    });
  };
  const found = await local.put(bucket.read(name), putter).catch(async (error: unknown) => {
    if (!isDiskFull(error)) return missing(error);
    await cache.trim({ bytes: 0 });
    return local.put(bucket.read(name), putter).catch(missing);
  });
  if (found.digest !== digest)
    throw new MosError(
      "storage",
      `${url}: ${name} does not have the content of its name (its SHA-256 is ${found.digest.slice(0, 12)}…); restore it`,
    );
  await cache.grow(found.bytes);
}

/** The work for a key, which callers at the same time share. */
function shareRunning(work: (key: string) => Promise<void>): (key: string) => Promise<void> {
  const running = new Map<string, Promise<void>>();
  return (key) => {
    const started = running.get(key) ?? work(key).finally(() => running.delete(key));
    running.set(key, started);
    return started;
  };
}

type Copy = Awaited<ReturnType<typeof list>>[number];

/** Part of the limit to which a full cache is emptied, so that it is seldom looked through. */
const LOW = 0.9;
/** Milliseconds for which a copy stays although no row names it: it may have arrived just now. */
const GRACE = 600_000;

/** Copies in a folder that `openFolder` fills. */
async function openCache(folder: string, limit: number) {
  const held = new Map<string, number>();
  const leaving = new Map<string, Promise<void>>();
  let total = Number.POSITIVE_INFINITY; // until they are listed

  const remove = async ({ digest, path, bytes }: Copy): Promise<void> => {
    if (held.has(digest)) return;
    const gone = rm(path, { force: true });
    leaving.set(digest, gone);
    await gone.finally(() => leaving.delete(digest));
    total -= bytes;
  };

  const removeUnused = async (copies: readonly Copy[], isUsed: FindUsed): Promise<void> => {
    const old = copies.filter(({ usedAt }) => Date.now() - usedAt > GRACE);
    const used = await isUsed(old.map(({ digest }) => digest));
    for (const copy of old) if (!used.has(copy.digest)) await remove(copy);
  };

  /** Removes copies that are not in use, to a number of bytes in all (the limit). False where those in use take more. */
  const trim = async (options: { isUsed?: FindUsed | undefined; bytes?: number } = {}): Promise<boolean> => {
    const { isUsed, bytes = limit } = options;
    if (isUsed === undefined && total <= bytes) return true;
    const copies = await list(folder);
    total = copies.reduce((sum, copy) => sum + copy.bytes, 0);
    if (isUsed !== undefined) await removeUnused(copies, isUsed);
    if (total <= bytes) return true;
    for (const copy of copies.filter(({ isShared }) => !isShared).sort((a, b) => a.usedAt - b.usedAt))
      if (total > bytes * LOW) await remove(copy);
    return total <= bytes;
  };

  await trim();
  return {
    trim,
    /** Keeps a copy, which may not be there yet, until it is disposed. One that is being removed is gone before. */
    hold: async (digest: string): Promise<Disposable> => {
      held.set(digest, (held.get(digest) ?? 0) + 1);
      await leaving.get(digest);
      return {
        [Symbol.dispose]: () => {
          const others = (held.get(digest) ?? 1) - 1;
          if (others === 0) held.delete(digest);
          else held.set(digest, others);
        },
      };
    },
    /** Bytes were added. */
    grow: async (bytes: number): Promise<void> => {
      total += bytes;
      if (total > limit) await trim();
    },
  };
}

async function list(folder: string) {
  const copies = [];
  for (const entry of await readdir(folder, { withFileTypes: true, recursive: true })) {
    const path = join(entry.parentPath, entry.name);
    const found = entry.isFile() ? await stat(path).catch(() => undefined) : undefined;
    if (found === undefined) continue;
    const { size: bytes, mtimeMs: usedAt, nlink } = found;
    copies.push({ digest: entry.name, path, bytes, usedAt, isShared: nlink > 1 });
  }
  return copies;
}
