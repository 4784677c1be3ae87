// What only a process of its own shows: the exit code, what native code prints, closed pipes, kills.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type TinyFolder, writeTinyFolder } from "../../../core/test/tiny-folder.ts";
import { snapshot } from "./run-mos.ts";

let folder: string;
let tiny: TinyFolder;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-bad-process-"));
  tiny = await writeTinyFolder(folder);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const start = (args: readonly string[]): ChildProcess =>
  spawn(
    process.execPath,
    ["--conditions=source", "--import", "tsx", "packages/mos/src/cli/main.ts", ...args],
    {
      stdio: ["ignore", "pipe", "pipe"],
    },
  );

async function ended(child: ChildProcess) {
  const closed = new Promise<readonly [number | null, NodeJS.Signals | null]>((resolve) =>
    child.on("close", (code, signal) => resolve([code, signal])),
  );
  const [stdout, stderr] = await Promise.all([text(child.stdout!), text(child.stderr!)]);
  const [code, signal] = await closed;
  return { code, signal, stdout, stderr };
}

const train = (out: string, ...more: readonly string[]): readonly string[] => [
  ...["train", "--model", tiny.model, "--data", tiny.data, "--out", out, "--rank", "3", "--quiet"],
  ...[
    "--shards-per-vector",
    "2",
    "--max-length",
    "64",
    "--validation-split",
    "0",
    "--save-every",
    "1",
    ...more,
  ],
];

test("a device that is not there: one line, exit code 1, and nothing in the out folder", async () => {
  const before = await snapshot(folder);
  const device = process.platform === "linux" ? "cuda" : "webgpu";
  const result = await ended(start(train(join(folder, "out"), "--steps", "1", "--device", device)));
  if (result.code === 0) return; // this machine has it
  expect(result).toMatchObject({ code: 1, stdout: "" });
  expect(result.stderr).toMatch(/^mos: device \w+ could not start: .*; .* or use the device cpu\n$/);
  expect(await snapshot(folder)).toEqual(before);
});

test("a wrong option and a wrong model have their exit codes", async () => {
  const [option, model] = await Promise.all([
    ended(start(["generate", "--model", tiny.model, "--prompt", "Hi", "--top-p", "7"])),
    ended(start(["generate", "--model", folder, "--prompt", "Hi"])),
  ]);
  expect(option).toMatchObject({
    code: 2,
    stdout: "",
    stderr:
      "mos: option '--top-p <p>' argument '7' is invalid. Expected a number above 0 and up to 1; see mos generate --help\n",
  });
  expect(model).toMatchObject({ code: 1, stdout: "" });
  expect(model.stderr).toMatch(/^mos: .*there is no config\.json and no \.gguf file.*\n$/);
});

test("a reader that closes the pipe causes no error and no output", async () => {
  const child = start(["params", "--list-presets", "--json"]);
  child.stdout?.destroy();
  const closed = new Promise<number | null>((resolve) => child.on("close", resolve));
  expect(await text(child.stderr!)).toBe("");
  expect(await closed).toBe(0);
});

test("a run that is killed while it saves leaves only complete files, and resumes", async () => {
  const out = join(folder, "killed");
  const args = train(out, "--steps", "40", "--json");
  const child = start(args);
  child.stdout?.on("data", (chunk: Buffer) => {
    if (chunk.includes('"checkpoint"')) child.kill("SIGKILL");
  });
  expect(await ended(child)).toMatchObject({ signal: "SIGKILL", stderr: "" });
  expect(await readdir(out)).not.toContain("adapter_config.json");
  const resumed = await ended(start([...args, "--resume"]));
  expect(resumed).toMatchObject({ code: 0, stderr: "" });
  expect((await readdir(out)).sort()).toEqual([
    "adapter_config.json",
    "adapter_model.safetensors",
    "checkpoints",
    "metrics.jsonl",
    "run.json",
  ]);
});
