// A bucket over a network that fails: nothing is lost or half-written, and uploads and downloads go on where they broke.

import { execFile } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { access, mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { promisify } from "node:util";
import { PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { type ObjectStore, openBucketObjects } from "#objects";
import { AWS, type BucketServer, type FaultyWay, hasMoto, startBuckets, startFaultyWay } from "./buckets.ts";

const run = promisify(execFile);
const MB = 1 << 20;
const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const storageFailure = (message: RegExp) => ({ code: "storage", message: expect.stringMatching(message) });

describe.runIf(hasMoto)("a bucket", () => {
  let buckets: BucketServer;
  let way: FaultyWay;
  let folder: string;
  let url: string;
  let machines = 0;
  beforeAll(async () => {
    for (const [name, value] of Object.entries({ ...AWS, AWS_EC2_METADATA_DISABLED: "true" }))
      vi.stubEnv(name, value);
    buckets = await startBuckets();
    way = await startFaultyWay(buckets.endpoint);
  });
  afterAll(async () => {
    vi.unstubAllEnvs();
    await way?.[Symbol.asyncDispose]();
    await buckets?.[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "mos-bucket-"));
    url = await buckets.make();
  });
  afterEach(async () => {
    way.choose = () => undefined;
    await rm(folder, { recursive: true });
  });

  /** The storage as another machine has it, or as this one has it after its disk was lost. */
  const open = async (
    bytes = 1e9,
    prepare: (place: string) => Promise<void> = async () => undefined,
  ): Promise<ObjectStore> => {
    machines++;
    const cache = { folder: join(folder, String(machines)), bytes };
    await prepare(cache.folder);
    const objects = await openBucketObjects(url, { cache, endpoint: way.endpoint });
    way.requests.length = 0;
    return objects;
  };
  const copies = async (): Promise<readonly string[]> =>
    (await readdir(join(folder, String(machines)), { recursive: true })).filter((name) => name.length > 10);
  const put = (objects: ObjectStore, bytes: Uint8Array) => objects.put(Readable.from([bytes]));
  async function readBack(objects: ObjectStore, digest: string): Promise<Buffer> {
    using place = await objects.locate(digest);
    return readFile(place.path);
  }

  test("an upload goes on with the parts that are missing, also from another machine", async () => {
    const bytes = randomBytes(50 * MB);
    const interrupted = await open();
    const isPart = (request: string) => request.includes("partNumber=");
    way.choose = (request) => (/partNumber=[57]\b/.test(request) ? "refused" : undefined);
    await expect(put(interrupted, bytes)).rejects.toMatchObject(storageFailure(/cannot be used now/));
    way.choose = () => undefined;
    const other = await open();
    await expect(other.locate(sha256(bytes))).rejects.toMatchObject({ code: "not_found" });
    const { digest } = await put(other, bytes);
    const sent = way.requests.filter(isPart);
    expect(sent.length).toBeGreaterThanOrEqual(2);
    expect(sent.length).toBeLessThan(7);
    expect(way.requests.filter((request) => /^POST .*\?uploads/.test(request))).toEqual([]);
    expect((await readBack(await open(), digest)).equals(bytes)).toBe(true);
    // what is there is not sent again
    await put(await open(), bytes);
    expect(way.requests.filter((request) => /^(PUT|POST)/.test(request))).toEqual([]);
  });

  test("uploads that nobody completes are removed, and one that was is made again", async () => {
    const bytes = randomBytes(20 * MB);
    way.choose = (request) => (request.includes("partNumber=2") ? "refused" : undefined);
    await expect(put(await open(), bytes)).rejects.toMatchObject({ code: "storage" });
    way.choose = () => undefined;
    const objects = await open();
    await objects.sweep(async () => new Set(), 3600);
    const aborted = () => way.requests.filter((request) => request.startsWith("DELETE")).length;
    expect(aborted()).toBe(0);
    await objects.sweep(async () => new Set(), 0);
    expect(aborted()).toBe(1);
    const { digest } = await put(objects, bytes);
    expect((await readBack(await open(), digest)).equals(bytes)).toBe(true);
  });

  test("a download that breaks or falls silent goes on where it did", async () => {
    const bytes = randomBytes(6 * MB);
    const { digest } = await put(await open(), bytes);
    const objects = await open();
    const faults = [
      { type: "reset", after: 2 * MB },
      { type: "silence", after: MB },
    ] as const;
    let broken = 0;
    const ranges: (string | undefined)[] = [];
    way.choose = (request, { range }) => {
      if (!request.startsWith("GET") || !request.includes(digest)) return undefined;
      ranges.push(range);
      return faults[broken++];
    };
    expect((await readBack(objects, digest)).equals(bytes)).toBe(true);
    expect(ranges).toHaveLength(3);
    expect(ranges[0]).toBeUndefined();
    for (const range of ranges.slice(1)) expect(range).toMatch(/^bytes=\d{5,}-$/);
  }, 60_000);

  test("a server that asks to slow down is asked again, and named when it does not stop", async () => {
    const objects = await open();
    let asked = 0;
    way.choose = () => (asked++ % 3 === 0 ? undefined : "slow down");
    const { digest } = await put(objects, Buffer.from("patience"));
    expect((await readBack(await open(), digest)).toString()).toBe("patience");
    way.choose = () => "slow down";
    await expect(put(objects, Buffer.from("more"))).rejects.toMatchObject(storageFailure(/answered 503/));
    await expect(objects.check()).rejects.toMatchObject({ code: "storage" });
    way.choose = () => undefined;
    await objects.check();
    await put(objects, Buffer.from("more"));
  }, 60_000);

  test("a content that is not the one of its name is not used", async () => {
    const { digest } = await put(await open(), Buffer.from("right"));
    const { hostname: Bucket, pathname } = new URL(url);
    const client = new S3Client({ endpoint: buckets.endpoint, forcePathStyle: true });
    await client.send(
      new PutObjectCommand({ Bucket, Key: `${pathname.slice(1)}/objects/${digest}`, Body: "wrong" }),
    );
    const objects = await open();
    const failure = storageFailure(/does not have the content of its name.*restore it/);
    await expect(objects.locate(digest)).rejects.toMatchObject(failure);
    expect((await copies()).filter((name) => name.endsWith(digest))).toEqual([]);
  });

  test("what others have put beside the contents stays, and is never taken for one", async () => {
    const objects = await open();
    const { digest } = await put(objects, Buffer.from("unused"));
    const { hostname: Bucket, pathname } = new URL(url);
    const client = new S3Client({ endpoint: buckets.endpoint, forcePathStyle: true });
    for (const name of ["", "notes.txt", "../../x"])
      await client.send(
        new PutObjectCommand({ Bucket, Key: `${pathname.slice(1)}/objects/${name}`, Body: "other" }),
      );
    expect(await objects.sweep(async () => new Set(), 0)).toEqual([digest]);
  });

  test("copies take bounded space: the least recently used leave, and those in use stay", async () => {
    const writer = await open();
    const made = [];
    for (let i = 0; i < 8; i++) made.push((await put(writer, randomBytes(MB))).digest);
    const [first = "", second = "", ...others] = made;
    const objects = await open(3 * MB);
    const linked = join(folder, "linked");
    await objects.restore({ model: second }, linked, { link: true });
    {
      using held = await objects.locate(first);
      for (const digest of others) expect(sha256(await readBack(objects, digest))).toBe(digest);
      await access(held.path);
      expect((await copies()).length).toBeLessThanOrEqual(4);
      expect((await copies()).some((name) => name.endsWith(others.at(-1) ?? ""))).toBe(true);
    }
    expect((await copies()).some((name) => name.endsWith(second))).toBe(true);
    expect(sha256(await readFile(join(linked, "model")))).toBe(second);
    // those that were removed are fetched again
    for (const digest of made) expect(sha256(await readBack(objects, digest))).toBe(digest);
  });

  // only root may mount the small file system that it needs
  test.runIf(process.platform === "linux" && process.getuid?.() === 0)(
    "a disk that is full of copies is emptied of those that are not in use",
    async (context) => {
      const sent = await open();
      const made = [];
      for (let i = 0; i < 6; i++) made.push((await put(sent, randomBytes(MB))).digest);
      const objects = await open(1e9, async (place) => {
        await mkdir(place);
        await run("mount", ["-t", "tmpfs", "-o", "size=4m", "tmpfs", place]).catch(() => context.skip());
      });
      try {
        for (const digest of made) expect(sha256(await readBack(objects, digest))).toBe(digest);
        const bytes = randomBytes(3 * MB);
        await put(objects, bytes).catch((error: unknown) => expect(error).toMatchObject({ code: "storage" }));
        expect((await put(objects, bytes)).digest).toBe(sha256(bytes));
      } finally {
        await run("umount", ["-l", join(folder, String(machines))]);
      }
    },
  );

  test("copies of contents that no row names leave", async () => {
    const objects = await open();
    const { digest } = await put(objects, Buffer.from("deleted elsewhere"));
    await objects.trim(async () => new Set());
    expect(await copies()).toHaveLength(1); // it has just arrived
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 3600_000 });
    try {
      await objects.trim(async (digests) => new Set(digests));
      expect(await copies()).toHaveLength(1);
      await objects.trim(async () => new Set());
    } finally {
      vi.useRealTimers();
    }
    expect(await copies()).toEqual([]);
    expect((await readBack(objects, digest)).toString()).toBe("deleted elsewhere");
  });

  test("what is wrong with a bucket is named", async () => {
    const openUrl = (given: string, endpoint = way.endpoint) =>
      openBucketObjects(given, { cache: { folder: join(folder, "other"), bytes: 1e9 }, endpoint });
    await expect(openUrl("s3://")).rejects.toMatchObject({
      code: "bad_option",
      message: expect.stringContaining("expected s3://bucket/prefix"),
    });
    await expect(openUrl("s3://missing-bucket/x")).rejects.toMatchObject(
      storageFailure(/^s3:\/\/missing-bucket\/x: the bucket does not exist; create it/),
    );
    way.choose = (request) => (request.startsWith("PUT") ? "denied" : undefined);
    await expect(openUrl(url)).rejects.toMatchObject(
      storageFailure(/access is denied; the credentials need/),
    );
    way.choose = () => undefined;
    await expect(openUrl(url, "http://127.0.0.1:9")).rejects.toMatchObject(storageFailure(/ECONNREFUSED/));
    for (const name of Object.keys(AWS)) vi.stubEnv(name, undefined);
    try {
      vi.stubEnv("AWS_SHARED_CREDENTIALS_FILE", join(folder, "none"));
      vi.stubEnv("AWS_CONFIG_FILE", join(folder, "none"));
      await expect(openUrl(url)).rejects.toMatchObject(
        storageFailure(/no credentials; set AWS_ACCESS_KEY_ID/),
      );
    } finally {
      for (const [name, value] of Object.entries(AWS)) vi.stubEnv(name, value);
    }
  }, 60_000);
});
