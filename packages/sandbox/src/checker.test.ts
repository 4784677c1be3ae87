import { afterAll, beforeAll, expect, test } from "vitest";
import { kinds, PROGRAM, passed } from "../../../test/checker-kinds.ts";
import type { ProgramChecker } from "./checker.ts";
import { createProgramChecker } from "./create-checker.ts";

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
  ["writes a file", "open('/lib/mos-sandbox-was-here', 'w').write('x')", /Read-only/],
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

/** Python 3.11 reaches these depths, each with a limit of 1000. */
const RECURSIONS: readonly (readonly [string, number, string])[] = [
  ["plain calls", 990, "def f(n): return 0 if n == 0 else 1 + f(n - 1)\nassert f(N) == N"],
  [
    "lru_cache",
    498,
    "from functools import lru_cache\n@lru_cache(None)\ndef f(n): return 0 if n == 0 else 1 + f(n - 1)\nassert f(N) == N",
  ],
  ["sorted's key", 495, "def f(n): return 0 if n == 0 else sorted([n - 1], key=f)[0]\nf(N)"],
  [
    "sorted's key and lambda",
    330,
    "def f(n): return 0 if n == 0 else 1 + sorted([n - 1], key=lambda x: f(x))[0]\nf(N)",
  ],
  [
    "__eq__",
    499,
    "class A:\n  def __init__(self, x): self.x = x\n  def __eq__(self, o): return self.x == o.x\na = b = 0\nfor _ in range(N): a, b = A(a), A(b)\nassert a == b",
  ],
  [
    "__getattr__",
    985,
    "class A:\n  def __getattr__(self, k):\n    i = int(k[1:])\n    return 0 if i == 0 else 1 + getattr(self, 'x%d' % (i - 1))\nassert getattr(A(), f'x{N}') == N",
  ],
];
for (const [name, depth, program] of RECURSIONS)
  test(`Pyodide: recursion through ${name} goes ${depth} deep, and its end is an error like another`, {
    tags: name === "plain calls" ? [] : ["thorough"],
  }, async () => {
    const at = (n: number) => sandbox.check(`N = ${n}\n${program}`);
    expect(await at(depth)).toEqual(passed);
    expect(await at(3000)).toMatchObject({
      passed: false,
      reason: expect.stringMatching(/RecursionError|overflow/),
    });
    expect(await sandbox.check(PROGRAM(3))).toEqual(passed);
  });

test("Pyodide: a program has temporary files, which the next does not see", async () => {
  const program = `
import os, pathlib, shutil, tempfile
assert os.listdir("/tmp") == []
with open("/tmp/x", "w") as f: f.write("one\\n" * 1000)
with open("/tmp/x", "a") as f: f.write("end")
with open("/tmp/x") as f: assert f.read() == "one\\n" * 1000 + "end"
os.rename("/tmp/x", "/tmp/y")
with tempfile.TemporaryDirectory() as folder:
    inner = pathlib.Path(folder) / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "c").write_bytes(b"abc")
    assert (inner / "c").read_bytes() == b"abc"
assert not os.path.exists(folder)
with tempfile.TemporaryFile() as f:
    f.write(b"abc"); f.truncate(2); f.seek(0)
    assert f.read() == b"ab"
named = tempfile.NamedTemporaryFile("w", delete=False)
named.write("left"); named.flush()
os.makedirs("/tmp/left/deep")`;
  for (let round = 0; round < 2; round++) expect(await sandbox.check(program)).toEqual(passed);
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

test("opening that was stopped before is refused, and leaves no rejection behind", async () => {
  const rejections: unknown[] = [];
  const note = (reason: unknown): void => void rejections.push(reason);
  process.on("unhandledRejection", note);
  try {
    const opening = createProgramChecker({ signal: AbortSignal.abort() });
    await expect(opening).rejects.toMatchObject({ code: "cancelled" });
    await new Promise((resolve) => setImmediate(resolve));
    expect(rejections).toEqual([]);
  } finally {
    process.off("unhandledRejection", note);
  }
});
