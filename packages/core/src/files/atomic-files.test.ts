import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { z } from "zod";
import { thisWriter } from "#platform";
import {
  openAtomicFile,
  openForReading,
  readBytes,
  readJson,
  removeLeftovers,
  writeFileAtomic,
} from "./atomic-files.ts";
import { restoreFolder, writeFolderAtomic } from "./folders.ts";
import { storageError } from "./system-error.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "mos-files-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string) => join(folder, name);

test("a file is written whole and replaces the old one", async () => {
  await writeFileAtomic(at("a.txt"), "old");
  await writeFileAtomic(at("a.txt"), "new ✓");
  expect(readFileSync(at("a.txt"), "utf8")).toBe("new ✓");
  expect(readdirSync(folder)).toEqual(["a.txt"]);
});

test("a file that is not committed leaves nothing and keeps the old content", async () => {
  await writeFileAtomic(at("a"), "old");
  {
    await using file = await openAtomicFile(at("a"));
    await file.write(new TextEncoder().encode("half"));
    expect(readFileSync(at("a"), "utf8")).toBe("old");
  }
  expect(readFileSync(at("a"), "utf8")).toBe("old");
  expect(readdirSync(folder)).toEqual(["a"]);
});

test("a missing folder and a folder in place of the file are different errors", async () => {
  await expect(writeFileAtomic(at("no/a"), "x")).rejects.toMatchObject({
    code: "not_found",
    message: expect.stringMatching(/no such file or folder/),
  });
  mkdirSync(at("taken"));
  await expect(writeFileAtomic(at("taken"), "x")).rejects.toMatchObject({
    code: "storage",
    message: expect.stringMatching(/found a folder/),
  });
  expect(readdirSync(folder)).toEqual(["taken"]);
});

test.skipIf(process.getuid?.() === 0)(
  "a folder without permission (not for root, who may write anywhere)",
  async () => {
    mkdirSync(at("locked"));
    chmodSync(at("locked"), 0o500);
    await expect(writeFileAtomic(at("locked/a"), "x")).rejects.toMatchObject({
      code: "storage",
      message: expect.stringMatching(/permission/),
    });
  },
);

test.skipIf(!existsSync("/dev/full"))("a full disk is a storage error (needs /dev/full)", async () => {
  const { open } = await import("node:fs/promises");
  const handle = await open("/dev/full", "w");
  const failure = await handle.write("x").catch((error: unknown) => storageError(error, "out.bin"));
  await handle.close();
  expect(failure).toMatchObject({
    code: "storage",
    message: "out.bin: the disk is full; free some space or choose another folder",
  });
});

test("each error of the file system has a message", () => {
  const failed = (code: string) => storageError(Object.assign(new Error("x"), { code }), "p");
  for (const code of ["ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM"])
    expect(failed(code)).toMatchObject({
      code: "storage",
      message: expect.stringMatching(/choose another folder|can be written/),
    });
  expect(failed("ENOENT").code).toBe("not_found");
  expect(failed("EWEIRD").message).toBe("p: could not be read or written (x)");
});

test("partial files of a dead writer, or of one that had this process's id, are removed; others are kept", async () => {
  const { pid, start, place } = thisWriter;
  const dead = `999999999-1-${place}-00000000.partial`;
  const kept = [
    `.a.${pid}-${start}-${place}-00000000.partial`,
    `.a.1-1-00000000-00000000.partial`,
    `.b.${dead}`,
  ];
  // in containers every process has the id 1
  const gone = [`.a.${pid}-1-${place}-00000000.partial`, `.a.${dead}`];
  for (const name of [...kept, ...gone]) writeFileSync(at(name), "");
  await writeFileAtomic(at("a"), "x");
  expect(readdirSync(folder).sort()).toEqual([...kept, "a"].sort());
});

test("a partial file of another container is removed when nobody has touched it for a while", async () => {
  const [silent, written] = [at(".a.1-1-00000000-00000000.partial"), at(".a.1-2-00000000-00000000.partial")];
  for (const path of [silent, written]) writeFileSync(path, "");
  const clock = vi.spyOn(performance, "now");
  const start = performance.now();
  for (const seconds of [0, 20, 29]) {
    clock.mockReturnValue(start + 1000 * seconds);
    utimesSync(written, seconds, seconds); // whatever the time there
    await removeLeftovers(folder);
    expect([silent, written].map((path) => existsSync(path))).toEqual([true, true]);
  }
  clock.mockReturnValue(start + 31_000);
  await removeLeftovers(folder);
  clock.mockRestore();
  expect([silent, written].map((path) => existsSync(path))).toEqual([false, true]);
});

