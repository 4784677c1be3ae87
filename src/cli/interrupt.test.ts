import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";

const folder = mkdtempSync(join(tmpdir(), "mos-interrupt-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** On a terminal it is busy, as it is in a step of a large model: no listener runs. */
const program = (isTerminal: boolean) => `
import { listenForInterrupt } from ${JSON.stringify(new URL("./interrupt.ts", import.meta.url).href)};
listenForInterrupt("saving", { isTerminal: ${isTerminal} });
setTimeout(() => process.stdout.write("ready"), 1500);
${isTerminal ? "setTimeout(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20_000), 1600);" : ""}
setTimeout(() => undefined, 20_000);`;

/** Starts it in a group of processes of its own, which gets Ctrl-C as a whole. */
async function startProgram(isTerminal: boolean): Promise<ChildProcess> {
  const path = join(folder, `${isTerminal}.mts`);
  writeFileSync(path, program(isTerminal));
  const child = spawn(process.execPath, ["--conditions=source", "--import", "tsx", path], {
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const heard = await Promise.race([once(child.stdout, "data"), once(child.stderr, "data")]);
  expect(String(heard[0])).toBe("ready");
  await new Promise((resolve) => setTimeout(resolve, 300));
  return child;
}

/** What it says to Ctrl-C, and after how many seconds. */
async function pressControlC({ pid = 0, stderr }: ChildProcess) {
  const start = performance.now();
  const heard = once(stderr!, "data");
  process.kill(-pid, "SIGINT");
  return { said: String((await heard)[0]), seconds: (performance.now() - start) / 1000 };
}

test.concurrent.each([true, false])(
  "Ctrl-C is answered at once and a second one ends the program, also while it is busy: %s",
  async (isTerminal) => {
    const child = await startProgram(isTerminal);
    const first = await pressControlC(child);
    const ended = once(child, "close");
    const second = await pressControlC(child);
    const [code, signal] = await ended;
    expect(first.said).toBe("saving; Ctrl-C again exits at once\n");
    expect(second.said).toBe("exiting at once\n");
    expect([code, signal]).toEqual(isTerminal ? [null, "SIGKILL"] : [130, null]);
    expect(first.seconds).toBeLessThan(2);
    expect(second.seconds).toBeLessThan(2);
  },
);
