// Processes that compute end soon after their parent, also where their main thread hears nothing, and tell whether they compute.
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startChild } from "mixture-of-shards-core/process";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { processState } from "./processes.ts";

const inRoot = (path: string): string => JSON.stringify(join(import.meta.dirname, "../../..", path));
const inSource = (path: string): string => JSON.stringify(join(import.meta.dirname, "../src", path));

const ENTRY = `
import { serveParent } from ${inRoot("packages/core/src/process/index.ts")};
serveParent({ start: () => undefined, compute: () => { for (;;); } });`;

/** Has a child compute without a pause from its first message on, and say so in a file that is named after its parent. */
const BUSY = `
import { writeFileSync } from "node:fs";
import { join } from "node:path";
const compute = () => {
  writeFileSync(join(import.meta.dirname, String(process.ppid)), String(process.pid));
  for (;;);
};
process.on("newListener", (event, listener) => {
  if (event === "message" && listener !== compute) process.prependListener("message", compute);
});`;

/** Two processes start that load the service's sources. */
const STARTED = { timeout: 60_000 };
const ENDED = { timeout: 10_000 };

let folder: string;
let entry: string;
let busy: string;
/** A file that is not checked in the process of its checker. */
let large: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-child-"));
  entry = join(folder, "entry.mts");
  await writeFile(entry, ENTRY);
  busy = join(folder, "busy.mjs");
  await writeFile(busy, BUSY);
  large = join(folder, "train.jsonl");
  await writeFile(large, "\n".repeat(1 << 20));
});
afterAll(() => rm(folder, { recursive: true }));

/** What starts a process that then computes without a pause. */
const PARENTS = {
  startChild: () => `
    import { startChild } from ${inRoot("packages/core/src/process/index.ts")};
    void startChild(${JSON.stringify(entry)}, { exitError: Error }).call("compute");`,
  "an engine": () => `
    import { openEngine } from ${inRoot("packages/core/src/inference/index.ts")};
    await openEngine({ model: ${inRoot("assets/tiny-english")} });`,
  "a table's decoder": () => `
    import { readParquetRows } from ${inRoot("packages/core/src/files/index.ts")};
    for await (const row of readParquetRows("train.parquet", { maximumRows: 1, maximumUnpackedBytes: 1 }));`,
  "a check of a file": () => `
    import { createFileChecker } from ${inSource("worker/tasks.ts")};
    void createFileChecker()(${JSON.stringify(large)}, { tenant: "acme", signal: new AbortController().signal });`,
  "a conversion": () => `
    import { openPeftFolder } from ${inSource("publish.ts")};
    const models = new Map([["ft:tiny:acme::12345678", {}]]);
    const peft = await openPeftFolder({
      ...{ folder: ${JSON.stringify(join(folder, "peft"))}, baseName: "tiny", model: "tiny", modelName: "tiny" },
      models: { published: async () => models, files: async (name) => models.get(name) },
      ...{ objects: { restore: async () => undefined }, signal: new AbortController().signal },
      log: { warn: console.error },
    });
    await peft.sync();`,
};

test.each(Object.entries(PARENTS))("the process of %s ends when its parent is killed", async (_, parent) => {
  const source = join(folder, "parent.mts");
  await writeFile(source, `process.execArgv.push("--import", ${JSON.stringify(busy)});${parent()}`);
  const started = spawn(process.execPath, ["--conditions=source", "--import", "tsx", source], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  let child: number | undefined;
  try {
    child = Number(await vi.waitFor(() => readFile(join(folder, String(started.pid)), "utf8"), STARTED));
    started.kill("SIGKILL");
    await vi.waitFor(async () => expect(await processState(Number(child))).toBeUndefined(), ENDED);
  } finally {
    started.kill("SIGKILL");
    if (child !== undefined && (await processState(child)) !== undefined) process.kill(child, "SIGKILL");
  }
});

test("a child that waits counts as idle, and one that computes does not", async () => {
  const methods = { start: () => undefined, compute: () => undefined };
  const child = startChild<typeof methods>(entry, { exitError: Error });
  try {
    await child.call("start", undefined);
    await new Promise((resolve) => setTimeout(resolve, 2000));
    let beats = 0;
    child.onHeartbeat = (isComputing) => {
      if (isComputing) beats++;
    };
    await new Promise((resolve) => setTimeout(resolve, 3000));
    expect(beats).toBe(0);
    child.notify("compute", undefined);
    await vi.waitFor(() => expect(beats).toBeGreaterThan(0), { timeout: 10_000 });
  } finally {
    child.kill();
  }
});
