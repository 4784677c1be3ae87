import { spawn } from "node:child_process";
import { once } from "node:events";
import { utimesSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { thisWriter } from "#platform";
import { bundleProgram } from "../../../../test/bundle-program.ts";
import { lockChanges, lockFolder } from "./lock.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-lock-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** A clock that goes on by so many milliseconds whenever it is read. */
function ticking(step: number): () => number {
  let now = 0;
  return () => (now += step);
}

const holder = { ...thisWriter, host: hostname() };
const leave = (holder: object): Promise<void> =>
  writeFile(join(folder, "running.json"), JSON.stringify(holder));
const LOCK_AND_WAIT = `
  import { lockFolder } from "./lock.ts";
  await lockFolder(process.argv[2]);
  process.stdout.write("locked");
  await new Promise(() => setInterval(() => undefined, 1000));
`;
const inUse = (by: string) => ({
  code: "bad_option",
  message: expect.stringMatching(`^the folder ${folder} is in use${by}: .* remove ${folder}/running.json$`),
});

test("a folder has one lock holder at a time, also within one process", async () => {
  {
    await using _lock = await lockFolder(folder);
    await expect(lockFolder(folder)).rejects.toMatchObject(inUse(` by process ${process.pid} on .*`));
    await expect(lockFolder(`${folder}/x/..`)).rejects.toMatchObject({ code: "bad_option" });
  }
  expect(await readdir(folder)).toEqual([]);
  await using _again = await lockFolder(folder);
});

test("of several concurrent attempts one gets the lock", async () => {
  const locks = await Promise.allSettled(Array.from({ length: 8 }, () => lockFolder(folder)));
  expect(locks.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  for (const lock of locks) if (lock.status === "fulfilled") await lock.value[Symbol.asyncDispose]();
});

test("a stale lock is taken over: its process is gone, or another process has its pid", async () => {
  const child = spawn(process.execPath, ["--version"], { stdio: "ignore" });
  await once(child, "exit");
  for (const pid of [child.pid, process.pid]) {
    await leave({ ...holder, pid, start: "1" });
    await using _lock = await lockFolder(folder);
  }
});

test("of several that find a stale lock, one takes it over", async () => {
  const child = spawn(process.execPath, ["--version"], { stdio: "ignore" });
  await once(child, "exit");
  for (let round = 0; round < 20; round++) {
    await leave({ ...holder, pid: child.pid });
    const locks = await Promise.allSettled(Array.from({ length: 50 }, () => lockFolder(folder)));
    expect(locks.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    for (const lock of locks) if (lock.status === "fulfilled") await lock.value[Symbol.asyncDispose]();
    expect(await readdir(folder)).toEqual([]);
  }
});

test("a lock of a running process, or that cannot be read, is kept", async () => {
  const program = join(folder, "lock-and-wait.mjs");
  bundleProgram(LOCK_AND_WAIT, { folder: import.meta.dirname, to: program });
  const child = spawn(process.execPath, [program, folder], { stdio: ["pipe", "pipe", "inherit"] });
  await once(child.stdout, "data");
  await expect(lockFolder(folder)).rejects.toMatchObject(inUse(` by process ${child.pid} on .*`));
  child.kill("SIGKILL");
  await once(child, "exit");
  await leave({});
  await expect(lockFolder(folder)).rejects.toMatchObject(inUse(""));
});

test("a lock of another container is kept while it is touched, and taken over when it is not", async () => {
  const path = join(folder, "running.json");
  const elsewhere = { pid: 1, start: "1", place: "00000000", host: "elsewhere" };
  await leave(elsewhere);
  const clock = ticking(5000);
  // before each look
  const touchedClock = (): number => {
    const now = clock();
    utimesSync(path, now / 1000, now / 1000);
    return now;
  };
  await expect(lockFolder(folder, { now: touchedClock })).rejects.toMatchObject(
    inUse(" by process 1 on elsewhere"),
  );
  await using _lock = await lockFolder(folder, { now: clock });
  expect(JSON.parse(await readFile(path, "utf8"))).toMatchObject(thisWriter);
});

test("changes wait for each other, and not for ever", async () => {
  let inside = 0;
  const change = async (): Promise<void> => {
    await using _lock = await lockChanges(folder);
    expect(++inside).toBe(1);
    await sleep(5);
    inside--;
  };
  await Promise.all(Array.from({ length: 8 }, change));
  expect(await readdir(folder)).toEqual([]);
  await using _lock = await lockChanges(folder);
  await expect(lockChanges(folder, { now: ticking(5000) })).rejects.toMatchObject({ code: "busy" });
  await expect(lockChanges(folder, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "busy" });
});

test("an empty lock, for which the disk was too full, counts as one, and is taken over when nobody touches it", async () => {
  await writeFile(join(folder, ".changing.json"), "");
  const clock = ticking(1000);
  await using _lock = await lockChanges(folder, { now: clock });
  expect(clock()).toBeGreaterThan(30_000);
});

test("a missing folder", async () => {
  await expect(lockFolder(join(folder, "none"))).rejects.toMatchObject({ code: "not_found" });
});
