// A worker that dies in the middle of a slice: the job goes on from what was stored meanwhile, and its events say so.
import { appendFile, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { MosError } from "mixture-of-shards";
import { makeFolder, pathExists } from "mixture-of-shards-core/files";
import { describe, expect, test, vi } from "vitest";
import { openSlices } from "#store";
import { runWorker } from "#worker";
import type { TrainReport } from "../src/worker/trainer.ts";
import { databases, openTables, type TestTables } from "./databases.ts";
import { fakeTrainer, readyReport, stepLine } from "./fake-trainer.ts";
import { queueJob, untilDue } from "./queued-job.ts";

const admin = { tenant: "", isAdmin: true };
const report = (event: object): TrainReport => ({ type: "event", event: event as never });

/** Makes a step and a checkpoint in each run, and then dies, but for the third one, which stops. */
function dyingTrainer(seen: { readonly resume: boolean; readonly steps: number }[]) {
  return fakeTrainer(async function* ({ out, resume }) {
    await makeFolder(join(out, "checkpoints"));
    const metrics = join(out, "metrics.jsonl");
    const steps = (await pathExists(metrics)) ? (await readFile(metrics, "utf8")).split("\n").length - 1 : 0;
    seen.push({ resume, steps });
    const ready = readyReport(10);
    yield ready.type === "event" ? report({ ...ready.event, step: steps }) : ready;
    const step = steps + 1;
    await writeFile(join(out, "run.json"), "{}");
    await appendFile(metrics, `${JSON.stringify(stepLine({ step, tokens: 7 }))}\n`);
    yield report({ type: "saved", what: "checkpoint", step, path: join(out, "checkpoints") });
    if (seen.length < 3) throw new Error("the trainer exited: killed by SIGKILL");
    yield { type: "ended", isComplete: false };
  });
}

const SERVER = { serverUrl: "http://127.0.0.1:1" };

const work = (
  { database, objects, folder }: TestTables,
  trainer: ReturnType<typeof fakeTrainer>,
  slices = openSlices(database, SERVER),
) => {
  const stopping = new AbortController();
  const nothing = (): void => undefined;
  const working = runWorker({
    ...{ name: "w", objects, trainer, scratch: join(folder, "scratch") },
    ...{ slices, ...SERVER },
    log: { info: nothing, warn: nothing, error: nothing },
    ...{ modelName: "tiny", model: "path" },
    signal: stopping.signal,
    ...{ sliceSeconds: 60, keepSeconds: 0, leaseSeconds: 60, stopSeconds: 60, stallSeconds: 60, threads: 1 },
  });
  return async () => {
    stopping.abort();
    await working;
  };
};

describe.each(databases)("%s", (_, open) => {
  test("a job whose trainer dies goes on from the checkpoint of its unfinished slice", async () => {
    await using opened = await openTables(open);
    const { stores } = opened;
    const { id } = await queueJob(opened);
    const seen: { readonly resume: boolean; readonly steps: number }[] = [];
    const stop = work(opened, dyingTrainer(seen));
    try {
      await vi.waitFor(() => expect(seen.length).toBeGreaterThan(3), { timeout: 20_000, interval: 20 });
    } finally {
      await stop();
    }
    expect(seen.slice(0, 4)).toEqual([
      { resume: false, steps: 0 },
      { resume: true, steps: 1 },
      { resume: true, steps: 2 },
      { resume: true, steps: 3 },
    ]);
    const job = await stores.jobs.find(admin, id);
    expect(job).toMatchObject({ failures: 0 });
    // what a run said in its last second is lost with it
    const { rows } = await stores.jobs.events(job, { limit: 100 });
    expect(rows.map(({ message }) => message).filter((text) => text.includes("interrupted"))).toEqual([
      "The job was interrupted, and goes on from the checkpoint at step 2",
    ]);
  });

  test("a run that ends early publishes its last checkpoint, as one that makes all of its steps", async () => {
    await using opened = await openTables(open);
    const { stores } = opened;
    const { id } = await queueJob(opened, { mos: { save_every: 3 } });
    const trainer = fakeTrainer(async function* ({ out }) {
      const path = join(out, "checkpoints");
      await makeFolder(path);
      await writeFile(join(out, "run.json"), "{}");
      yield readyReport(10);
      for (const step of [1, 2, 3, 4]) {
        await writeFile(join(path, "adapter_model.safetensors"), `of step ${step}`);
        await appendFile(join(out, "metrics.jsonl"), `${JSON.stringify(stepLine({ step, tokens: 7 }))}\n`);
        yield report({ type: "saved", what: "checkpoint", step, path, isLast: step === 4 });
      }
      yield { type: "ended", isComplete: false };
    });
    const stop = work(opened, trainer);
    const published = async () =>
      (await stores.models.checkpoints(await stores.jobs.find(admin, id), { limit: 10 })).rows;
    try {
      await vi.waitFor(async () => expect((await published()).map(({ step }) => step)).toEqual([4, 3]), {
        timeout: 20_000,
      });
    } finally {
      await stop();
    }
    expect((await published())[0]?.metrics.step).toMatchObject({ step: 4 });
  });

  const score = { type: "score_model", name: "m", model: "tiny", input: [{ role: "user", content: "?" }] };
  const method = { type: "reinforcement", reinforcement: { grader: score } };

  test("a worker without a server leaves jobs to others whose graders ask models", async () => {
    await using opened = await openTables(open);
    const asking = await queueJob(opened, { method, validationData: Buffer.from("{}\n") });
    const other = await queueJob(opened);
    const alone = openSlices(opened.database);
    expect((await untilDue(() => alone.claim("tiny", "alone"))).id).toBe(other.id);
    expect(await alone.claim("tiny", "alone")).toBeUndefined();
    const served = openSlices(opened.database, SERVER);
    expect((await untilDue(() => served.claim("tiny", "served"))).id).toBe(asking.id);
  });

  test("a database that is away when a slice needs its key is waited for", async () => {
    await using opened = await openTables(open);
    const { id } = await queueJob(opened, { method, validationData: Buffer.from("{}\n") });
    const slices = openSlices(opened.database, SERVER);
    const issueKey = vi
      .fn(slices.issueKey)
      .mockRejectedValueOnce(new MosError("network", "PostgreSQL cannot be reached"));
    const keys: unknown[] = [];
    const trainer = fakeTrainer(async function* ({ models }) {
      keys.push(models?.key);
      yield { type: "failed", code: "bad_data", message: "x" };
    });
    const stop = work(opened, trainer, { ...slices, issueKey });
    try {
      await vi.waitFor(() => expect(keys).toEqual([expect.stringMatching(/^mos-job-/)]), { timeout: 20_000 });
    } finally {
      await stop();
    }
    expect(issueKey).toHaveBeenCalledTimes(2);
    expect(await opened.stores.jobs.find(admin, id)).toMatchObject({ failures: 0 });
  });

  test("a server that has its database alone takes the slices of killed workers over at once", async () => {
    await using opened = await openTables(open);
    const { database, stores } = opened;
    const { id } = await queueJob(opened);
    const slices = openSlices(database);
    await slices.claim("tiny", "killed");
    expect(await slices.recover()).toBe(0);
    expect(await slices.recover({ isAlone: true })).toBe(1);
    expect(await stores.jobs.find(admin, id)).toMatchObject({ status: "queued", failures: 1 });
  });
});