test("what is written is touched as long as its process runs", async () => {
  vi.useFakeTimers();
  try {
    await using file = await openAtomicFile(at("a"));
    const [partial = ""] = readdirSync(folder);
    utimesSync(at(partial), 1, 1);
    vi.advanceTimersByTime(6000);
    await expect.poll(() => statSync(at(partial)).mtimeMs).toBeGreaterThan(1000);
    await file.commit();
  } finally {
    vi.useRealTimers();
  }
});

test("a folder is replaced as a whole, or not at all", async () => {
  await writeFolderAtomic(at("out"), (inner) => writeFileAtomic(join(inner, "one"), "1"));
  await writeFolderAtomic(at("out"), (inner) => writeFileAtomic(join(inner, "two"), "2"));
  expect(readdirSync(at("out"))).toEqual(["two"]);
  const failing = writeFolderAtomic(at("out"), async (inner) => {
    await writeFileAtomic(join(inner, "three"), "3");
    throw new Error("no");
  });
  await expect(failing).rejects.toMatchObject({ code: "storage" });
  const deeper = writeFolderAtomic(at("out"), (inner) => writeFileAtomic(join(inner, "no/three"), "3"));
  await expect(deeper).rejects.toThrow(`${at("out/no/three")}: no such file or folder`);
  expect(readdirSync(at("out"))).toEqual(["two"]);
  expect(readdirSync(folder)).toEqual(["out"]);
});

test("a writer killed between the two renames loses nothing", async () => {
  await writeFolderAtomic(at("out"), (inner) => writeFileAtomic(join(inner, "one"), "1"));
  renameSync(at("out"), at(".out.replaced"));
  await restoreFolder(at("out"));
  expect(readdirSync(at("out"))).toEqual(["one"]);
  // killed before the old folder was removed: the new one stays
  mkdirSync(at(".out.replaced"));
  await restoreFolder(at("out"));
  expect(readdirSync(folder)).toEqual(["out"]);
});

test("reads are bounded and whole", async () => {
  writeFileSync(at("a"), "12345");
  await expect(readBytes(at("a"), { code: "bad_data", maximumBytes: 4 })).rejects.toMatchObject({
    code: "bad_data",
    message: expect.stringMatching(/the file has 5 bytes/),
  });
  await using file = await openForReading(at("a"), "bad_model");
  await expect(file.read(new Uint8Array(4), 3)).rejects.toMatchObject({
    code: "bad_model",
    message: expect.stringMatching(/ends at byte 5, but 7 bytes were expected/),
  });
  await expect(readBytes(folder, { code: "bad_data" })).rejects.toMatchObject({
    code: "bad_data",
    message: expect.stringMatching(/found a folder/),
  });
  await expect(readBytes(at("none"), { code: "bad_data" })).rejects.toMatchObject({ code: "not_found" });
});

test("readJson names the file and the field", async () => {
  const schema = z.object({ rope: z.object({ factor: z.number() }) });
  const read = () => readJson(at("c.json"), schema, { code: "bad_model" });
  writeFileSync(at("c.json"), '{"rope":{"factor":"8"}}');
  await expect(read()).rejects.toMatchObject({
    code: "bad_model",
    message: expect.stringMatching(/c\.json: field "rope.factor" is .*; expected a number/),
  });
  writeFileSync(at("c.json"), '{"rope":');
  await expect(read()).rejects.toMatchObject({
    code: "bad_model",
    message: expect.stringMatching(/not valid JSON/),
  });
  writeFileSync(at("c.json"), Uint8Array.of(0x22, 0xff, 0x22));
  await expect(read()).rejects.toMatchObject({
    code: "bad_model",
    message: expect.stringMatching(/not valid UTF-8/),
  });
  writeFileSync(at("c.json"), '{"rope":{"factor":8}}');
  expect(await read()).toEqual({ rope: { factor: 8 } });
});
