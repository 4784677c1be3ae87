// Locks of folders among processes, also of other machines and containers: files that one process alone can create, and
// touches as long as it runs.
import { z } from "zod";
import { MosError, monotonicNow, tryJson } from "#common";
import {
  hasWriterEnded,
  hostname,
  join,
  lstat,
  open,
  readFile,
  resolve,
  rm,
  sleep,
  thisWriter,
} from "#platform";
import { isBeating, startHeartbeat } from "./heartbeat.ts";
import { isDiskFull, storageError, systemCode } from "./system-error.ts";

const RUN_LOCK = "running.json";
const CHANGE = ".changing.json";
/** Longer than it takes to know that a lock of another machine was left by a crash. */
const MAX_WAIT = 45_000;

/** A lock is shorter; another file may have its name. */
const MAX_LOCK_BYTES = 4096;
/** Time without a heartbeat after which a lock of another machine counts as left, for those who only look once. */
const SILENT_AFTER = 60_000;

/** Locks that this process holds. */
const heldLocks = new Set<string>();
const holderSchema = z.object({
  pid: z.int().positive(),
  host: z.string(),
  start: z.string(),
  place: z.string(),
});
type Holder = z.output<typeof holderSchema>;

const isMine = ({ pid, start, place }: Holder): boolean =>
  pid === thisWriter.pid && start === thisWriter.start && place === thisWriter.place;

/** Tests whether the process has ended; undefined if only watching the lock can tell. */
const isGone = async (holder: Holder, path: string): Promise<boolean | undefined> =>
  isMine(holder) ? !heldLocks.has(path) : hasWriterEnded(holder);

/** Creates a lock's file, unless it exists; atomic among processes. */
async function make(path: string): Promise<boolean> {
  if (heldLocks.has(path)) return false;
  heldLocks.add(path); // before it can be read
  let isMade = false;
  try {
    isMade = await create(path);
  } finally {
    if (!isMade) heldLocks.delete(path);
  }
  return isMade;
}

async function create(path: string): Promise<boolean> {
  const handle = await open(path, "wx").catch((error: unknown) => {
    if (systemCode(error) === "EEXIST") return undefined;
    throw storageError(error, path);
  });
  if (handle === undefined) return false;
  try {
    await handle.writeFile(JSON.stringify({ ...thisWriter, host: hostname() }));
  } catch (error) {
    // a full disk has room for a name: an empty lock is one, too, and the change may well free space
    if (!isDiskFull(error)) {
      await rm(path, { force: true });
      throw storageError(error, path);
    }
  } finally {
    await handle.close();
  }
  return true;
}

async function remove(path: string): Promise<void> {
  await rm(path, { force: true });
  heldLocks.delete(path);
}

/** The holder of a lock; "unknown" while it is empty, undefined for a file that is no lock of ours. */
async function readHolder(path: string): Promise<Holder | "unknown" | undefined> {
  const text = await readFile(path, "utf8").catch(() => "");
  return text === "" ? "unknown" : holderSchema.safeParse(tryJson(text)).data;
}

/** The time by a clock that never goes back, in milliseconds. */
type Clock = typeof monotonicNow;

/** Tests whether a crashed process left a lock; undefined while that is unknown. */
async function isStale(path: string, now: Clock): Promise<boolean | undefined> {
  const holder = await readHolder(path);
  if (holder === undefined) return false;
  const gone = holder === "unknown" ? undefined : await isGone(holder, path);
  if (gone !== undefined) return gone;
  const isAlive = await isBeating(path, now());
  return isAlive === undefined ? undefined : !isAlive;
}

/** Removes a lock that a crash has left, one process at a time: a second one could remove the lock of the first. */
async function clear(path: string, now: Clock): Promise<void> {
  const guard = `${path}.clearing`;
  if (!(await make(guard))) {
    if ((await isStale(guard, now)) === true) await rm(guard, { force: true });
    return;
  }
  try {
    if ((await isStale(path, now)) === true) await rm(path, { force: true });
  } finally {
    await remove(guard);
  }
}

/** Takes a lock; `isOver` decides when to give up waiting for one that is, or may be, held. */
async function take(
  path: string,
  { now, isOver }: { readonly now: Clock; readonly isOver: (isHeld: boolean) => boolean },
): Promise<AsyncDisposable | undefined> {
  for (;;) {
    if (await make(path)) return holding(path);
    const stale = await isStale(path, now);
    if (stale === true) await clear(path, now);
    else if (isOver(stale === false)) return undefined;
    await sleep(10);
  }
}

function holding(path: string): AsyncDisposable {
  const stopBeat = startHeartbeat(path);
  return {
    async [Symbol.asyncDispose]() {
      stopBeat();
      // another process may have taken it over, if this one was suspended
      const holder = await readHolder(path);
      if (holder === "unknown" || (holder !== undefined && isMine(holder))) await remove(path);
      else heldLocks.delete(path);
    },
  };
}

function inUse(folder: string, holder: Awaited<ReturnType<typeof readHolder>>): MosError {
  const by = typeof holder === "object" ? ` by process ${holder.pid} on ${holder.host}` : "";
  return new MosError(
    "bad_option",
    `the folder ${folder} is in use${by}: ` +
      `wait for it, or choose another --out. If nothing runs there any more, remove ${join(folder, RUN_LOCK)}`,
  );
}

/**
 * Locks a folder until it is disposed, so that two processes do not write the same files. A lock that a crash has left is
 * taken over.
 *
 * @throws MosError `bad_option` where another process holds the lock, `storage`.
 */
export async function lockFolder(
  folder: string,
  { now = monotonicNow }: { readonly now?: Clock } = {},
): Promise<AsyncDisposable> {
  const path = resolve(folder, RUN_LOCK);
  const lock = await take(path, { now, isOver: (isHeld) => isHeld });
  if (lock === undefined) throw inUse(folder, await readHolder(path));
  return lock;
}

/**
 * Tests whether a process holds the lock of a folder now. Where only watching could tell, as on another machine's folder,
 * the time of its last heartbeat decides. The folder may be anybody's: what is no lock counts as none.
 */
export async function isFolderLocked(folder: string, date: number = Date.now()): Promise<boolean> {
  const path = resolve(folder, RUN_LOCK);
  const found = await lstat(path).catch(() => undefined);
  if (found === undefined || !found.isFile() || found.size > MAX_LOCK_BYTES) return false;
  if (heldLocks.has(path)) return true;
  const holder = await readHolder(path);
  if (holder === undefined) return false;
  const gone = holder === "unknown" ? undefined : await isGone(holder, path);
  return gone === undefined ? date - found.mtimeMs < SILENT_AFTER : !gone;
}

/**
 * Waits until no other process renames or removes sub-folders of a folder, and keeps others from it until it is disposed.
 * To be held for short. The signal ends the waiting, not the lock.
 *
 * @throws MosError `busy` where others hold it for long, `storage`, `not_found`.
 */
export async function lockChanges(
  folder: string,
  { signal, now = monotonicNow }: { readonly signal?: AbortSignal; readonly now?: Clock } = {},
): Promise<AsyncDisposable> {
  const end = now() + MAX_WAIT;
  const isOver = (): boolean => signal?.aborted === true || now() > end;
  const lock = await take(resolve(folder, CHANGE), { now, isOver });
  if (lock === undefined)
    throw new MosError("busy", `${folder}: another process is changing this folder; try again later`);
  return lock;
}
