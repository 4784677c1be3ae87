// Limits, priorities and usage of tenants.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  type FileRow,
  type JobRow,
  jobRequestSchema,
  openSlices,
  openStores,
  type SliceEnd,
  type Slices,
  type Stores,
  toTrainingPlan,
} from "#store";
import { databases, openTables, type TestTables } from "./databases.ts";
import { addTrainingFile, untilDue } from "./queued-job.ts";

const MODEL = "tiny";
const digest = (letter: string): string => letter.repeat(64);
type Limits = NonNullable<Parameters<Stores["jobs"]["create"]>[0]["limits"]>;

describe.each(databases)("%s", (_, open) => {
  let opened: TestTables;
  let stores: Stores;
  let slices: Slices;
  beforeAll(async () => {
    opened = await openTables(open);
    ({ stores } = opened);
    slices = openSlices(opened.database, { leaseSeconds: 60, maxFailures: 2 });
  });
  afterAll(async () => {
    await opened[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    await opened.database.query("truncate jobs, files, models, events, checkpoints, usage");
  });

  const makeOwner = (tenant: string) => ({ tenant, isAdmin: false });
  const root = { tenant: "root", isAdmin: true };
  const addTestFile = (tenant: string, bytes = 3, maxStorageBytes?: number): Promise<FileRow> =>
    addTrainingFile(stores, { tenant, bytes, digest: digest("a"), maxStorageBytes });

  interface Asked {
    readonly key?: string;
    readonly mos?: object;
  }
  async function create(tenant: string, limits: Limits = {}, { key, mos = {} }: Asked = {}): Promise<JobRow> {
    const training = await addTestFile(tenant);
    const request = jobRequestSchema.parse({ model: MODEL, training_file: "file-1", mos });
    const plan = toTrainingPlan(request, { seed: 1, learningRate: 0.002 });
    return stores.jobs.create({
      tenant,
      request,
      plan,
      training,
      validation: undefined,
      limits,
      idempotencyKey: key,
    });
  }

  async function createMany(count: number, tenant: string, limits?: Limits): Promise<readonly JobRow[]> {
    const made: JobRow[] = [];
    while (made.length < count) made.push(await create(tenant, limits));
    return made;
  }

  const claimNext = (): Promise<JobRow | undefined> => slices.claim(MODEL, "w");
  const claimed = (): Promise<JobRow> => untilDue(claimNext);
  const stopAt = (step: number, seconds = 1): SliceEnd => {
    const trainedTokens = 10 * step;
    return { type: "stopped", run: {}, step, steps: 9, trainedTokens, seconds };
  };
  const results = { digest: digest("d"), bytes: 7 };
  const done = { step: 9, steps: 9, trainedTokens: 90, seconds: 2 };
  const succeeded: SliceEnd = { type: "succeeded", adapter: {}, results, ...done };
  const interrupted = { type: "interrupted", message: "it fell" } as const;

  describe("unfinished jobs", () => {
    const limits = { max_active_jobs: 3 };

    test("are counted, also where many are made at once", async () => {
      await create("zeta", limits);
      const made = await Promise.allSettled(Array.from({ length: 12 }, () => create("acme", limits)));
      const refused = made.flatMap((one) => (one.status === "rejected" ? [one.reason] : []));
      expect(refused).toHaveLength(9);
      for (const reason of refused)
        expect(reason).toMatchObject({ code: "busy", message: expect.stringMatching(/3 unfinished jobs/) });
      const { rows } = await stores.jobs.list(makeOwner("acme"), { limit: 20 });
      expect(rows).toHaveLength(3);
      await stores.jobs.pause(makeOwner("acme"), rows[0]?.id ?? "");
      await expect(create("acme", limits)).rejects.toMatchObject({ code: "busy" });
      await stores.jobs.cancel(makeOwner("acme"), rows[0]?.id ?? "");
      await create("acme", limits);
    });

    test("the same request with the same key is the same job where there is no room for another", async () => {
      const first = await create("acme", { max_active_jobs: 1 }, { key: "k" });
      expect((await create("acme", { max_active_jobs: 1 }, { key: "k" })).id).toBe(first.id);
      expect((await create("acme", { max_active_jobs: 0 }, { key: "k" })).id).toBe(first.id);
      await expect(create("acme", { max_active_jobs: 1 }, { key: "l" })).rejects.toMatchObject({
        code: "busy",
      });
    });
  });

  test("steps and priorities that a key does not allow are refused, and leave nothing", async () => {
    const limits = { max_steps_per_job: 100, max_tokens_per_job: 5, priority: 2 };
    for (const mos of [{ steps: 101 }, { priority: 3 }])
      await expect(create("acme", limits, { mos })).rejects.toMatchObject({ code: "bad_option" });
    await expect(create("acme", {}, { mos: { priority: 1 } })).rejects.toMatchObject({ code: "bad_option" });
    expect((await stores.jobs.list(root, { limit: 9 })).rows).toEqual([]);
    expect(await claimNext()).toBeUndefined();
    expect(await create("acme", limits, { mos: { steps: 100 } })).toMatchObject({
      priority: 2,
      max_steps: 100,
      max_tokens: 5,
      max_running_jobs: null,
    });
  });

  test("larger priorities come first", async () => {
    await create("acme");
    await create("acme", {}, { mos: { priority: -10 } });
    await create("zeta", { priority: 10 });
    await create("zeta", { priority: 10 }, { mos: { priority: 4 } });
    const order: number[] = [];
    for (let i = 0; i < 4; i++) order.push((await claimed()).priority);
    expect(order).toEqual([10, 4, 0, -10]);
  });

  describe("jobs that run", () => {
    const limits = { max_running_jobs: 2 };

    test("no more than a key allows, and the others do not keep another tenant waiting", async () => {
      await createMany(6, "acme", limits);
      await create("zeta");
      const running = [await claimed(), await claimed(), await claimed()];
      expect(running.map(({ tenant }) => tenant).sort()).toEqual(["acme", "acme", "zeta"]);
      expect(await claimNext()).toBeUndefined();
      // nobody looks at them again and again
      const waiting = await opened.database.query(
        "select id from jobs where status = 'queued' and not is_held",
      );
      expect(waiting).toEqual([]);
    });

    test.each([
      ["stopped", (job: JobRow) => slices.end(job, stopAt(1))],
      ["succeeded", (job: JobRow) => slices.end(job, succeeded)],
      ["failed", (job: JobRow) => slices.end(job, { type: "failed", code: "x", message: "x" })],
      ["interrupted", (job: JobRow) => slices.end(job, interrupted)],
      ["cancelled", ({ id, tenant }: JobRow) => stores.jobs.cancel(makeOwner(tenant), id)],
      [
        "lost",
        async ({ id }: JobRow) => {
          await opened.database.query("update jobs set lease_until = now() - interval '1 s' where id = $1", [
            id,
          ]);
          await slices.recover();
        },
      ],
    ] as const)("when a slice is %s, the next job of its tenant runs", async (__, end) => {
      await createMany(4, "acme", limits);
      const first = await claimed();
      const second = await claimed();
      expect(await claimNext()).toBeUndefined();
      await end(first);
      const third = await claimed();
      expect([first.id, second.id]).not.toContain(third.id);
      expect(await claimNext()).toBeUndefined();
    });

    test("one whose place was given up is not forgotten", async () => {
      const made = await createMany(3, "acme", { max_running_jobs: 1 });
      const running = await claimed();
      expect(await claimNext()).toBeUndefined();
      await slices.end(running, succeeded);
      await stores.jobs.cancel(makeOwner("acme"), made[1]?.id ?? ""); // released, and gone before it ran
      expect(await claimNext()).toBeUndefined();
      await slices.recover();
      expect((await claimed()).id).toBe(made[2]?.id);
      await slices.recover();
      expect(await claimNext()).toBeUndefined();
    });

    test("a paused job that waited for its place takes it when it is resumed", async () => {
      const made = await createMany(2, "acme", { max_running_jobs: 1 });
      const running = await claimed();
      expect(await claimNext()).toBeUndefined();
      const waiting = made[1]?.id ?? "";
      await stores.jobs.pause(makeOwner("acme"), waiting);
      await slices.end(running, succeeded);
      expect(await claimNext()).toBeUndefined();
      await stores.jobs.resume(makeOwner("acme"), waiting);
      expect((await claimed()).id).toBe(waiting);
    });

    test("a limited tenant has as many turns as others, however many jobs it has", async () => {
      await createMany(5, "acme", { max_running_jobs: 1 });
      await createMany(5, "beta");
      await createMany(5, "zeta");
      const turns = new Map<string, number>();
      const running: JobRow[] = [await claimed(), await claimed()];
      for (let i = 0; i < 30; i++) {
        const job = running.shift() as JobRow;
        turns.set(job.tenant, (turns.get(job.tenant) ?? 0) + 1);
        await slices.end(job, stopAt(i));
        running.push(await claimed());
        expect(running.filter(({ tenant }) => tenant === "acme").length).toBeLessThan(2);
      }
      for (const count of turns.values()) expect(Math.abs(count - 10), String([...turns])).toBeLessThan(4);
    });

    test("a limited tenant does not catch up on turns that it could not have", async () => {
      await createMany(25, "acme", { max_running_jobs: 1 });
      await createMany(5, "beta");
      const running: JobRow[] = [];
      while (running.length < 4) running.push(await claimed());
      const endFirst = async (): Promise<string> => {
        const job = running.shift() as JobRow;
        await slices.end(job, stopAt(1));
        return job.tenant;
      };
      for (let i = 0; i < 20; i++) {
        await endFirst();
        running.push(await claimed());
      }
      // three of four workers are gone
      for (let i = 0; i < 3; i++) await endFirst();
      const tenants: string[] = [];
      for (let i = 0; i < 12; i++) {
        tenants.push(await endFirst());
        running.push(await claimed());
      }
      const count = tenants.filter((tenant) => tenant === "acme").length;
      expect(count, tenants.join()).toBeGreaterThan(3);
      expect(count, tenants.join()).toBeLessThan(9);
    });

    test("with many workers at once", async () => {
      await createMany(6, "acme", limits);
      await createMany(6, "zeta", { max_running_jobs: 3 });
      let most = 0;
      const countRunning = async (): Promise<void> => {
        const [row] = await opened.database.query(
          "select count(*)::integer as running from jobs where status = 'running' and tenant = 'acme'",
          [],
        );
        most = Math.max(most, Number(row?.["running"]));
      };
      const ended: string[] = [];
      const work = async ({ id, slice, ...job }: JobRow): Promise<void> => {
        const isLast = slice === 2;
        await slices.end({ id, slice, ...job }, isLast ? succeeded : stopAt(slice + 1));
        if (isLast) ended.push(id);
      };
      const worker = async (): Promise<void> => {
        while (ended.length < 12) {
          const job = await claimNext();
          await countRunning();
          if (job !== undefined) await work(job);
        }
      };
      await Promise.all(Array.from({ length: 8 }, worker));
      expect(new Set(ended).size).toBe(12);
      expect(most).toBeLessThanOrEqual(2);
    });
  });

  test("files take what a key allows, also where several arrive at once", async () => {
    const all = await Promise.allSettled(Array.from({ length: 6 }, () => addTestFile("acme", 40, 100)));
    expect(all.filter(({ status }) => status === "fulfilled")).toHaveLength(2);
    await addTestFile("zeta", 90, 100);
    const arrival = stores.contents.arrive("acme", { maxStorageBytes: 100 });
    await arrival.reserve(20);
    await expect(arrival.reserve(21)).rejects.toThrowError(/100 bytes, and 80 are in use/);
    await arrival.end();
    const [file] = (await stores.files.list(makeOwner("acme"), { limit: 1 })).rows;
    await stores.files.remove(makeOwner("acme"), file?.id ?? "");
    await addTestFile("acme", 60, 100);
  });

  describe("usage", () => {
    const DAY = 86_400;
    const days = { width: DAY, limit: 7, byModel: false };
    const total = async (owner = makeOwner("acme")) =>
      (await stores.usage.read(owner, days)).rows.map(({ start: __, ...row }) => row);
    const nothing = {
      model: null,
      requests: 0,
      prompt_tokens: 0,
      cached_tokens: 0,
      completion_tokens: 0,
      serving_seconds: 0,
      trained_tokens: 0,
      training_seconds: 0,
    };
    const served = (tenant: string, model: string, requests = 1) => ({
      tenant,
      model,
      requests,
      prompt_tokens: 5 * requests,
      cached_tokens: 2 * requests,
      completion_tokens: 3 * requests,
      serving_seconds: 0.5 * requests,
    });

    test("counts what was trained and kept once, however often slices are done again", async () => {
      await create("acme");
      await slices.end(await claimed(), stopAt(2, 3));
      const dead = await claimed();
      await opened.database.query("update jobs set lease_until = now() - interval '1 s'");
      await slices.recover();
      const again = await claimed();
      expect(await slices.end(dead, stopAt(5, 4))).toBe(false);
      expect(await total()).toEqual([
        { ...nothing, tenant: "acme", trained_tokens: 20, training_seconds: 3 },
      ]);
      await slices.end(again, interrupted);
      await opened.database.query("update jobs set queued_at = now() - interval '1 s'");
      await slices.end(await claimed(), stopAt(5, 4));
      expect(await slices.end(again, stopAt(5, 4))).toBe(false);
      const last = await claimed();
      await slices.end(last, succeeded);
      expect(await slices.end(last, succeeded)).toBe(false);
      expect(await total()).toEqual([
        { ...nothing, tenant: "acme", trained_tokens: 90, training_seconds: 9 },
      ]);
      expect(await total(makeOwner("zeta"))).toEqual([]);
    });

    test("knows the speed of training a base, whoever's it was", async () => {
      expect(await stores.usage.speed("tiny")).toBeUndefined();
      stores.usage.add(served("acme", "tiny"));
      await stores.usage.write();
      expect(await stores.usage.speed("tiny")).toBeUndefined();
      await create("acme");
      await slices.end(await claimed(), stopAt(2, 4));
      expect(await stores.usage.speed("tiny")).toBe(20 / 4);
      expect(await stores.usage.speed("other")).toBeUndefined();
    });

    test("adds up requests by model, for their tenant and administrators", async () => {
      stores.usage.add(served("acme", "tiny"));
      stores.usage.add(served("acme", "ft:a"));
      stores.usage.add(served("acme", "tiny"));
      stores.usage.add(served("zeta", "tiny"));
      await stores.usage.write();
      await stores.usage.write();
      stores.usage.add(served("acme", "tiny"));
      await stores.usage.write();
      const mine = (await stores.usage.read(makeOwner("acme"), { ...days, byModel: true })).rows;
      expect(mine.map(({ model, requests, prompt_tokens }) => [model, requests, prompt_tokens])).toEqual([
        ["ft:a", 1, 5],
        ["tiny", 3, 15],
      ]);
      expect((await total(root)).map(({ tenant, requests }) => [tenant, requests])).toEqual([
        ["acme", 4],
        ["zeta", 1],
      ]);
      const one = { ...days, tenant: "zeta" };
      expect((await stores.usage.read(root, one)).rows).toMatchObject([
        { tenant: "zeta", serving_seconds: 0.5 },
      ]);
      expect((await stores.usage.read(makeOwner("acme"), one)).rows).toEqual([]);
    });

    test("keeps what it cannot write, and bounds it", async () => {
      let isAway = true;
      const database = {
        ...opened.database,
        query: async (text: string, values?: readonly unknown[]) => {
          if (isAway) throw new Error("away");
          return opened.database.query(text, values);
        },
      };
      const own = openStores(database);
      for (let i = 0; i < 10_010; i++) own.usage.add(served("acme", `m${i}`));
      await expect(own.usage.write()).rejects.toThrowError("away");
      own.usage.add(served("acme", "m0"));
      isAway = false;
      await own.usage.write();
      expect(await total()).toMatchObject([{ requests: 10_011, completion_tokens: 30_033 }]);
      const [count] = await opened.database.query("select count(*)::integer as rows from usage", []);
      expect(count).toEqual({ rows: 10_001 });
    });

    test("has pages of hours and days, empty ones, too", async () => {
      const at = (hour: string, tokens: number) =>
        opened.database.query(
          "insert into usage (tenant, model, hour, trained_tokens) values ('acme', 'tiny', $1::timestamptz, $2)",
          [hour, tokens],
        );
      await at("2026-01-01T00:00:00Z", 1);
      await at("2026-01-01T23:00:00Z", 2);
      await at("2026-01-03T05:00:00Z", 4);
      const start = Date.UTC(2026, 0, 1) / 1000;
      const first = await stores.usage.read(root, {
        ...days,
        start: start + 7200,
        end: start + 4 * DAY,
        limit: 3,
      });
      expect(first.starts).toEqual([start, start + DAY, start + 2 * DAY]);
      expect(first.rows.map((row) => [row.start, row.trained_tokens])).toEqual([
        [start, 3],
        [start + 2 * DAY, 4],
      ]);
      expect(first.next).toBe(start + 3 * DAY);
      const last = await stores.usage.read(root, { ...days, start: first.next, end: start + 4 * DAY });
      expect(last).toEqual({ starts: [start + 3 * DAY], rows: [], next: undefined });
      const hours = { ...days, width: 3600, start: start + 22 * 3600, end: start + DAY };
      expect(
        (await stores.usage.read(root, hours)).rows.map((row) => [row.start, row.trained_tokens]),
      ).toEqual([[start + 23 * 3600, 2]]);
      const cut = { ...days, start, end: start + 3600 };
      expect((await stores.usage.read(root, cut)).rows.map((row) => row.trained_tokens)).toEqual([1]);
      const future = { ...days, start: start + 100 * 365 * DAY };
      expect(await stores.usage.read(root, future)).toEqual({ starts: [], rows: [], next: undefined });
    });
  });
});
