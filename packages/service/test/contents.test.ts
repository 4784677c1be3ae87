// Contents of the storage: removed as soon as no row names them, and never while somebody begins to rely on one.
import { mkdtemp, readdir, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type ObjectStore, openObjects } from "#objects";
import { type Arrival, type FileRow, jobRequestSchema, openSlices, toTrainingPlan } from "#store";
import { openResources } from "../src/resources.ts";
import { databases, makePglite, openTables, type TestTables } from "./databases.ts";
import { untilDue } from "./queued-job.ts";

describe.each(databases)("%s", (_, open) => {
  let opened: TestTables;
  let folder: string;
  let objects: ObjectStore;
  beforeAll(async () => {
    opened = await openTables(open);
  });
  afterAll(() => opened[Symbol.asyncDispose]());
  beforeEach(async () => {
    await opened.database.query("truncate jobs, files, models, events, checkpoints, arrivals, released");
    folder = await mkdtemp(join(tmpdir(), "mos-contents-"));
    objects = await openObjects(folder);
    return () => rm(folder, { recursive: true });
  });

  const owner = { tenant: "acme", isAdmin: false };
  const toStream = (text: string) => Readable.from([Buffer.from(text)]);
  const collect = () => opened.stores.contents.collect(objects.remove);
  const contents = async (): Promise<readonly string[]> =>
    (await readdir(join(folder, "objects"), { recursive: true })).filter((name) => name.length > 10);

  async function upload(text: string, tenant = "acme", maxStorageBytes?: number): Promise<FileRow> {
    const arrival = opened.stores.contents.arrive(tenant, { maxStorageBytes });
    try {
      await arrival.reserve(text.length);
      const file = await objects.put(toStream(text), arrival);
      return await opened.stores.files.add({
        tenant,
        purpose: "fine-tune",
        filename: "a.jsonl",
        ...file,
        arrival: arrival.id,
        status: "processed",
        status_details: null,
        maxStorageBytes,
      });
    } finally {
      await arrival.end();
    }
  }
  const remove = async ({ id }: FileRow): Promise<void> => {
    await opened.stores.files.remove(owner, id);
    await collect();
  };

  test("a content goes with the last row that names it", async () => {
    const [first, second] = [await upload("abc"), await upload("abc")];
    await remove(first);
    expect(await contents()).toHaveLength(1);
    await remove(second);
    expect(await contents()).toEqual([]);
  });

  test("what a job trains on stays until it ends, and counts as its tenant's", async () => {
    const training = await upload("x".repeat(60));
    const request = jobRequestSchema.parse({ model: "tiny", training_file: training.id });
    const plan = toTrainingPlan(request, { seed: 1, learningRate: 0.002 });
    const made = { tenant: "acme", request, plan, training, validation: undefined };
    const { id } = await opened.stores.jobs.create(made);
    await remove(training);
    expect(await contents()).toHaveLength(1);
    await expect(upload("y".repeat(41), "acme", 100)).rejects.toMatchObject({ code: "busy" });
    await upload("x".repeat(60), "zeta", 100); // another tenant has the same
    await opened.stores.jobs.cancel(owner, id);
    await collect();
    await upload("y".repeat(41), "acme", 100);
    await expect(opened.stores.jobs.create(made)).rejects.toMatchObject({ code: "not_found" });
  });

  test("what a slice leaves behind goes, and what it stores is kept before its rows are there", async () => {
    const training = await upload("data");
    const request = jobRequestSchema.parse({ model: "tiny", training_file: training.id });
    const plan = toTrainingPlan(request, { seed: 1, learningRate: 0.002 });
    await opened.stores.jobs.create({ tenant: "acme", request, plan, training, validation: undefined });
    const slices = openSlices(opened.database);
    const progress = { step: 1, steps: 3, trainedTokens: 3, seconds: 1 };
    const endOne = async (text: string, arrival?: Arrival): Promise<boolean> => {
      const job = await untilDue(() => slices.claim("tiny", "w"));
      const own = arrival ?? slices.arrive(job);
      const { digest } = await objects.put(toStream(text), own);
      await opened.stores.contents.release([digest]);
      await collect();
      await objects.locate(digest);
      const isEnded = await slices.end(job, { type: "stopped", run: { a: digest }, ...progress }, own.id);
      await own.end();
      await collect();
      return isEnded;
    };
    expect(await endOne("first")).toBe(true);
    expect(await contents()).toHaveLength(2);
    expect(await endOne("second")).toBe(true);
    expect(await contents()).toHaveLength(2);
  });

  test("an imported model counts as the tenant's files do, once, until it is deleted", async () => {
    const { contents: arrivals, models } = opened.stores;
    const importOne = async (name: string, text: string): Promise<void> => {
      const arrival = arrivals.arrive("acme", { maxStorageBytes: 100 });
      try {
        await arrival.reserve(text.length);
        const { digest } = await objects.put(toStream(text), arrival);
        const model = { name, tenant: "acme", files: { a: digest }, bytes: text.length };
        await models.add({ ...model, arrival: arrival.id });
      } finally {
        await arrival.end();
      }
    };
    await importOne("one", "1".repeat(40));
    await importOne("two", "2".repeat(40));
    await expect(importOne("three", "3".repeat(40))).rejects.toMatchObject({ code: "busy" });
    await expect(upload("4".repeat(40), "acme", 100)).rejects.toMatchObject({ code: "busy" });
    await models.remove(owner, "one");
    await importOne("three", "3".repeat(40));
    const late = { name: "four", tenant: "acme", files: { a: "0".repeat(64) }, bytes: 1, arrival: "gone" };
    await expect(models.add(late)).rejects.toMatchObject({ code: "storage" });
  });

  test("an arrival that is forgotten ends with what had arrived", async () => {
    const other = await openTables(async () => ({ ...opened, [Symbol.asyncDispose]: async () => undefined }));
    const arrival = other.stores.contents.arrive("acme", { maxStorageBytes: 100 });
    await arrival.reserve(90);
    const { digest } = await objects.put(toStream("abc"), arrival);
    await expect(upload("y".repeat(20), "acme", 100)).rejects.toMatchObject({ code: "busy" });
    await opened.stores.contents.endForgotten(objects.discard);
    await objects.locate(digest);
    await opened.stores.contents.endForgotten(objects.discard, 0);
    await collect();
    expect(await contents()).toEqual([]);
    await upload("y".repeat(20), "acme", 100);
    const late = {
      tenant: "acme",
      purpose: "fine-tune",
      filename: "a",
      bytes: 3,
      digest,
      arrival: arrival.id,
    };
    await expect(
      opened.stores.files.add({ ...late, status: "processed", status_details: null }),
    ).rejects.toMatchObject({ code: "storage" });
    await arrival.end();
  });

  test("a content that arrives again while it is being removed is there when its row is", async () => {
    let last = await upload("same");
    for (let round = 0; round < 15; round++) {
      const [next] = await Promise.all([upload("same"), remove(last), collect()]);
      expect(await contents()).toEqual([expect.stringContaining(next.digest)]);
      last = next;
    }
  });
});

test("a storage without what the database names is refused, and nothing is made in its place", async () => {
  const state = await mkdtemp(join(tmpdir(), "mos-state-"));
  const storage = join(state, "storage");
  await makePglite(join(state, "database"));
  const open = () =>
    openResources(
      { state, databaseUrl: undefined, storage: undefined, storageEndpoint: undefined, storageCache: 0 },
      { log: { info: () => undefined, warn: () => undefined, error: () => undefined } },
    );
  try {
    {
      await using parts = await open();
      const { digest, bytes } = await parts.objects.put(Readable.from([Buffer.from("abc")]));
      await parts.database.query(
        `insert into files (id, tenant, purpose, filename, bytes, digest, status)
         values ('file-1', 'acme', 'fine-tune', 'a.jsonl', $1, $2, 'processed')`,
        [bytes, digest],
      );
    }
    await rename(storage, join(state, "cache"));
    await expect(open()).rejects.toMatchObject({
      code: "storage",
      message: expect.stringContaining(`${storage}: the storage has none of the files`),
    });
    expect(await readdir(state)).not.toContain("storage");
    await rename(join(state, "cache"), storage);
    await using _again = await open();
  } finally {
    await rm(state, { recursive: true });
  }
});
