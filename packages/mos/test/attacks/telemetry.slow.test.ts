// ONNX Runtime's builds watch their users unless they are told not to.
import { spawnSync } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

let home: string;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "mos-home-"));
});
afterAll(() => rm(home, { recursive: true, force: true }));

const MODEL = "assets/tiny-english";
/** A server has time to think of its maker. */
const COMMANDS = {
  generate: ["generate", "--model", MODEL, "--prompt", "Hi", "--max-tokens", "2"],
  serve: ["serve", "--model", MODEL, "--port", "0"],
} as const;
const SECONDS = "20";

const environment = () => ({
  PATH: process.env["PATH"],
  HOME: home,
  XDG_CACHE_HOME: join(home, "cache"),
  TMPDIR: join(home, "tmp"),
});
const node = [
  "timeout",
  SECONDS,
  process.execPath,
  "--conditions=source",
  "--import",
  "tsx",
  "packages/mos/src/cli/main.ts",
];
/** Runs a program to its end, or until its time is over. */
function run([program = "", ...args]: readonly string[]): string {
  const { status, stderr } = spawnSync(program, args, { env: environment(), encoding: "utf8" });
  expect([0, 124], stderr).toContain(status);
  return stderr;
}

const hasStrace = spawnSync("strace", ["-V"]).status === 0;

describe.each(Object.entries(COMMANDS))("%s", (_, command) => {
  test("leaves no file behind", async () => {
    await mkdir(join(home, "tmp"), { recursive: true });
    run([...node, ...command]);
    const files = await readdir(home, { recursive: true, withFileTypes: true });
    const left = files.filter((file) => file.isFile()).map((file) => join(file.parentPath, file.name));
    expect(left.filter((path) => !path.includes("/tmp/tsx-"))).toEqual([]);
  });

  test.skipIf(!hasStrace)("resolves no name and connects to no network", async () => {
    const trace = join(home, "trace.txt");
    run(["strace", "-f", "-e", "trace=connect,sendto,sendmmsg", "-o", trace, ...node, ...command]);
    const lines = (await readFile(trace, "utf8")).split("\n");
    expect(lines.filter((line) => /AF_INET|nscd/.test(line))).toEqual([]);
    await rm(trace);
  });
});
