// Local copies of a bucket's contents, in bounded space. What is in use stays: what somebody holds, and what shares its bytes
// with another file, such as a published model.
import { readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { FindUsed } from "./stored-object.ts";

/** Copies in a folder that `openFolder` fills. */
export interface Cache {
  /** Keeps a copy, which may not be there yet, until it is disposed. One that is being removed is gone before. */
  hold(digest: string): Promise<Disposable>;
  /** Bytes were added. */
  grow(bytes: number): Promise<void>;
  /** Removes copies that are not in use, to a number of bytes in all (the limit). False where those in use take more. */
  trim(options?: { readonly isUsed?: FindUsed | undefined; readonly bytes?: number }): Promise<boolean>;
}

type Copy = Awaited<ReturnType<typeof list>>[number];

/** Part of the limit to which a full cache is emptied, so that it is seldom looked through. */
const LOW = 0.9;
/** Milliseconds for which a copy stays although no row names it: it may have arrived just now. */
const GRACE = 600_000;

export async function openCache(folder: string, limit: number): Promise<Cache> {
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

  const trim: Cache["trim"] = async ({ isUsed, bytes = limit } = {}) => {
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
    hold: async (digest) => {
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
    grow: async (bytes) => {
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
