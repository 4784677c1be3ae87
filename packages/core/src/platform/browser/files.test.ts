// A page's files against Node's own on a disk: the same calls have the same results, and errors of the same codes.
import { mkdtemp as makeRealFolder, rm as removeReal } from "node:fs/promises";
import { tmpdir } from "node:os";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { fileStep, runFileStep } from "../../../test/file-steps.ts";
import * as node from "../node/index.ts";
import { BlobVolume } from "./blob-volume.ts";
import * as browser from "./index.ts";

let disk: string;
beforeAll(async () => {
  disk = await makeRealFolder(`${tmpdir()}/mos-volume-`);
});
afterAll(() => removeReal(disk, { recursive: true, force: true }));

let rounds = 0;

test("files in memory behave as those on a disk", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fileStep, { maxLength: 25 }), async (all) => {
      const root = `${disk}/${++rounds}`;
      await node.mkdir(root);
      await browser.mkdir(root, { recursive: true });
      for (const step of all)
        expect(await runFileStep(browser, root, step)).toEqual(await runFileStep(node, root, step));
    }),
    { numRuns: 150 },
  );
});

test("an open file stays readable when it is replaced, and a file has another number by then", async () => {
  const write = async (text: string): Promise<void> => {
    await using file = await browser.open("/tmp/new", "w");
    await file.writeFile(text);
  };
  await write("first");
  await browser.rename("/tmp/new", "/tmp/kept");
  const before = await browser.stat("/tmp/kept", { bigint: true });
  await using open = await browser.open("/tmp/kept", "r");
  await write("other");
  await browser.rename("/tmp/new", "/tmp/kept");
  const bytes = new Uint8Array(5);
  await open.read(bytes, 0, 5, 0);
  expect(new TextDecoder().decode(bytes)).toBe("first");
  expect(browser.readSync(open.fd, bytes, 0, 5, 2)).toBe(3);
  expect(await browser.readFile("/tmp/kept", "utf8")).toBe("other");
  expect((await browser.stat("/tmp/kept", { bigint: true })).ino).not.toBe(before.ino);
});

test("blobs are files that nobody changes", async () => {
  const files = { "model/config.json": new Blob(["{}"]), "model/deep/x": new Blob(["x"]) };
  browser.mount("/given", new BlobVolume(files));
  expect(await browser.readdir("/given")).toEqual(["model"]);
  expect((await browser.readdir("/given/model")).sort()).toEqual(["config.json", "deep"]);
  expect(await browser.readFile("/given/model/config.json", "utf8")).toBe("{}");
  expect((await browser.stat("/given/model/deep")).isDirectory()).toBe(true);
  await expect(browser.stat("/given/model/none")).rejects.toMatchObject({ code: "ENOENT" });
  await expect(browser.open("/given/model/new", "w")).rejects.toMatchObject({ code: "EROFS" });
  await expect(browser.rename("/given/model/config.json", "/tmp/x")).rejects.toMatchObject({ code: "EROFS" });
  browser.unmount("/given");
  await expect(browser.stat("/given")).rejects.toMatchObject({ code: "ENOENT" });
});

test("turns come in order, and sleep ends with its signal", async () => {
  const seen: number[] = [];
  await Promise.all([1, 2, 3].map((turn) => browser.nextTurn().then(() => seen.push(turn))));
  expect(seen).toEqual([1, 2, 3]);
  await expect(browser.sleep(60_000, { signal: AbortSignal.timeout(5) })).rejects.toMatchObject({
    name: "AbortError",
  });
});
