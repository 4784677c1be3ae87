// Processes that compute end soon after their parent, also where their main thread hears nothing, and tell whether they compute.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { onComputing, startChild } from "../src/worker/child.ts";
import { stateOf } from "./processes.ts";

/** Computes without a pause, as a step does, once it is told to. */
const ENTRY = `
process.on("disconnect", () => process.exit());
process.on("message", () => { for (;;); });
process.send("ready");`;

let folder: string;
let entry: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-child-"));
  entry = join(folder, "entry.mts");
  await writeFile(entry, ENTRY);
});
afterAll(() => rm(folder, { recursive: true }));

test("a child in the middle of a step ends when its parent is killed", async () => {
  const parent = `
    import { startChild } from ${JSON.stringify(join(import.meta.dirname, "../src/worker/child.ts"))};
    const child = startChild(${JSON.stringify(entry)});
    child.once("message", () => child.send("go", () => console.log(child.pid)));`;
  const source = join(folder, "parent.ts");
  await writeFile(source, parent);
  const started = spawn(process.execPath, ["--conditions=source", "--import", "tsx", source], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = (await once(createInterface(started.stdout), "line")) as [string];
  const pid = Number(line);
  try {
    await vi.waitFor(async () => expect(await stateOf(pid)).toBe("R"), { timeout: 10_000 });
    started.kill("SIGKILL");
    await vi.waitFor(async () => expect(await stateOf(pid)).toBeUndefined(), { timeout: 10_000 });
  } finally {
    if ((await stateOf(pid)) !== undefined) process.kill(pid, "SIGKILL");
  }
});

test("a child that waits counts as idle, and one that computes does not", async () => {
  const child = startChild(entry);
  try {
    await once(child, "message");
    await new Promise((resolve) => setTimeout(resolve, 2000));
    let beats = 0;
    onComputing(child, () => beats++);
    await new Promise((resolve) => setTimeout(resolve, 3000));
    expect(beats).toBe(0);
    child.send("go");
    await vi.waitFor(() => expect(beats).toBeGreaterThan(0), { timeout: 10_000 });
  } finally {
    child.kill("SIGKILL");
  }
});
