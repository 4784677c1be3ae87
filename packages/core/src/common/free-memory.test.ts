import { expect, test } from "vitest";
import { freeMemory, type MemorySources } from "./free-memory.ts";

const GB = 1e9;

const system = (
  files: Readonly<Record<string, string>>,
  own: Partial<MemorySources> = {},
): MemorySources => ({
  read: (path) => Promise.resolve(files[path]),
  machine: () => 3 * GB,
  constrained: () => 0,
  resident: () => 1e8,
  ...own,
});

const meminfo = "MemTotal:       24000000 kB\nMemFree:         1000000 kB\nMemAvailable:   20000000 kB\n";

test("without control groups it is what the machine has available", async () => {
  expect(await freeMemory(system({ "/proc/meminfo": meminfo }))).toEqual({
    bytes: 20_480_000_000,
    limit: "machine",
    resident: 1e8,
  });
  expect(await freeMemory(system({}))).toEqual({ bytes: 3 * GB, limit: "machine", resident: 1e8 });
});

test("a group of version 2 leaves its limit without what is taken; cached files are not", async () => {
  const files = {
    "/proc/meminfo": meminfo,
    "/proc/self/cgroup": "0::/user/job\n",
    "/sys/fs/cgroup/user/job/memory.max": "4000000000\n",
    "/sys/fs/cgroup/user/job/memory.current": "3000000000\n",
    "/sys/fs/cgroup/user/job/memory.stat":
      "anon 500000000\ninactive_file 1500000000\nactive_file 500000000\n",
    "/sys/fs/cgroup/user/memory.max": "max\n",
    "/sys/fs/cgroup/user/memory.current": "3000000000\n",
  };
  expect(await freeMemory(system(files))).toEqual({ bytes: 3 * GB, limit: "cgroup", resident: 1e8 });
  const above = { ...files, "/sys/fs/cgroup/user/memory.max": "3500000000" };
  expect(await freeMemory(system(above))).toEqual({ bytes: 0.5 * GB, limit: "cgroup", resident: 1e8 });
});

test("in a container the group's own path is not there, but its limit is at the top", async () => {
  const files = {
    "/proc/meminfo": meminfo,
    "/proc/self/cgroup": "0::/../../kubepods/pod1\n",
    "/sys/fs/cgroup/memory.max": "2000000000\n",
    "/sys/fs/cgroup/memory.current": "500000000\n",
  };
  expect(await freeMemory(system(files))).toEqual({ bytes: 1.5 * GB, limit: "cgroup", resident: 1e8 });
});

test("version 1, whose lack of a limit is a number too", async () => {
  const files = (limit: string) => ({
    "/proc/meminfo": meminfo,
    "/proc/self/cgroup": "5:cpu,cpuacct:/x\n4:memory:/docker/1\n0::/\n",
    "/sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes": limit,
    "/sys/fs/cgroup/memory/docker/1/memory.usage_in_bytes": "1000000000",
    "/sys/fs/cgroup/memory/docker/1/memory.stat": "cache 9\ntotal_inactive_file 200000000\n",
  });
  expect(await freeMemory(system(files("2000000000")))).toEqual({
    bytes: 1.2 * GB,
    limit: "cgroup",
    resident: 1e8,
  });
  expect(await freeMemory(system(files("9223372036854771712")))).toMatchObject({ limit: "machine" });
});

test("where no group's files can be read, the limit that Node knows of counts", async () => {
  expect(await freeMemory(system({}, { constrained: () => 2 * GB }))).toEqual({
    bytes: 1.9 * GB,
    limit: "cgroup",
    resident: 1e8,
  });
  expect(await freeMemory(system({}, { constrained: () => 2 ** 64 }))).toMatchObject({ limit: "machine" });
});

test("this machine has some memory left", async () => {
  expect((await freeMemory()).bytes).toBeGreaterThan(1e6);
});
