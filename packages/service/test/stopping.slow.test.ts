// What ends trainers: a worker that is told to end, or has lost its lease, and too long a time without progress.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { finetune } from "mixture-of-shards";
import { toFileName } from "mixture-of-shards-core/files";
import type OpenAI from "openai";
import { toFile } from "openai";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { openPostgres } from "#database";
import { type JobRow, openSlices } from "#store";
import { runWorker } from "#worker";
import { createMetrics } from "../src/metrics.ts";
import { type Cluster, postgresPrograms, startCluster } from "./cluster.ts";
import { databases, openTables, type TestTables } from "./databases.ts";
import { listTrainers, processState } from "./processes.ts";
import { startProxy } from "./proxy.ts";
import { queueJob } from "./queued-job.ts";
import { endProcess, startMos, startServing } from "./serving.ts";

const MODEL = "assets/tiny-english";
const DATA = "assets/quickstart/train.jsonl";
const owner = { tenant: "acme", isAdmin: false };
const MOS = { rank: 6, equivalent_rank: 2, steps: 8, save_every: 2, learning_rate: 0.01, max_length: 64 };
/** Of a job that does not end within this test. */
const ENDLESS = { ...MOS, steps: 100_000 };

/** The trainer of a process, once it has one. */
const waitForTrainer = (pid: number | undefined): Promise<number> =>
  vi.waitFor(
    async () => {
      const [trainer] = await listTrainers([pid]);
      if (trainer === undefined) throw new Error("there is no trainer");
      return trainer;
    },
    { timeout: 60_000, interval: 50 },
  );

describe.each(databases)("a worker on %s", (_, open) => {
  let opened: TestTables;
  beforeAll(async () => {
    opened = await openTables(open);
  });
  afterAll(() => opened[Symbol.asyncDispose]());

  const create = async (mos: object): Promise<JobRow> =>
    queueJob(opened, { model: "tiny-english", mos, seed: 5, data: await readFile(DATA) });

  function startWorker(times: { readonly stopSeconds: number; readonly stallSeconds: number }) {
    const stopping = new AbortController();
    const warnings: object[] = [];
    const metrics = createMetrics();
    const silent = (): void => undefined;
    const ended = runWorker({
      name: "w",
      slices: openSlices(opened.database),
      objects: opened.objects,
      ...{ modelName: "tiny-english", model: MODEL },
      scratch: join(opened.folder, "scratch"),
      ...times,
      log: { info: silent, error: silent, warn: (fields, msg) => void warnings.push({ ...fields, msg }) },
      onSlice: metrics.sliceEnded,
      onStall: metrics.trainerStalled,
      sliceSeconds: 60,
      leaseSeconds: 20,
      threads: 1,
      signal: stopping.signal,
    });
    return { ended, metrics, warnings, stop: () => stopping.abort() };
  }

  test("a trainer that is stopped is killed, which is said, and the job has the bytes of one run", async () => {
    const { id, plan } = await create(MOS);
    const worker = startWorker({ stopSeconds: 60, stallSeconds: 5 });
    const first = await waitForTrainer(process.pid);
    process.kill(first, "SIGSTOP");
    const ended = async (): Promise<JobRow> => {
      const job = await opened.stores.jobs.find(owner, id);
      expect(job.status).toBe("succeeded");
      return job;
    };
    const job = await vi.waitFor(ended, { timeout: 120_000, interval: 200 });
    worker.stop();
    await worker.ended;
    expect(worker.warnings).toEqual([
      expect.objectContaining({
        job: id,
        tenant: "acme",
        model: "tiny-english",
        msg: "killed a trainer that made no progress",
        reason: "the trainer made no progress for 5 s and was killed",
      }),
    ]);
    expect(await worker.metrics.render()).toContain('mos_trainers_stalled_total{model="tiny-english"} 1');
    expect(await processState(first)).toBeUndefined();
    const out = join(opened.folder, "alone");
    const options = { model: MODEL, data: DATA, out, ...(plan as object), session: { threads: 1 } };
    for await (const _event of finetune(options as Parameters<typeof finetune>[0]));
    const files = await opened.stores.models.files(job.fine_tuned_model ?? "");
    const adapter = await readFile(
      (await opened.objects.locate(files?.["adapter_model.safetensors"] ?? "")).path,
    );
    expect(adapter.equals(await readFile(join(out, "adapter_model.safetensors")))).toBe(true);
  });

  test("a worker ends within its deadline though its trainer is stopped, and gives the slice back", async () => {
    const { id } = await create(ENDLESS);
    const worker = startWorker({ stopSeconds: 1, stallSeconds: 600 });
    const trainer = await waitForTrainer(process.pid);
    process.kill(trainer, "SIGSTOP");
    const started = performance.now();
    worker.stop();
    await worker.ended;
    expect(performance.now() - started).toBeLessThan(5000);
    expect(await processState(trainer)).toBeUndefined();
    expect(await opened.stores.jobs.find(owner, id)).toMatchObject({ status: "queued", failures: 1 });
    await opened.stores.jobs.cancel(owner, id);
  });
});

/** Creates a job. */
async function train(client: OpenAI, mos: object): Promise<string> {
  const file = await client.files.create({
    file: await toFile(await readFile(DATA), "train.jsonl"),
    purpose: "fine-tune",
  });
  const body = { model: "tiny", training_file: file.id, seed: 1, mos };
  return (await client.fineTuning.jobs.create(body as OpenAI.FineTuning.JobCreateParams)).id;
}

