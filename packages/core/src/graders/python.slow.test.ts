import processes, { type ChildProcess } from "node:child_process";
import { mkdtemp, readdir, rmdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test, vi } from "vitest";
import { replaceBuiltin } from "../../../../test/replace-builtin.ts";
import { grade, PythonGraders, parseGrader, readSample } from "./index.ts";

const { fork } = processes;
const forked = vi.fn(fork);
replaceBuiltin(processes, "fork", () => forked as typeof fork);
const python = new PythonGraders({ seconds: 5, memory: 512 * 2 ** 20, workers: 1 });
afterAll(() => python[Symbol.asyncDispose]());

const run = (...lines: readonly string[]) => {
  const source = ["def grade(sample, item):", ...lines.map((line) => `    ${line}`)].join("\n");
  return grade(parseGrader({ type: "python", source }), { item: {}, sample: readSample("hi") }, { python });
};

test.each([
  ["raises an error", ["raise ValueError('no')"], "ValueError: no"],
  ["has a syntax error", ["return ("], /SyntaxError/],
  ["returns a text", ["return 'much'"], "ValueError: could not convert string to float: 'much'"],
  ["returns nothing", ["pass"], /TypeError/],
  ["returns no finite number", ["return float('inf')"], "grade returned inf"],
  ["loops for ever", ["while True: pass"], "timed out"],
  ["swallows its alarm", ["while True:", "  try: 1 / 0", "  except BaseException: pass"], "timed out"],
  ["sleeps", ["import time", "time.sleep(60)"], "timed out"],
  ["fills the memory", ["a = [0] * 10 ** 9", "return 1"], /MemoryError|memory/],
  ["opens a socket", ["import socket", "socket.create_connection(('127.0.0.1', 80))"], /error|not allowed/i],
  ["fetches", ["import urllib.request", "urllib.request.urlopen('http://127.0.0.1')"], /error|not allowed/i],
  ["reads a file of the system", ["return len(open('/etc/passwd').read())"], /FileNotFoundError/],
  ["writes a file", ["open('/lib/x', 'w').write('x')"], /Read-only/],
  [
    "fills the disk",
    ["with open('/tmp/x', 'wb') as file:", "  while True: file.write(bytes(10 ** 6))"],
    /No space left/,
  ],
  ["forks", ["import os", "while True: os.fork()"], /error|not allowed/i],
  ["starts a process", ["import subprocess", "subprocess.run(['true'])"], /error|not allowed/i],
  ["leaves its process", ["import os", "os._exit(0)"], /not allowed/],
])(
  "a Python grader that %s has the reward 0 and a reason, and the next one runs",
  async (_, lines, reason) => {
    const start = performance.now();
    const { reward, errors } = await run(...lines);
    expect(performance.now() - start).toBeLessThan(20_000);
    expect(reward).toBe(0);
    expect(errors).toMatchObject({ python_grader_runtime_error: true, python_grader_server_error: false });
    expect(errors.python_grader_runtime_error_details).toMatch(reason);
    expect((await run("return len(sample['output_text'])")).reward).toBe(2);
  },
);

test("a sandbox that can start no process gives way to another, and nothing of either stays", async () => {
  const folder = await mkdtemp(join(tmpdir(), "mos-graders-"));
  vi.stubEnv("TMPDIR", folder);
  const own = new PythonGraders({ seconds: 60, memory: 512 * 2 ** 20, workers: 1 });
  const grader = parseGrader({ type: "python", source: "def grade(sample, item):\n    return 1" });
  const gradeOne = () => grade(grader, { item: {}, sample: readSample("") }, { python: own });
  try {
    const before = forked.mock.results.length;
    expect((await gradeOne()).reward).toBe(1);
    const children = forked.mock.results.slice(before).map(({ value }) => value as ChildProcess);
    forked.mockImplementation(() => fork("/no/jail", { silent: true }));
    await Promise.all(
      children.map(async (child) => {
        const exit = new Promise((resolve) => child.once("exit", resolve));
        child.kill("SIGKILL");
        await exit;
      }),
    );
    expect((await gradeOne()).errors.python_grader_server_error).toBe(true);
    forked.mockImplementation(fork);
    expect((await gradeOne()).reward).toBe(1);
    expect(await readdir(folder)).toHaveLength(2);
  } finally {
    forked.mockImplementation(fork);
    await own[Symbol.asyncDispose]();
    vi.unstubAllEnvs();
  }
  expect(await readdir(folder)).toEqual([]);
  await rmdir(folder);
});
