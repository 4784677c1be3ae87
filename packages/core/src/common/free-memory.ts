// Memory that this process can still allocate: the least of the machine's free memory and the limits of its control
// groups. A process that takes more is killed by the system without a word.
import { freemem, join, process, readFile } from "#platform";

/** Bytes that can still be taken, and what sets the limit. */
export interface FreeMemory {
  readonly bytes: number;
  readonly limit: "machine" | "cgroup" | "option";
  /** Bytes that the process has already. */
  readonly resident: number;
}

/** Sources of the numbers. */
export interface MemorySources {
  /** The text of a file of the system; undefined where there is none. */
  readonly read: (path: string) => Promise<string | undefined>;
  /** Free bytes where there is no /proc/meminfo. */
  readonly machine: () => number;
  /** The limit that Node reports: 0, or more than any machine has, if there is none. */
  readonly constrained: () => number;
  /** Bytes that the process has now. */
  readonly resident: () => number;
}

const systemSources: MemorySources = {
  read: (path) => readFile(path, "utf8").catch(() => undefined),
  machine: freemem,
  constrained: () => process.constrainedMemory(),
  resident: () => process.memoryUsage.rss(),
};

/**
 * Free memory: the least of what the machine has available and what its control groups allow. Cached pages of files
 * do not count as used, since the system frees them when memory is needed.
 */
export async function freeMemory(sources: MemorySources = systemSources): Promise<FreeMemory> {
  const limits = [await machineLimit(sources), ...(await groupLimits(sources))];
  const least = limits.reduce((a, b) => (b.bytes < a.bytes ? b : a));
  return { ...least, resident: sources.resident() };
}

/** The same under a limit on the bytes of the process; unchanged without one. */
export const limitedMemory = (limit: number | undefined, free: FreeMemory): FreeMemory =>
  limit === undefined ? free : { ...free, bytes: Math.max(0, limit - free.resident), limit: "option" };

type MemoryLimit = Omit<FreeMemory, "resident">;

async function machineLimit({ read, machine }: MemorySources): Promise<MemoryLimit> {
  const available = /^MemAvailable:\s+(\d+) kB$/m.exec((await read("/proc/meminfo")) ?? "")?.[1];
  return { bytes: available === undefined ? machine() : Number(available) * 1024, limit: "machine" };
}

/** The files of a control group of either version, and what its statistics call cached pages. */
const VERSIONS = [
  {
    root: "/sys/fs/cgroup",
    limit: "memory.max",
    used: "memory.current",
    cached: ["inactive_file", "active_file"],
  },
  {
    root: "/sys/fs/cgroup/memory",
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    cached: ["total_inactive_file", "total_active_file"],
  },
] as const;

/** A higher limit means no limit: version 1 of control groups writes the largest number of pages. */
const NO_LIMIT = 2 ** 60;

async function groupLimits(sources: MemorySources): Promise<readonly MemoryLimit[]> {
  const { read, constrained, resident } = sources;
  const groups = (await read("/proc/self/cgroup")) ?? "";
  const limits: MemoryLimit[] = [];
  for (const [i, version] of VERSIONS.entries()) {
    const path = (i === 0 ? /^0::(.*)$/m : /^\d+:(?:[^:]*,)?memory(?:,[^:]*)?:(.*)$/m).exec(groups)?.[1];
    if (path === undefined) continue;
    // the limit of every group above holds too; in a container only the topmost may be visible
    for (const folder of foldersUpTo(path)) {
      const bytes = await freeInGroup(join(version.root, folder), version, read);
      if (bytes !== undefined) limits.push({ bytes, limit: "cgroup" });
    }
  }
  const limit = constrained();
  if (limits.length === 0 && limit > 0 && limit < NO_LIMIT)
    limits.push({ bytes: Math.max(0, limit - resident()), limit: "cgroup" });
  return limits;
}

/** "/a/b": "/a/b", "/a", "/" */
function foldersUpTo(path: string): readonly string[] {
  const names = path.split("/").filter((name) => name !== "" && name !== "..");
  return [...names, ""].map((_, i) => `/${names.slice(0, names.length - i).join("/")}`);
}

async function freeInGroup(
  folder: string,
  { limit, used, cached }: (typeof VERSIONS)[number],
  read: MemorySources["read"],
): Promise<number | undefined> {
  const most = Number((await read(join(folder, limit)))?.trim() ?? "max");
  const taken = Number((await read(join(folder, used)))?.trim() ?? "");
  if (!(most < NO_LIMIT) || Number.isNaN(taken)) return undefined; // "max" is no number
  const statistics = (await read(join(folder, "memory.stat"))) ?? "";
  const pages = cached.map((name) => Number(new RegExp(`^${name} (\\d+)$`, "m").exec(statistics)?.[1] ?? 0));
  return Math.max(0, most - Math.max(0, taken - pages.reduce((a, b) => a + b, 0)));
}
