import { readdirSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { kinds, PROGRAM, passed } from "../../../test/checker-kinds.ts";
import type { ProgramChecker } from "./checker.ts";
import { createProgramChecker } from "./create-checker.ts";

const leftFolders = () => readdirSync(tmpdir()).filter((name) => /^mos-(sandbox|python)-/.test(name));
for (const [name, path] of kinds) {
  let checker: ProgramChecker;
  beforeAll(async () => {
    checker = await createProgramChecker({ python: path });
  });
  afterAll(() => checker?.[Symbol.asyncDispose]());

  test.each([
    ["import os\nos._exit(0)", /timed out|proc_exit/],
    ["try:\n  while True: pass\nexcept Exception: pass", /timed out/],
  ])(`${name}: %j fails`, async (program, reason) => {
    const result = await checker.check(program);
    expect(result.reason).toMatch(reason);
    expect(result.passed).toBe(false);
  });

  test(`${name}: many at once are all answered, each with its own result`, async () => {
    const results = await Promise.all(
      Array.from({ length: 20 }, (_, i) => checker.check(PROGRAM(i % 3 === 0 ? 3 : 4))),
    );
    expect(results.map((result) => result.passed)).toEqual(results.map((_, i) => i % 3 === 0));
  });

  test(`${name}: a signal stops a program that runs and one that waits`, async () => {
    const controller = new AbortController();
    const checks = Array.from({ length: 4 }, () => checker.check("while True: pass", controller.signal));
    setTimeout(() => controller.abort(), 300);
    for (const result of await Promise.allSettled(checks))
      expect(result).toMatchObject({ status: "rejected", reason: { code: "cancelled" } });
    expect(await checker.check(PROGRAM(3))).toEqual(passed);
    await expect(checker.check(PROGRAM(3), controller.signal)).rejects.toMatchObject({ code: "cancelled" });
  });

  test(`${name}: disposing ends what runs and leaves no folder`, async () => {
    const before = leftFolders();
    const other = await createProgramChecker({ workers: 1, python: path });
    const checks = [other.check("while True: pass"), other.check("1")];
    const settled = Promise.allSettled(checks);
    await new Promise((resolve) => setTimeout(resolve, 200));
    await other[Symbol.asyncDispose]();
    for (const result of await settled)
      expect(result).toMatchObject({ status: "rejected", reason: { code: "cancelled" } });
    expect(leftFolders().filter((folder) => !before.includes(folder))).toEqual([]);
    await expect(other.check("1")).rejects.toMatchObject({ code: "cancelled" });
  });
}

test.runIf(kinds.length > 1)(
  "what the system's Python takes to start is not the program's time",
  async () => {
    const folder = await mkdtemp(join(tmpdir(), "mos-slow-python-"));
    try {
      const python = join(folder, "python");
      await writeFile(python, `#!/bin/sh\n/bin/sleep 3\nexec ${kinds[1]?.[1]} "$@"\n`, { mode: 0o755 });
      await using checker = await createProgramChecker({ python, seconds: 1 });
      expect(await checker.check(PROGRAM(3))).toEqual(passed);
      expect(await checker.check("while True: pass")).toEqual({ passed: false, reason: "timed out" });
    } finally {
      await rm(folder, { recursive: true });
    }
  },
);

test("starting can be stopped, and leaves nothing", async () => {
  const before = leftFolders();
  const started = createProgramChecker({ signal: AbortSignal.timeout(100) });
  await expect(started).rejects.toMatchObject({ code: "cancelled" });
  expect(leftFolders().filter((folder) => !before.includes(folder))).toEqual([]);
});
