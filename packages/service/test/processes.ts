// What processes there are, by /proc.
import { readdir, readFile } from "node:fs/promises";

/** The state of a process, such as "S", or "T" where it is stopped; undefined where it has ended. */
export async function processState(pid: number): Promise<string | undefined> {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  const state = /^State:\s+(\w)/m.exec(status)?.[1];
  return state === "Z" ? undefined : state;
}

/** Processes whose command names this, which are children of these processes; without any, all of this machine. */
export async function listProcesses(
  name: string,
  parents?: readonly (number | undefined)[],
): Promise<readonly number[]> {
  const found: number[] = [];
  for (const pid of await readdir("/proc")) {
    const line = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
    if (!line.includes(name)) continue;
    const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
    const parent = Number(/PPid:\s+(\d+)/.exec(status)?.[1]);
    if (parents === undefined || parents.includes(parent)) found.push(Number(pid));
  }
  return found;
}

/** The processes of trainers, as `listProcesses` lists them. */
export const listTrainers = (parents?: readonly (number | undefined)[]): Promise<readonly number[]> =>
  listProcesses("trainer-process", parents);
