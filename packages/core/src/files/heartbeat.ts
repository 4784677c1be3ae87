// Heartbeats: a process shows others, which may run on another machine, that it still writes a file or holds a lock.
import { monotonicNow } from "#common";
import { stat, unref, utimes } from "#platform";

const HEARTBEAT_INTERVAL = 5_000;
/** A running process does not miss this many heartbeats. */
const HEARTBEAT_TIMEOUT = 30_000;

const heartbeats = new Set<string>();
let timer: NodeJS.Timeout | undefined;

async function touch(path: string): Promise<void> {
  const now = new Date(Date.now());
  await utimes(path, now, now).catch(() => undefined);
}

/** Touches a file or folder now and then, which shows processes elsewhere that this one runs. Returns what ends it. */
export function startHeartbeat(path: string): () => void {
  heartbeats.add(path);
  timer ??= unref(setInterval(() => void Promise.all([...heartbeats].map(touch)), HEARTBEAT_INTERVAL));
  return () => {
    heartbeats.delete(path);
    if (heartbeats.size > 0) return;
    clearInterval(timer);
    timer = undefined;
  };
}

/** The time at which a path was first seen with its time of change. */
const seen = new Map<string, { readonly changed: number; readonly at: number }>();

/**
 * Tests whether the writer of a path still touches it; undefined until it has been watched for long enough. Only changes
 * of the modification time count, since the clocks of machines differ.
 */
export async function isBeating(path: string, now: number = monotonicNow()): Promise<boolean | undefined> {
  const changed = (await stat(path).catch(() => undefined))?.mtimeMs;
  const before = seen.get(path);
  if (changed === undefined) {
    seen.delete(path);
    return undefined;
  }
  if (before?.changed === changed) return now - before.at > HEARTBEAT_TIMEOUT ? false : undefined;
  seen.set(path, { changed, at: now });
  return before === undefined ? undefined : true;
}
