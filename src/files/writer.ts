// Identity of the process that writes a temporary file or holds a lock, and whether it is alive. An id alone is not
// enough: in containers every process may have the id 1, and machines may share a folder.
import { createHash } from "node:crypto";
import { readFileSync, readlinkSync } from "node:fs";
import { stat, utimes } from "node:fs/promises";
import { hostname } from "node:os";
import { monotonicNow } from "#core";
import { systemCode } from "./system-error.ts";

/** One run of a process. */
interface Writer {
  readonly pid: number;
  /** Its start time: another process may get its id later. */
  readonly start: string;
  /** Scope of process ids: a boot of a machine, and a container in it. */
  readonly place: string;
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

/** In clock ticks since the machine was booted; undefined where the system does not tell. */
const readStartTime = (process: number | "self"): string | undefined =>
  attempt(() => {
    const text = readFileSync(`/proc/${process}/stat`, "utf8");
    return text.slice(text.lastIndexOf(")") + 2).split(" ")[19];
  });

function hashMachine(): string {
  const boot = attempt(() => readFileSync("/proc/sys/kernel/random/boot_id", "utf8"));
  const ids = attempt(() => readlinkSync("/proc/self/ns/pid"));
  const place = boot === undefined || ids === undefined ? hostname() : boot + ids;
  return createHash("sha256").update(place).digest("hex").slice(0, 8);
}

export const thisWriter: Writer = {
  pid: process.pid,
  start: readStartTime("self") ?? "0",
  place: hashMachine(),
};

/** True if `/proc` shows processes under the ids that they have here. */
const seesProcesses = attempt(() => readlinkSync("/proc/self")) === String(process.pid);

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0); // signal 0 only asks
    return true;
  } catch (error) {
    return systemCode(error) === "EPERM";
  }
}

/** Tests whether a process has ended; undefined if that cannot be known here. */
export function hasEnded({ pid, start, place }: Writer): boolean | undefined {
  if (place !== thisWriter.place) return undefined;
  if (pid === process.pid) return start !== thisWriter.start;
  if (!isRunning(pid)) return true;
  const found = seesProcesses ? readStartTime(pid) : undefined;
  return found !== undefined && found !== start;
}

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
  timer ??= setInterval(() => void Promise.all([...heartbeats].map(touch)), HEARTBEAT_INTERVAL).unref();
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
