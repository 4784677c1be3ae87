// Identity of this process, and whether another one is alive. An id alone is not enough: in containers every process may
// have the id 1, and machines may share a folder.
import { createHash } from "node:crypto";
import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";
import type { Writer } from "../platform.ts";

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
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}

export async function hasWriterEnded({ pid, start, place }: Writer): Promise<boolean | undefined> {
  if (place !== thisWriter.place) return undefined;
  if (pid === process.pid) return start !== thisWriter.start;
  if (!isRunning(pid)) return true;
  const found = seesProcesses ? readStartTime(pid) : undefined;
  return found !== undefined && found !== start;
}
