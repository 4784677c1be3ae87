import { spawnSync } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, expect, test } from "vitest";
import type { CallContext } from "#common";
import { bundleProgram } from "../../../../test/bundle-program.ts";
import { type Child, childOptions, startChild } from "./child.ts";

const ENTRY = `
import { MosError } from "#common";
import { serveParent } from "./index.ts";
serveParent({
  add: (numbers) => numbers.reduce((a, b) => a + b, 0),
  refuse: () => { throw new MosError("bad_data", "line 2 is broken"); },
  count: async (last, { emit }) => {
    for (let i = 1; i <= last; i++) emit(i);
    return "counted";
  },
  wait: (how, { signal }) => new Promise((resolve) => {
    if (how === "politely") signal.addEventListener("abort", () => resolve("aborted"));
  }),
  crash: () => {
    process.stderr.write("out of cheese\\n");
    process.exit(7);
  },
});`;

interface Served {
  readonly add: (numbers: readonly number[]) => number;
  readonly refuse: () => void;
  readonly count: (last: number, context: CallContext<number>) => string;
  readonly wait: (how: "politely" | "deafly") => string;
  readonly crash: () => void;
}
type Methods = { readonly [Name in keyof Served]: Served[Name] };

const folder = mkdtempSync(join(tmpdir(), "mos-child-test-"));
const entry = join(folder, "entry.mjs");
bundleProgram(ENTRY, { folder: import.meta.dirname, to: entry });
afterAll(() => rm(folder, { recursive: true }));

const start = (): Child<Methods> =>
  startChild(entry, {
    stderr: "pipe",
    exitError: (how, output) => new Error(`ended by ${how}: ${output}`),
  });

test("methods have results, events and errors", async () => {
  await using child = start();
  const results = await Promise.all([
    child.call("add", [1, 2, Number.POSITIVE_INFINITY]),
    child.call("add", [4]),
  ]);
  expect(results).toEqual([Number.POSITIVE_INFINITY, 4]);
  await expect(child.call("refuse", undefined)).rejects.toMatchObject({ code: "bad_data" });
  const events = child.stream("count", 2);
  expect([await events.next(), await events.next(), await events.next()]).toEqual([
    { done: false, value: 1 },
    { done: false, value: 2 },
    { done: true, value: "counted" },
  ]);
});

test("an aborted call ends by itself, or with its process, which keeps nothing open", async () => {
  const child = start();
  const [polite, deaf] = [new AbortController(), new AbortController()];
  const asked = child.call("wait", "politely", { signal: polite.signal, killAfter: 60 });
  const killed = child.call("wait", "deafly", { signal: deaf.signal, killAfter: 0.05 });
  polite.abort();
  expect(await asked).toBe("aborted");
  expect(child.isAlive).toBe(true);
  deaf.abort(new Error("no longer"));
  await expect(killed).rejects.toThrow("no longer");
  expect(child.isAlive).toBe(false);
  await expect(child.call("add", [1])).rejects.toThrow("no longer");
  await child.exited;
});

test("the end of a process is one error for all its calls, which names code or signal", async () => {
  const child = start();
  const calls = [child.call("wait", "deafly"), child.call("crash", undefined)];
  for (const call of calls) await expect(call).rejects.toThrow(/^ended by exit code 7: out of cheese$/);
  const late = start();
  await expect(late.call("wait", "deafly", { timeout: 0.05 })).rejects.toThrow(/^ended by SIGKILL/);
});

/** Runs a script, for at most some seconds, as a process with few files. */
function runScript(source: string) {
  const script = join(folder, "script.mjs");
  const contents = `import { startChild } from "./index.ts";\n${source}`;
  bundleProgram(contents, { folder: import.meta.dirname, to: script });
  const command = ["-c", 'ulimit -n 256; exec "$0" "$@"', process.execPath, script];
  const { stdout, stderr, status } = spawnSync("sh", command, { encoding: "utf8", timeout: 50_000 });
  return { stdout, stderr, status };
}

test.skipIf(process.platform === "win32")("a child without a call does not keep its parent", () => {
  const run = runScript(`
const child = startChild(${JSON.stringify(entry)}, { stderr: "pipe", exitError: () => new Error("ended") });
console.log(await child.call("add", [1, 2]));`);
  expect(run).toEqual({ stdout: "3\n", stderr: "", status: 0 });
});

test.skipIf(process.platform === "win32")(
  "where no process can be started, for want of open files, calls say so and nothing else breaks",
  () => {
    const run = runScript(`
import { openSync } from "node:fs";
try {
  for (;;) openSync("/dev/null");
} catch {}
await using child = startChild(${JSON.stringify(entry)}, { exitError: () => new Error("ended") });
const { code, message } = await child.call("add", [1]).catch((error) => error);
console.log(code, message);`);
    expect(run).toMatchObject({ stderr: "", status: 0 });
    expect(run.stdout).toMatch(/^device .* cannot be started: .*EMFILE/);
  },
);

const { execArgv } = process;
afterEach(() => {
  process.execArgv = execArgv;
});

test.each([
  [["-e", "run()", "--no-warnings"]],
  [["--no-warnings", "--input-type=module", "--eval", "run()"]],
  [["--input-type", "module", "--no-warnings", "-p", "-e", "run()"]],
  [["--no-warnings", "--eval=run()", "--input-type=module"]],
])("a child does not run the script of the command line: %s", (options) => {
  process.execArgv = options;
  expect(childOptions("entry.js")).toEqual(["--no-warnings"]);
});

test("a child that runs a source has the loader of this process, or one", () => {
  process.execArgv = ["--import", "file:///tsx/loader.mjs", "-e", "run()"];
  expect(childOptions("entry.ts")).toEqual(["--import", "file:///tsx/loader.mjs"]);
  process.execArgv = [];
  expect(childOptions("entry.ts")).toEqual(["--conditions=source", "--import", "tsx"]);
});
