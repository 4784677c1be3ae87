import { readFile } from "node:fs/promises";

/** Bytes of memory that a process has now; undefined where the system does not tell. */
export async function residentMemory(pid: number): Promise<number | undefined> {
  try {
    const [, kibibytes] = /^VmRSS:\s+(\d+) kB$/m.exec(await readFile(`/proc/${pid}/status`, "utf8")) ?? [];
    return kibibytes === undefined ? undefined : Number(kibibytes) * 1024;
  } catch {
    return undefined;
  }
}

/** Calls `onExcess` once if a process comes to have more than so many bytes. Returns what ends the watch. */
export function watchMemory(pid: number, limit: number, onExcess: () => void): () => void {
  const timer = setInterval(async () => {
    if (((await residentMemory(pid)) ?? 0) <= limit) return;
    clearInterval(timer);
    onExcess();
  }, 100);
  return () => clearInterval(timer);
}
