import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, onTestFinished, test } from "vitest";
import { bundleProgram } from "../../../../test/bundle-program.ts";

const folder = mkdtempSync(join(tmpdir(), "mos-interrupt-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** On a terminal it is busy for ever when it is told to, as it is for long in a step of a large model: no listener runs. */
const program = (isTerminal: boolean) => `
import { writeSync } from "node:fs";
import { listenForInterrupt } from "./interrupt.ts";
listenForInterrupt("saving", { isTerminal: ${isTerminal} });
writeSync(1, "listening");
process.stdin.on("data", () => {
  writeSync(1, "ready");
  ${isTerminal ? "Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);" : ""}
});`;

const hear = async (child: ChildProcess, stream: "stdout" | "stderr"): Promise<string> =>
  String((await once(child[stream]!, "data"))[0]);

/** Tests whether the watcher of a process listens to its standard input, as it does once it listens to Ctrl-C. */
function isWatched(pid: number): boolean {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ");
  const watcher = children.find((child) => readFileSync(`/proc/${child}/cmdline`, "utf8").includes("SIGINT"));
  if (watcher === undefined) return false;
  const files = `/proc/${watcher}/fdinfo`;
  // of epoll
  return readdirSync(files).some((file) => /^tfd:\s+0 /m.test(readFileSync(join(files, file), "utf8")));
}

/** Starts it in a group of processes of its own, which gets Ctrl-C as a whole. */
async function startProgram(isTerminal: boolean): Promise<ChildProcess> {
  const path = join(folder, `${isTerminal}.mjs`);
  bundleProgram(program(isTerminal), { folder: import.meta.dirname, to: path });
  const child = spawn(process.execPath, [path], { detached: true, stdio: ["pipe", "pipe", "pipe"] });
  onTestFinished(() => void child.kill("SIGKILL"));
  expect(await Promise.race([hear(child, "stdout"), hear(child, "stderr")])).toBe("listening");
  if (isTerminal) await expect.poll(() => isWatched(child.pid ?? 0)).toBe(true);
  child.stdin!.write("go on");
  expect(await hear(child, "stdout")).toBe("ready");
  return child;
}

/** What it says to Ctrl-C. */
async function pressControlC(child: ChildProcess): Promise<string> {
  const heard = hear(child, "stderr");
  process.kill(-(child.pid ?? 0), "SIGINT");
  return await heard;
}

// only Linux tells what another process listens to
test.runIf(process.platform === "linux").each([true, false])(
  "Ctrl-C is answered at once and a second one ends the program, also while it is busy: %s",
  async (isTerminal) => {
    const child = await startProgram(isTerminal);
    const ended = once(child, "close");
    expect(await pressControlC(child)).toBe("saving; Ctrl-C again exits at once\n");
    expect(await pressControlC(child)).toBe("exiting at once\n");
    expect(await ended).toEqual(isTerminal ? [null, "SIGKILL"] : [130, null]);
  },
);
