import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { type ObjectStore, openBucketObjects, openObjects } from "#objects";
import { AWS, type BucketServer, hasMoto, startBuckets, startFaultyWay } from "./buckets.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-objects-"));
});
afterEach(() => rm(folder, { recursive: true }));

let buckets: BucketServer;
const stores: readonly (readonly [name: string, open: () => Promise<ObjectStore>])[] = [
  ["folder", () => openObjects(join(folder, "storage"))],
  ...(hasMoto ? [["S3", openBucket] as const] : []),
];
async function openBucket(): Promise<ObjectStore> {
  const cache = { folder: join(folder, "cache"), bytes: 1e9 };
  return openBucketObjects(await buckets.make(), { cache, endpoint: buckets.endpoint });
}
beforeAll(async () => {
  if (!hasMoto) return;
  for (const [name, value] of Object.entries(AWS)) vi.stubEnv(name, value);
  buckets = await startBuckets();
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await buckets?.[Symbol.asyncDispose]();
});

describe.each(stores)("%s", (_, open) => {
  let objects: ObjectStore;
  beforeEach(async () => {
    objects = await open();
  });

  const put = (text: string) => objects.put(Readable.from([Buffer.from(text)]));
  const everything = async (): Promise<readonly string[]> =>
    (await readdir(folder, { recursive: true, withFileTypes: true }))
      .filter((entry) => entry.isFile())
      .map(({ name }) => name);

  test("equal contents are one file, by their SHA-256", async () => {
    const [first, second] = [await put("abc"), await put("abc")];
    expect(first).toEqual({
      digest: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
      bytes: 3,
    });
    expect(second).toEqual(first);
    expect(await everything()).toEqual([first.digest]);
    expect(await readFile((await objects.locate(first.digest)).path, "utf8")).toBe("abc");
  });

  test("what fails while it arrives leaves nothing", async () => {
    async function* broken() {
      yield Buffer.from("abc");
      throw new Error("gone");
    }
    await expect(objects.put(broken())).rejects.toThrow("gone");
    expect(await everything()).toEqual([]);
  });

  test("a folder comes back as it was", async () => {
    const from = join(folder, "from");
    await mkdir(join(from, "deep", "er"), { recursive: true });
    await writeFile(join(from, "a"), "1");
    await writeFile(join(from, "deep", "er", "b"), "2");
    await writeFile(join(from, "deep", "skipped"), "3");
    const files = await objects.putFolder(from, (name) => name === "deep/skipped");
    expect(Object.keys(files)).toEqual(["a", "deep/er/b"]);
    for (const link of [false, true]) {
      const to = join(folder, `to ${link}`);
      await objects.restore(files, to, { link });
      expect(await readFile(join(to, "deep", "er", "b"), "utf8")).toBe("2");
    }
    await writeFile(join(folder, "to false", "a"), "changed");
    expect(await readFile((await objects.locate(files["a"] ?? "")).path, "utf8")).toBe("1");
  });

  test("a sweep finds what is old and unused", async () => {
    const [used, old] = [await put("used"), await put("old")];
    const between = Date.now();
    await sleep(1100); // S3 rounds down to seconds
    const young = await put("young");
    const clock = vi.spyOn(Date, "now").mockReturnValue(between + 60_000);
    const unused = await objects
      .sweep(async () => new Set([used.digest]), 60)
      .finally(() => clock.mockRestore());
    expect(unused).toEqual([old.digest]);
    for (const digest of unused) await objects.remove(digest);
    await expect(objects.locate(old.digest)).rejects.toMatchObject({ code: "not_found" });
    await objects.locate(used.digest);
    await objects.locate(young.digest);
    await expect(objects.locate("../../x")).rejects.toMatchObject({ code: "storage" });
  });
});

test.runIf(hasMoto)("a bucket that can be read but not written to is refused when it is opened", async () => {
  await using way = await startFaultyWay(buckets.endpoint);
  way.choose = (request) => (request.startsWith("PUT") ? "denied" : undefined);
  const cache = { folder: join(folder, "cache"), bytes: 1e9 };
  await expect(
    openBucketObjects(await buckets.make(), { cache, endpoint: way.endpoint }),
  ).rejects.toMatchObject({ code: "storage", message: expect.stringContaining("access is denied") });
});

const run = promisify(execFile);

// only root may mount what it needs
test.runIf(process.platform === "linux" && process.getuid?.() === 0)(
  "a storage that is read-only or removed is named, and nothing is made in its place",
  async (context) => {
    const place = join(folder, "mounted");
    await mkdir(place);
    const isMounted = await run("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", place]).then(
      () => true,
      () => false,
    );
    if (!isMounted) return context.skip();
    try {
      const mounted = await openObjects(place);
      const { digest } = await mounted.put(Readable.from([Buffer.from("abc")]));
      await run("mount", ["-o", "remount,ro", place]);
      for (const work of [() => mounted.put(Readable.from([Buffer.from("x")])), () => mounted.remove(digest)])
        await expect(work()).rejects.toMatchObject({
          code: "storage",
          message: expect.stringMatching(`${place}.*read-only`),
        });
      await mounted.locate(digest);
    } finally {
      await run("umount", ["-l", place]);
    }
    const removed = join(folder, "removed");
    const objects = await openObjects(removed);
    await rm(removed, { recursive: true });
    for (const work of [
      () => objects.put(Readable.from([Buffer.from("x")])),
      () => objects.remove("a".repeat(64)),
      () => objects.discard("x"),
    ])
      await expect(work()).rejects.toMatchObject({
        code: "storage",
        message: expect.stringContaining(`${removed}: the storage folder is missing`),
      });
    expect(await readdir(folder)).not.toContain("removed");
  },
);
