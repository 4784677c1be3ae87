// Workers train real jobs on the bundled model, in slices as short as can be, and the result is that of an uninterrupted run.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { finetune } from "mixture-of-shards";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { type ObjectStore, openObjects } from "#objects";
import { type JobRow, type Jobs, jobRequestSchema, openSlices, type Queue, toTrainingPlan } from "#store";
import { runWorker } from "#worker";
import { databases, openTables, type TestTables } from "./databases.ts";

const MODEL = "assets/tiny-english";
const DATA = "assets/quickstart/train.jsonl";
const owner = { tenant: "acme", isAdmin: false };

describe.each(databases)("%s", (_, open) => {
  let opened: TestTables;
  let queue: Queue;
  let jobs: Jobs;
  let objects: ObjectStore;
  let folder: string;
  beforeAll(async () => {
    opened = await openTables(open);
    ({ queue, jobs } = opened);
    folder = await mkdtemp(join(tmpdir(), "mos-worker-"));
    objects = await openObjects(join(folder, "storage"));
  });
  afterAll(async () => {
    await opened[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  async function create(
    mos: Readonly<Record<string, unknown>>,
    limits: Parameters<Jobs["create"]>[0]["limits"] = {},
    tenant = "acme",
    validationFile?: Buffer,
  ): Promise<JobRow> {
    const add = async (data: Buffer) => {
      const { digest, bytes } = await objects.put(Readable.from([data]));
      return jobs.addFile({
        tenant,
        purpose: "fine-tune",
        filename: "train.jsonl",
        bytes,
        digest,
        status: "processed",
        status_details: null,
      });
    };
    const training = await add(await readFile(DATA));
    const validation = validationFile === undefined ? undefined : await add(validationFile);
    const request = jobRequestSchema.parse({
      model: "tiny-english",
      training_file: training.id,
      validation_file: validation?.id,
      mos,
    });
    return jobs.create({
      tenant,
      request,
      plan: toTrainingPlan(request, { seed: 5, learningRate: 0.002 }),
      training,
      validation,
      limits,
    });
  }

  /** Works until a job is over, or as it is asked for. */
  async function workUntil(
    id: string,
    sliceSeconds: number,
    isThere: (job: JobRow) => boolean = ({ status }) => ["succeeded", "failed"].includes(status),
    by = owner,
    leaseSeconds = 20,
  ): Promise<JobRow> {
    const stopped = new AbortController();
    const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
    const worker = runWorker({
      name: "w",
      slices: openSlices(opened.database, queue),
      queue,
      objects,
      log,
      sliceSeconds,
      models: new Map([["tiny-english", MODEL]]),
      scratch: join(folder, "scratch"),
      leaseSeconds,
      stopSeconds: 60,
      stallSeconds: 60,
      threads: 1,
      signal: stopped.signal,
    });
    for (;;) {
      const job = await jobs.job(by, id);
      if (isThere(job)) {
        stopped.abort();
        await worker;
        return job;
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  const MOS = { rank: 6, equivalent_rank: 2, steps: 4, save_every: 2, learning_rate: 0.01 };

  test("a job of many slices has the bytes of one run", async () => {
    const { id, plan } = await create(MOS);
    const job = await workUntil(id, 0);
    expect(job).toMatchObject({ status: "succeeded", step: 4, steps: 4 });
    expect(job.slice).toBeGreaterThanOrEqual(2);
    const out = join(folder, "alone");
    const options = { model: MODEL, data: DATA, out, ...(plan as object), session: { threads: 1 } };
    for await (const _event of finetune(options as Parameters<typeof finetune>[0]));
    const files = (await jobs.modelFiles(job.fine_tuned_model ?? "")) ?? {};
    for (const [name, digest] of Object.entries(files))
      expect(await readFile(await objects.locate(digest)), name).toEqual(await readFile(join(out, name)));
    expect(Object.keys(files)).toEqual(["adapter_config.json", "adapter_model.safetensors"]);
    const steps = (await jobs.events(job, { limit: 100 })).rows.flatMap(({ data }) =>
      data?.["train_loss"] === undefined ? [] : [data["step"]],
    );
    expect(steps).toEqual([4, 3, 2, 1]);
    const results = await jobs.file(owner, job.result_file ?? "");
    const csv = await readFile(await objects.locate(results.digest), "utf8");
    expect(csv.split("\n").map((line) => line.split(",")[0])).toEqual(["step", "1", "2", "3", "4", ""]);
    expect((await jobs.checkpoints(job, { limit: 10 })).rows.map(({ step }) => step)).toEqual([4, 2]);
  });

  test("a job that takes more than its key allows fails as soon as that is known", async () => {
    const events = async (job: JobRow) =>
      (await jobs.events(job, { limit: 100 })).rows.filter(({ data }) => data?.["train_loss"] !== undefined);
    const { steps: _, ...epochs } = MOS;
    const long = await workUntil((await create(epochs, { max_steps_per_job: 2 })).id, 60);
    expect(long).toMatchObject({ status: "failed", error: { code: "step_limit_exceeded" }, step: 0 });
    expect(long.error?.message).toMatch(/^the job takes \d+ steps, more than the limit of this key, 2$/);
    const large = await workUntil((await create(epochs, { max_tokens_per_job: 3000 })).id, 60);
    expect(large.error).toMatchObject({ code: "token_limit_exceeded" });
    for (const job of [long, large]) expect((await events(job)).length).toBeLessThan(2);
    // by steps, across slices
    const whole = await workUntil((await create(MOS)).id, 0);
    const most = (whole.trained_tokens ?? 0) - 1;
    const cut = await workUntil((await create(MOS, { max_tokens_per_job: most })).id, 0);
    expect(cut).toMatchObject({ status: "failed", error: { code: "token_limit_exceeded" } });
    expect(cut.slice).toBeGreaterThanOrEqual(2);
    const enough = await workUntil((await create(MOS, { max_tokens_per_job: most + 1 })).id, 0);
    expect(enough.status).toBe("succeeded");
  });

  test("a job of one long step gives way within it, and pauses there", { timeout: 300_000 }, async () => {
    const long = { ...MOS, steps: 1, batch_size: 1, max_length: 64, gradient_accumulation_steps: 2500 };
    const { id, plan } = await create(long, {}, "other");
    const other = { tenant: "other", isAdmin: false };
    await workUntil(id, 0, ({ trained_tokens }) => (trained_tokens ?? 0) > 0, other);
    const { id: short } = await create(MOS);
    await workUntil(short, 0.1);
    const waiting = await jobs.job(other, id);
    expect(waiting).toMatchObject({ status: "queued", step: 0 });
    expect(waiting.slice).toBeGreaterThanOrEqual(1);
    expect(waiting.trained_tokens).toBeGreaterThan(0);
    expect((await jobs.events(waiting, { limit: 1 })).rows[0]?.message).toBe(
      `Step 1/1: ${waiting.trained_tokens} tokens so far`,
    );
    expect((await jobs.checkpoints(waiting, { limit: 10 })).rows).toEqual([]);
    // in the middle of a slice
    const pausing = workUntil(id, 600, ({ status }) => status === "paused", other, 6);
    await jobs.pause(other, id);
    const paused = await pausing;
    expect(paused).toMatchObject({ step: 0, seconds: expect.any(Number) });
    await jobs.resume(other, id);
    const job = await workUntil(id, 3, undefined, other);
    expect(job).toMatchObject({ status: "succeeded", step: 1, steps: 1 });
    const out = join(folder, "long-alone");
    const options = { model: MODEL, data: DATA, out, ...(plan as object), session: { threads: 1 } };
    let tokens = 0;
    for await (const event of finetune(options as Parameters<typeof finetune>[0]))
      if (event.type === "step") ({ tokens } = event);
    expect(job.trained_tokens).toBe(tokens);
    const files = await jobs.modelFiles(job.fine_tuned_model ?? "");
    const adapter = await objects.locate(files?.["adapter_model.safetensors"] ?? "");
    expect(await readFile(adapter)).toEqual(await readFile(join(out, "adapter_model.safetensors")));
    // counted before the step: nothing is trained of one that is too large
    for (const length of [{ steps: 1 }, { steps: undefined, epochs: 0.1 }]) {
      const { id: large } = await create({ ...long, ...length }, { max_tokens_per_job: tokens - 1 });
      const refused = await workUntil(large, 0.1);
      expect(refused).toMatchObject({ status: "failed", step: 0, slice: 1 });
      expect(refused.error).toMatchObject({
        code: "token_limit_exceeded",
        message: `the job takes ${tokens} tokens, more than the limit of this key, ${tokens - 1}`,
      });
    }
  });

  test("a job with a long validation file gives way within its evaluations, and pauses there", {
    timeout: 300_000,
  }, async () => {
    const mos = { ...MOS, steps: 1, batch_size: 1, max_length: 64 };
    const validation = Buffer.concat(Array<Buffer>(30).fill(await readFile(DATA)));
    const { id, plan } = await create(mos, {}, "other", validation);
    const other = { tenant: "other", isAdmin: false };
    await workUntil(id, 0, ({ slice }) => slice > 0, other);
    const { id: short } = await create({ ...MOS, steps: 1 });
    await workUntil(short, 0.1);
    const waiting = await jobs.job(other, id);
    expect(waiting).toMatchObject({ status: "queued", step: 0, trained_tokens: 0 });
    expect(waiting.slice).toBeGreaterThanOrEqual(1);
    expect((await jobs.events(waiting, { limit: 1 })).rows[0]?.message).toMatch(
      /^Step 0\/1: \d+ validation batches so far$/,
    );
    // in the middle of a slice
    const pausing = workUntil(id, 600, ({ status }) => status === "paused", other, 6);
    await vi.waitFor(
      async () => expect(await jobs.job(other, id)).toMatchObject({ status: "running" }),
      20_000,
    );
    await jobs.pause(other, id);
    expect(await pausing).toMatchObject({ step: 0, slice: waiting.slice + 1 });
    await jobs.resume(other, id);
    const job = await workUntil(id, 3, undefined, other);
    expect(job).toMatchObject({ status: "succeeded", step: 1, steps: 1 });
    const [out, validationData] = [join(folder, "evaluated-alone"), join(folder, "validation.jsonl")];
    await writeFile(validationData, validation);
    const options = {
      model: MODEL,
      data: DATA,
      validationData,
      out,
      ...(plan as object),
      session: { threads: 1 },
    };
    const valid = new Map<number, number>();
    for await (const event of finetune(options as Parameters<typeof finetune>[0]))
      if (event.type === "evaluation") valid.set(event.step, event.loss);
    const files = await jobs.modelFiles(job.fine_tuned_model ?? "");
    const adapter = await objects.locate(files?.["adapter_model.safetensors"] ?? "");
    expect(await readFile(adapter)).toEqual(await readFile(join(out, "adapter_model.safetensors")));
    const { rows } = await jobs.events(job, { limit: 100 });
    const losses = rows.flatMap(({ data }) => (data?.["full_valid_loss"] === undefined ? [] : [data]));
    expect(new Map(losses.map((data) => [data["step"], data["full_valid_loss"]]))).toEqual(valid);
    expect(losses).toHaveLength(2);
    // a checkpoint is published with the evaluation of its step, though slices end between them
    const checkpoints = (await jobs.checkpoints(job, { limit: 10 })).rows;
    expect(checkpoints.map(({ step, metrics }) => [step, metrics["full_valid_loss"]])).toEqual([
      [1, valid.get(1)],
    ]);
    for (const { metrics } of checkpoints) expect(metrics["train_loss"]).toBeGreaterThan(0);
  });

  test("a run of another version is made anew, and says so", async () => {
    const { id, plan } = await create({ ...MOS, steps: 5 });
    const { database } = opened;
    await workUntil(id, 0, ({ slice }) => slice === 1);
    const { run, step } = await jobs.job(owner, id);
    expect(step).toBeGreaterThan(0);
    // as a version wrote it that had a setting more
    const record = JSON.parse(await readFile(await objects.locate(run?.["run.json"] ?? ""), "utf8"));
    const other = { ...record, settings: { ...record.settings, lookahead: 3 } };
    const { digest } = await objects.put(Readable.from([Buffer.from(JSON.stringify(other))]));
    await database.query("update jobs set run = $2 where id = $1", [id, { ...run, "run.json": digest }]);
    const job = await workUntil(id, 60);
    expect(job).toMatchObject({ status: "succeeded", step: 5 });
    const { rows } = await jobs.events(job, { limit: 100 });
    expect(rows.filter(({ level }) => level === "warn").map(({ message }) => message)).toEqual([
      expect.stringMatching(/^The job restarts from its first step: .*settings\.lookahead was 3/),
    ]);
    expect(rows.map(({ message }) => message).join()).not.toContain(folder);
    const out = join(folder, "anew");
    const options = { model: MODEL, data: DATA, out, ...(plan as object), session: { threads: 1 } };
    for await (const _event of finetune(options as Parameters<typeof finetune>[0]));
    const files = await jobs.modelFiles(job.fine_tuned_model ?? "");
    const adapter = await objects.locate(files?.["adapter_model.safetensors"] ?? "");
    expect(await readFile(adapter)).toEqual(await readFile(join(out, "adapter_model.safetensors")));
  });

  test("what is wrong with a job fails it with a reason that names no path", async () => {
    const { id } = await create({ ...MOS, learning_rate: 10, rank: 5, shards_per_vector: 7 });
    const job = await workUntil(id, 60);
    expect(job).toMatchObject({ status: "failed", error: { code: "invalid_hyperparameters" } });
    expect(job.error?.message).not.toMatch(/\/|scratch/);
  });
});
