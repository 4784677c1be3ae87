import { rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join, resolve } from "node:path";
import { z } from "zod";
import { MosError } from "#core";
import { storageError, systemCode } from "./error.ts";
import { readJson } from "./files.ts";

const LOCK = "running.json";
/** Locks that this process holds: after a restart of the machine another process may have had the same id. */
const held = new Set<string>();
const holderSchema = z.object({ pid: z.int().positive(), host: z.string() });
type Holder = z.output<typeof holderSchema>;

/** Whether this lock is stale: left by a process that crashed. */
function isGone({ pid, host }: Holder, path: string): boolean {
  if (host !== hostname()) return false;
  if (pid === process.pid) return !held.has(path);
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return systemCode(error) === "ESRCH";
  }
}

/** Creates the file, unless it exists; atomic among processes. */
async function make(path: string): Promise<boolean> {
  try {
    await writeFile(path, JSON.stringify({ pid: process.pid, host: hostname() }), { flag: "wx" });
  } catch (error) {
    if (systemCode(error) === "EEXIST") return false;
    await rm(path, { force: true }); // a full disk has room for its name
    throw storageError(error, path);
  }
  return true;
}

async function take(path: string): Promise<boolean> {
  const isMine = await make(path);
  if (isMine) held.add(path);
  return isMine;
}

const holderOf = (path: string): Promise<Holder | undefined> =>
  readJson(path, holderSchema, { code: "bad_data" }).catch(() => undefined);

/** Removes a lock that a crash has left, one process at a time: a second one could remove the lock of the first. */
async function clear(path: string): Promise<void> {
  const guard = `${path}.clearing`;
  if (!(await make(guard))) return;
  try {
    const holder = await holderOf(path);
    if (holder !== undefined && isGone(holder, path)) await rm(path, { force: true });
  } finally {
    await rm(guard, { force: true });
  }
}

const inUse = (folder: string, path: string, holder: Holder | undefined): MosError =>
  new MosError(
    "bad_option",
    `the folder ${folder} is in use${holder === undefined ? "" : ` by process ${holder.pid} on ${holder.host}`}: ` +
      `wait for it, or choose another --out. If nothing runs there any more, remove ${path}`,
  );

/**
 * Locks a folder until it is disposed, so that two processes do not write the same files. A lock that a crash has left is
 * taken over.
 *
 * @throws MosError `bad_option` where another process holds the lock, `storage`.
 * @example
 * await using _lock = await lockFolder(out);
 */
export async function lockFolder(folder: string): Promise<AsyncDisposable> {
  const path = resolve(folder, LOCK);
  if (!(await take(path))) {
    await clear(path);
    if (!(await take(path))) throw inUse(folder, join(folder, LOCK), await holderOf(path));
  }
  return {
    async [Symbol.asyncDispose]() {
      held.delete(path);
      await rm(path, { force: true });
    },
  };
}
