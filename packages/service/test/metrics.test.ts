// What operators see: metrics of the whole service and of one process, workers that are alive, and a line for each slice.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { MosError } from "mixture-of-shards";
import { makeFolder } from "mixture-of-shards-core/files";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { watchFailures } from "#database";
import { type JobRow, openSlices, openWatch, startHeartbeat } from "#store";
import { runWorker } from "#worker";
import { listenForProbes } from "../src/command.ts";
import { createMetrics } from "../src/metrics.ts";
import { databases, openTables, type TestTables } from "./databases.ts";
import { fakeTrainer, readyReport, stepLine } from "./fake-trainer.ts";
import { queueJob } from "./queued-job.ts";

/** Samples by name and labels; every line has to be one of the format. */
function parsed(text: string): ReadonlyMap<string, number> {
  const lines = text.split("\n").filter((line) => line !== "" && !/^# (HELP|TYPE) \w+ .+$/.test(line));
  return new Map(
    lines.map((line) => {
      const found = /^(\w+(?:\{(?:\w+="[^"]*",?)+\})?) (\S+)$/.exec(line);
      if (found === null) throw new Error(`not a sample: ${line}`);
      return [found[1] ?? "", Number(found[2])] as const;
    }),
  );
}

describe.each(databases)("%s", (_, open) => {
  let opened: TestTables;
  beforeAll(async () => {
    opened = await openTables(open);
  });
  afterAll(() => opened[Symbol.asyncDispose]());
  beforeEach(async () => {
    await opened.database.query("truncate jobs, files, models, events, checkpoints, workers");
  });

  const create = (): Promise<JobRow> => queueJob(opened);

  /** Trains two of four steps in each slice; the third time that it is asked, its process dies. */
  function dyingTrainer() {
    let slices = 0;
    return fakeTrainer(async function* ({ out }) {
      slices++;
      if (slices === 3) throw new Error("the trainer is gone: its exit code is 1");
      const steps = Array.from({ length: slices * 2 }, (_, i) => stepLine({ step: i + 1, tokens: 10 }));
      await makeFolder(out);
      await writeFile(join(out, "metrics.jsonl"), steps.map((step) => `${JSON.stringify(step)}\n`).join(""));
      yield readyReport(4, 10);
      yield { type: "ended", isComplete: slices === 2 };
    });
  }

  test("a line for each slice, and metrics of what was done and of what waits", async () => {
    const first = await create();
    const metrics = createMetrics();
    const stopping = new AbortController();
    const lines: Record<string, unknown>[] = [];
    const write = (fields: object, message: string): void => {
      if (message !== "slice") return;
      lines.push({ ...fields });
      if (lines.length === 3) stopping.abort();
    };
    const heart = startHeartbeat(openWatch(opened.database), { name: "w", models: ["tiny"] });
    const worker = runWorker({
      name: "w",
      slices: openSlices(opened.database),
      objects: opened.objects,
      trainer: dyingTrainer(),
      log: { info: write, warn: write, error: write },
      onSlice: metrics.sliceEnded,
      signal: stopping.signal,
      ...{ modelName: "tiny", model: "nowhere" },
      scratch: join(opened.folder, "scratch"),
      sliceSeconds: 1,
      leaseSeconds: 20,
      stopSeconds: 60,
      stallSeconds: 60,
      threads: 1,
    });
    await vi.waitFor(() => expect(lines).toHaveLength(2), { timeout: 30_000 });
    const second = await create();
    await worker;
    const common = {
      tenant: "acme",
      model: "tiny",
      worker: "w",
      seconds: expect.any(Number),
      fetchSeconds: expect.any(Number),
      trainSeconds: expect.any(Number),
    };
    const kept = { ...common, storeSeconds: expect.any(Number), steps: 4, trainedTokens: 20 };
    expect(lines).toEqual([
      { ...kept, job: first.id, slice: 0, lease: 1, fromStep: 0, toStep: 2, result: "stopped" },
      { ...kept, job: first.id, slice: 1, lease: 2, fromStep: 2, toStep: 4, result: "succeeded" },
      {
        ...common,
        job: second.id,
        slice: 0,
        lease: 1,
        fromStep: 0,
        result: "interrupted",
        reason: "the trainer is gone: its exit code is 1",
      },
    ]);

    await create();
    const state = { read: openWatch(opened.database).state, model: "tiny" };
    const samples = parsed(await metrics.render(state));
    const { version } = (await import("../package.json", { with: { type: "json" } })).default;
    for (const [name, value] of Object.entries({
      'mos_slices_total{model="tiny",result="stopped"}': 1,
      'mos_slices_total{model="tiny",result="succeeded"}': 1,
      'mos_slices_total{model="tiny",result="interrupted"}': 1,
      'mos_slice_seconds_count{model="tiny"}': 3,
      'mos_trained_tokens_total{model="tiny"}': 40,
      'mos_jobs{model="tiny",status="queued"}': 2,
      'mos_jobs{model="tiny",status="succeeded"}': 1,
      'mos_jobs{model="tiny",status="cancelled"}': 0,
      'mos_slices_waiting{model="tiny"}': 2,
      'mos_slices_running{model="tiny"}': 0,
      [`mos_workers{model="tiny",version="${version}"}`]: 1,
      mos_webhook_deliveries_waiting: 0,
      mos_database_up: 1,
      mos_database_failures_total: 0,
    }))
      expect([name, samples.get(name)]).toEqual([name, value]);
    expect(samples.get('mos_slices_oldest_waiting_seconds{model="tiny"}')).toBeGreaterThan(0);
    await heart[Symbol.asyncDispose]();
    expect((await openWatch(opened.database).state()).workers).toEqual([]);
  });

  test("workers with what they train, and unfinished jobs by tenant", async () => {
    const [watch, slices] = [openWatch(opened.database), openSlices(opened.database)];
    expect(await watch.training()).toEqual({ workers: [], queue: [] });
    const first = await create();
    await queueJob(opened, { tenant: "globex", limits: { max_running_jobs: 1 } });
    await queueJob(opened, { tenant: "globex", limits: { max_running_jobs: 1 } });
    await watch.beat({ name: "busy", models: ["tiny", "other"], version: "1" }, true);
    await watch.beat({ name: "idle", models: ["tiny"], version: "2" }, true);
    await opened.database.query(
      "update workers set seen_at = now() - interval '61 seconds' where name = 'idle'",
    );
    await slices.claim("tiny", "busy");
    const { workers, queue } = await watch.training();
    const times = { started_at: expect.any(Number), seen_at: expect.any(Number) };
    const job = { id: first.id, tenant: "acme", model: "tiny", step: 0, steps: null };
    expect(workers).toEqual([
      { name: "busy", models: ["other", "tiny"], version: "1", ...times, is_alive: true, job },
      { name: "idle", models: ["tiny"], version: "2", ...times, is_alive: false, job: null },
    ]);
    const none = { queued: 0, held: 0, running: 0, paused: 0, oldest_seconds: 0 };
    expect(queue).toEqual([
      { ...none, tenant: "acme", running: 1 },
      { ...none, tenant: "globex", queued: 2, oldest_seconds: expect.any(Number) },
    ]);
    const [busy] = workers;
    expect(Math.abs((busy?.seen_at ?? 0) - Date.now() / 1000)).toBeLessThan(60);
  });

  test("a worker that has been silent for a minute is not alive", async () => {
    const watch = openWatch(opened.database);
    const worker = { name: "w", models: ["tiny", "other"], version: "1" };
    await watch.beat(worker, true);
    expect((await watch.state()).workers).toHaveLength(2);
    await opened.database.query(
      "update workers set seen_at = now() - interval '61 seconds' where model = 'tiny'",
    );
    expect((await watch.state()).workers).toEqual([{ model: "other", version: "1", count: 1 }]);
    await watch.beat({ ...worker, models: ["tiny"], version: "2" });
    expect((await watch.state()).workers).toContainEqual({ model: "tiny", version: "2", count: 1 });
    await opened.database.query("update workers set seen_at = now() - interval '2 hours'");
    await watch.beat({ ...worker, name: "v" });
    expect(
      (await opened.database.query("select name from workers group by name", [])).map(({ name }) => name),
    ).toEqual(["v"]);
  });
});

test("a database that is away, or that hangs, does not hold up a scrape, and no old numbers are shown", {
  tags: "thorough",
}, async () => {
  const away = new MosError("network", "PostgreSQL cannot be reached");
  const metrics = createMetrics();
  const database = watchFailures(
    {
      kind: "postgres",
      check: async () => undefined,
      query: async () => Promise.reject(away),
      transaction: async () => Promise.reject(away),
      [Symbol.asyncDispose]: async () => undefined,
    },
    metrics.databaseFailed,
  );
  const samples = parsed(await metrics.render({ read: openWatch(database).state, model: "tiny" }));
  expect(samples.get("mos_database_up")).toBe(0);
  expect(samples.get("mos_database_failures_total")).toBe(1);
  expect([...samples.keys()].filter((name) => /waiting|mos_jobs|mos_workers/.test(name))).toEqual([]);
  const hanging = createMetrics();
  const text = await hanging.render({ read: () => new Promise(() => undefined), model: "tiny" });
  expect(parsed(text).get("mos_database_up")).toBe(0);
});

test("the port of a worker", async () => {
  const metrics = createMetrics();
  metrics.sliceEnded({ model: "tiny", result: "stopped", seconds: 1, trainedTokens: 5 });
  let reason: string | undefined;
  const options = {
    host: "127.0.0.1",
    port: 0,
    metrics: () => metrics.render(),
    problem: async () => reason,
  };
  await using probes = await listenForProbes(options);
  const get = (path: string, init?: RequestInit) => fetch(`http://127.0.0.1:${probes.port}${path}`, init);
  expect(await (await get("/health")).json()).toEqual({ status: "up" });
  expect(await (await get("/ready")).json()).toEqual({ status: "ready" });
  reason = "the server's storage is missing";
  const unready = await get("/ready");
  expect([unready.status, await unready.json()]).toEqual([503, { status: "storage_unavailable", reason }]);
  const answer = await get("/metrics");
  expect(answer.headers.get("content-type")).toMatch(/^text\/plain; version=0\.0\.4/);
  const samples = parsed(await answer.text());
  expect(samples.get('mos_trained_tokens_total{model="tiny"}')).toBe(5);
  // the state of the service is what servers show, or sums over all processes would be wrong
  expect([...samples.keys()].filter((name) => /mos_jobs|mos_database_up/.test(name))).toEqual([]);
  expect([(await get("/")).status, (await get("/health", { method: "POST" })).status]).toEqual([404, 405]);
  await expect(listenForProbes({ ...options, port: probes.port })).rejects.toThrow(
    /127\.0\.0\.1:\d+: the port is in use/,
  );
});