describe("a server with a worker", () => {
  test("SIGTERM ends it within its deadline though the trainer is stopped", async () => {
    await using server = await startServing(["acme"], { more: ["--stop-seconds", "2"] });
    await train(server.client("acme"), ENDLESS);
    const trainer = await waitForTrainer(server.process.pid);
    process.kill(trainer, "SIGSTOP");
    const started = performance.now();
    server.process.kill("SIGTERM");
    await vi.waitFor(() => expect(server.process.exitCode).toBe(0), { timeout: 15_000 });
    expect(performance.now() - started).toBeLessThan(15_000);
    expect(await processState(trainer)).toBeUndefined();
  });
});

const programs = await postgresPrograms();

describe.runIf(programs !== undefined)("on a PostgreSQL of its own", () => {
  let cluster: Cluster;
  beforeEach(async () => {
    // a database of its own for each storage
    cluster = await startCluster(programs ?? "");
  });
  afterEach(() => cluster[Symbol.asyncDispose]());

  function startWorker(url: string, more: readonly string[]) {
    const lines: string[] = [];
    const child = startMos(["worker", "--database-url", url, ...more], {
      onLine: (line) => lines.push(line),
    });
    return { child, lines, [Symbol.asyncDispose]: () => endProcess(child, "SIGKILL") };
  }

  test("a worker that was stopped past its lease leaves the slice to others", async () => {
    await using server = await startServing(["acme"], { url: cluster.url, more: ["--workers", "0"] });
    await using database = await openPostgres(cluster.url);
    const { jobs: api } = server.client("acme").fineTuning;
    const shared = ["--storage", server.storage, "--lease-seconds", "4"];
    const succeeded = async (id: string): Promise<string> =>
      vi.waitFor(
        async () => {
          const job = await api.retrieve(id);
          expect(job.status).toBe("succeeded");
          return job.fine_tuned_model ?? "";
        },
        { timeout: 90_000, interval: 200 },
      );
    const selectRows = async (id: string): Promise<unknown> => ({
      job: await database.query("select * from jobs where id = $1", [id]),
      events: await database.query("select * from events where job = $1 order by id", [id]),
      checkpoints: await database.query("select * from checkpoints where job = $1 order by step", [id]),
    });
    await using stopped = startWorker(cluster.url, shared);
    const id = await train(server.client("acme"), { ...MOS, steps: 60, gradient_accumulation_steps: 16 });
    const step = async (): Promise<void> =>
      expect((await api.listEvents(id)).data.map(({ message }) => message).join()).toMatch(/Step 1\//);
    await vi.waitFor(step, { timeout: 60_000, interval: 50 });
    const trainer = await waitForTrainer(stopped.child.pid);
    stopped.child.kill("SIGSTOP");
    const model = await (async () => {
      await using _other = startWorker(cluster.url, shared);
      return await succeeded(id); // the other worker ends after it
    })();
    const before = await selectRows(id);
    expect(await processState(trainer)).toBeDefined();
    stopped.child.kill("SIGCONT");
    await vi.waitFor(() => expect(stopped.lines.join("\n")).toContain('"result":"lost"'), {
      timeout: 20_000,
    });
    await vi.waitFor(async () => expect(await processState(trainer)).toBeUndefined(), { timeout: 10_000 });
    const next = await train(server.client("acme"), MOS);
    await succeeded(next);
    expect(await selectRows(id)).toEqual(before);
    const out = join(server.folder, "lone");
    const [row] = await database.query("select plan from jobs where id = $1", [id]);
    const options = { model: MODEL, data: DATA, out, ...(row?.["plan"] as object), session: { threads: 1 } };
    for await (const _event of finetune(options as Parameters<typeof finetune>[0]));
    const served = join(server.storage, "adapters", toFileName(model));
    const adapter = await readFile(join(served, "adapter_model.safetensors"));
    expect(adapter.equals(await readFile(join(out, "adapter_model.safetensors")))).toBe(true);
  });

  // the last one, since its jobs do not end
  test("SIGTERM ends server and worker though the database hangs", async () => {
    await using proxy = await startProxy(cluster.url);
    const more = ["--stop-seconds", "1", "--drain-seconds", "0", "--workers", "1"];
    await using server = await startServing(["acme", "other"], { url: proxy.url, more });
    await using worker = startWorker(proxy.url, ["--storage", server.storage, "--stop-seconds", "1"]);
    for (const tenant of ["acme", "other"]) await train(server.client(tenant), ENDLESS);
    const processes = [server.process, worker.child];
    const trainers = await Promise.all(processes.map(({ pid }) => waitForTrainer(pid)));
    proxy.silence();
    for (const one of processes) one.kill("SIGTERM");
    const exits = (): unknown => processes.map(({ exitCode }) => exitCode);
    try {
      await vi.waitFor(() => expect(exits()).toEqual([1, 1]), { timeout: 30_000 });
      expect(server.lines.join("\n")).toContain("the server did not exit within 16 s and is terminated");
      expect(worker.lines.join("\n")).toContain("the worker did not exit within 16 s and is terminated");
      for (const trainer of trainers)
        await vi.waitFor(async () => expect(await processState(trainer)).toBeUndefined(), {
          timeout: 10_000,
        });
    } finally {
      server.process.kill("SIGKILL");
    }
  });
});
