// The files of an origin, as a browser keeps them: against Node's own, among tabs, and where a worker ends.
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import * as node from "#platform";
import { fileStep, runFileStep } from "../file-steps.ts";
import { openPage, type WebPage } from "./page.ts";

/** A worker over the origin's files; `ask` calls one of its methods. */
const WORKER = `
  const { Caller } = await import("/mos/rpc.js");
  const { portChannel } = await import("/mos/channel.js");
  const openFiles = async () => {
    const worker = new Worker("/mos/files-worker.js", { type: "module" });
    const caller = new Caller(portChannel(worker));
    const ask = (method, argument) => caller.call(method, argument);
    await ask("open", {});
    return { worker, caller, ask };
  };`;

let web: WebPage;
beforeAll(async () => {
  web = await openPage();
  await web.run(`${WORKER} globalThis.files = await openFiles();`);
});
afterAll(() => web?.[Symbol.asyncDispose]());

test("files of a browser behave as those on a disk", async () => {
  const disk = await mkdtemp(join(tmpdir(), "mos-opfs-"));
  let rounds = 0;
  try {
    await fc.assert(
      fc.asyncProperty(fc.array(fileStep, { minLength: 5, maxLength: 25 }), async (steps) => {
        const root = join(disk, String(++rounds));
        await mkdir(root);
        const expected: unknown[] = [];
        for (const step of steps) expected.push(await runFileStep(node, root, step));
        const found = await web.run<unknown[]>(`return files.ask("steps", argument);`, {
          root: `/steps-${rounds}`,
          steps,
        });
        // what is undefined is null in JSON
        expect(JSON.parse(JSON.stringify(found))).toEqual(JSON.parse(JSON.stringify(expected)));
      }),
      { numRuns: 20, endOnFailure: true },
    );
  } finally {
    await rm(disk, { recursive: true });
  }
});

test("a folder that a tab has locked is in use for another, until the tab is closed", async () => {
  const first = await web.openTab();
  await first.run(`${WORKER} globalThis.files = await openFiles(); await files.ask("lock", argument);`, {
    folder: "/locked",
  });
  const lock = `return files.ask("lock", { folder: "/locked" }).then(() => "locked", ({ code, message }) => code + ": " + message);`;
  expect(await web.run(lock)).toMatch(/^bad_option: the folder \/locked is in use by .*wait for it/);
  await first[Symbol.asyncDispose]();
  // a browser ends the worker of a tab some time after the tab
  await expect.poll(() => web.run(lock), { timeout: 10_000 }).toBe("locked");
});

test("a worker that is ended at any moment leaves whole files and folders, and nothing else", async () => {
  for (let round = 0; round < 4; round++) {
    const milliseconds = Math.round(400 * Math.random());
    const { last, versions, names, lines } = await web.run<{
      last: number;
      versions: number[];
      names: string[];
      lines: { version: unknown }[];
    }>(
      `${WORKER}
      const readLocks = async () => (await navigator.locks.query()).held.map(({ name }) => name);
      const before = await readLocks();
      const { worker, caller } = await openFiles();
      const locks = (await readLocks()).filter((name) => !before.includes(name));
      const { folder, milliseconds } = argument;
      const end = () => { worker.terminate(); caller.fail(new Error("ended")); };
      let last = -1;
      try {
        for await (const version of caller.stream("versions", { folder })) {
          if (version === 1) setTimeout(end, milliseconds);
          last = version;
        }
      } catch {}
      // which is when the worker has ended for others
      while ((await readLocks()).some((name) => locks.includes(name))) await new Promise((resolve) => setTimeout(resolve, 10));
      const other = await openFiles();
      const found = await other.ask("found", { folder });
      other.worker.terminate();
      return { ...found, last };`,
      { folder: `/versions-${round}`, milliseconds },
    );
    const where = `ended after ${milliseconds} ms, at ${last}: ${versions}`;
    // the file is written first
    expect(versions[0], where).toBeGreaterThanOrEqual(last);
    expect(new Set(versions.slice(1)).size, where).toBe(1);
    expect([versions[0]! - 1, versions[0]], where).toContain(versions[1]);
    // the next change takes over its lock
    const others = names.filter((name) => !name.startsWith(".changing.json"));
    expect(others, where).toEqual(["a", "b", "deep", "file", "lines.jsonl", "whole"]);
    expect(
      lines.slice(0, -1).map(({ version }) => version),
      where,
    ).toEqual(lines.slice(0, -1).map((_, i) => i));
    expect(lines.at(-1)).toEqual({ version: "last" });
  }
});
