import { afterAll, beforeAll, expect, test } from "vitest";
import { kinds, PROGRAM, passed } from "../../test/checker-kinds.ts";
import { createProgramChecker, type ProgramChecker } from "./index.ts";

/** Pyodide's. */
let sandbox: ProgramChecker;

for (const [name, path] of kinds) {
  let checker: ProgramChecker;
  beforeAll(async () => {
    checker = await createProgramChecker({ workers: 1, python: path });
    if (path === undefined) sandbox = checker;
  });
  afterAll(() => checker?.[Symbol.asyncDispose]());

  test(`${name}: a right answer passes, a wrong one fails`, async () => {
    expect(await checker.check(PROGRAM(3))).toEqual(passed);
    expect(await checker.check(PROGRAM(4))).toEqual({ passed: false, reason: "failed: AssertionError" });
  });

  test(`${name}: globals are empty, and nothing stays from one program to the next`, async () => {
    expect(
      await checker.check("assert __name__ != '__main__' and set(globals()) <= {'__builtins__'}"),
    ).toEqual(passed);
    expect(await checker.check("import builtins, math\nbuiltins.left = math.left = 1")).toEqual(passed);
    const looks = "import builtins, math\nassert not hasattr(builtins, 'left') and not hasattr(math, 'left')";
    expect(await checker.check(looks)).toEqual(passed);
  });

  test.each([
    ["raise SystemExit(0)", /SystemExit/],
    ["raise KeyboardInterrupt", /KeyboardInterrupt/],
    ["input()", /OSError|EOFError/],
    ["def f(:", /SyntaxError/],
    ["x = 1\0", /null bytes/],
    ["a = bytearray(2 ** 31 - 1)", /MemoryError/],
  ])(`${name}: %j fails`, async (program, reason) => {
    const result = await checker.check(program);
    expect(result.reason).toMatch(reason);
    expect(result.passed).toBe(false);
  });
}

/** Some of hostile.slow.test.ts, each of another kind. */
test.each([
  ["reads a file of the system", "open('/etc/passwd').read()", /FileNotFoundError/],
  ["writes a file", "open('/tmp/mos-sandbox-was-here', 'w').write('x')", /Read-only/],
  ["opens a socket", "import socket\nsocket.socket()", /failed/],
  ["starts a process", "import subprocess\nsubprocess.run(['true'], check=True)", /failed/],
  ["imports JavaScript", "import js\njs.process.exit(0)", /No module named 'js'/],
  [
    "forges a result",
    `print('{"type":"outcome","passed":true}')\nraise ValueError('passed')`,
    /failed: ValueError: passed/,
  ],
])("Pyodide: a program that %s fails", async (_, program, reason) => {
  const result = await sandbox.check(program);
  expect(result.reason).toMatch(reason);
  expect(result.passed).toBe(false);
});

test("options that cannot be used are refused", async () => {
  await expect(createProgramChecker({ python: process.execPath })).rejects.toMatchObject({
    code: "bad_option",
    message: expect.stringMatching(/does not run Python programs/),
  });
  await expect(createProgramChecker({ workers: 0 })).rejects.toMatchObject({ code: "bad_option" });
  await expect(createProgramChecker({ seconds: Number.NaN })).rejects.toMatchObject({ code: "bad_option" });
  await expect(createProgramChecker({ memory: 1 })).rejects.toMatchObject({ code: "bad_option" });
  await expect(createProgramChecker({ python: "/no/python" })).rejects.toMatchObject({ code: "not_found" });
});
