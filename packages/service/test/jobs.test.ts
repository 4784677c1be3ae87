// Jobs and their slices as rows: what owners see, and what workers may change.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  type FileRow,
  type JobRow,
  jobRequestSchema,
  openSlices,
  type Slices,
  type Stores,
  toTrainingPlan,
} from "#store";
import { databases, openTables, type TestTables } from "./databases.ts";
import { stepLine } from "./fake-trainer.ts";
import { addTrainingFile, untilDue } from "./queued-job.ts";

const MODEL = "tiny";
const digest = (letter: string): string => letter.repeat(64);

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
    await opened.database.query("truncate jobs, files, models, events, checkpoints");
  });

  const acme = { tenant: "acme", isAdmin: false };
  const zeta = { tenant: "zeta", isAdmin: false };

  const addTestFile = (tenant: string): Promise<FileRow> =>
    addTrainingFile(stores, { tenant, digest: digest("a") });

  async function create(tenant: string, more: { key?: string; suffix?: string } = {}): Promise<JobRow> {
    const training = await addTestFile(tenant);
    const request = jobRequestSchema.parse({
      model: MODEL,
      training_file: training.id,
      ...(more.suffix === undefined ? {} : { suffix: more.suffix }),
      metadata: { team: tenant },
    });
    const plan = toTrainingPlan(request, { seed: 1, learningRate: 0.002 });
    return stores.jobs.create({
      tenant,
      request,
      plan,
      training,
      validation: undefined,
      idempotencyKey: more.key,
    });
  }

  const claimNext = (worker = "w"): Promise<JobRow | undefined> => slices.claim(MODEL, worker);
  const claimed = (worker?: string): Promise<JobRow> => untilDue(() => claimNext(worker));

  const withReward = (reward: number) =>
    ({
      type: "evaluation",
      step: 1,
      loss: 1,
      accuracy: 0,
      seconds: 1,
      metrics: { eval_reward: reward },
    }) as const;
  const progress = { step: 3, steps: 9, trainedTokens: 30, seconds: 1.5 };
  const stopped = { type: "stopped", run: { "run.json": digest("b") }, ...progress } as const;
  const succeeded = {
    type: "succeeded",
    adapter: { "adapter_config.json": digest("c") },
    ...progress,
    results: { digest: digest("d"), bytes: 7 },
  } as const;

  test("a job goes through its slices to a model", async () => {
    const { id, status } = await create("acme", { suffix: "my suffix!" });
    expect(status).toBe("queued");
    const first = await claimed();
    expect(first).toMatchObject({ id, status: "running", slice: 0 });
    expect(await claimNext()).toBeUndefined();
    await slices.note(first, [{ name: "step-1", data: stepLine({ step: 1, tokens: 7 }) }]);
    await slices.publishCheckpoint(first, {
      step: 3,
      files: stopped.run,
      metrics: { step: stepLine({ step: 3, tokens: 7 }) },
    });
    expect(await slices.end(first, stopped)).toBe(true);
    const second = await claimed();
    expect(second).toMatchObject({ id, slice: 1, step: 3, run: stopped.run, trained_tokens: 30 });
    await slices.note(second, [
      { name: "step-1", data: stepLine({ step: 1, tokens: 7 }) },
      { name: "warning", message: "Careful" },
    ]);
    expect(await slices.end(second, { ...succeeded, step: 9 })).toBe(true);
    const job = await stores.jobs.find(acme, id);
    expect(job).toMatchObject({ status: "succeeded", step: 9, seconds: 3, run: null });
    expect(job.fine_tuned_model).toBe(`ft:tiny:acme:my-suffix:${id.slice(-8)}`);
    const { rows } = await stores.jobs.events(job, { limit: 20 });
    expect(rows.map(({ message }) => message)).toEqual([
      "The job has successfully completed",
      `New fine-tuned model created: ${job.fine_tuned_model}`,
      "Careful",
      "",
      `Created fine-tuning job: ${id}`,
    ]);
    expect((await stores.models.checkpoints(job, { limit: 10 })).rows).toMatchObject([
      {
        step: 3,
        model: `${job.fine_tuned_model}:ckpt-step-3`,
        metrics: { step: stepLine({ step: 3, tokens: 7 }) },
      },
    ]);
    expect([...(await stores.models.published()).keys()].sort()).toEqual([
      job.fine_tuned_model,
      `${job.fine_tuned_model}:ckpt-step-3`,
    ]);
    expect(await stores.contents.used(["a", "b", "c", "d", "e"].map(digest))).toEqual(
      new Set(["a", "b", "c", "d"].map(digest)),
    );
    await expect(stores.jobs.cancel(acme, id)).rejects.toMatchObject({ code: "bad_option" });
  });

  test("a worker that was believed dead changes nothing", async () => {
    await create("acme");
    const dead = await claimed("dead");
    await opened.database.query("update jobs set lease_until = now() - interval '1 s'");
    expect(await slices.recover()).toBe(1);
    expect(await slices.recover()).toBe(0);
    const next = await claimed("next");
    expect(next).toMatchObject({ id: dead.id, slice: dead.slice });
    expect(await slices.renew(dead)).toBe("lost");
    await slices.note(dead, [{ name: "late", message: "late" }]);
    await slices.publishCheckpoint(dead, { step: 1, files: {}, metrics: {} });
    expect(await slices.end(dead, succeeded)).toBe(false);
    expect(await slices.renew(next)).toBe("held");
    const job = await stores.jobs.find(acme, dead.id);
    expect(job).toMatchObject({ status: "running", slice: 0 });
    expect((await stores.jobs.events(job, { limit: 9 })).rows).toHaveLength(1);
    expect((await stores.models.checkpoints(job, { limit: 9 })).rows).toEqual([]);
    expect(await slices.end(next, stopped)).toBe(true);
    expect(await slices.end(next, stopped)).toBe(false);
  });

  test("pause, resume and cancel, whether a slice runs or not", async () => {
    const { id } = await create("acme");
    expect(await stores.jobs.pause(acme, id)).toMatchObject({ status: "paused" });
    expect(await claimNext()).toBeUndefined();
    expect(await stores.jobs.resume(acme, id)).toMatchObject({ status: "queued" });
    const running = await claimed();
    expect(await stores.jobs.pause(acme, id)).toMatchObject({ status: "running", wanted: "pause" });
    expect(await slices.renew(running)).toBe("pause");
    await slices.end(running, stopped);
    expect(await stores.jobs.find(acme, id)).toMatchObject({ status: "paused", step: 3 });
    await expect(stores.jobs.resume(zeta, id)).rejects.toMatchObject({ code: "not_found" });
    await stores.jobs.resume(acme, id);
    await expect(stores.jobs.resume(acme, id)).rejects.toMatchObject({ code: "bad_option" });
    const again = await claimed();
    expect(await stores.jobs.cancel(acme, id)).toMatchObject({ status: "cancelled" });
    expect(await slices.renew(again)).toBe("lost");
    expect(await slices.end(again, succeeded)).toBe(false);
    expect(await claimNext()).toBeUndefined();
    await expect(stores.jobs.pause(acme, id)).rejects.toMatchObject({ code: "bad_option" });
  });

  test("interruptions are tried again, and too many fail the job", async () => {
    const { id } = await create("acme");
    const { database } = opened;
    for (let i = 0; i < 3; i++) {
      // they wait for their time
      await database.query("update jobs set queued_at = now() - interval '1 s'");
      expect(await slices.end(await claimed(), { type: "interrupted", message: "it fell" })).toBe(true);
    }
    expect(await stores.jobs.find(acme, id)).toMatchObject({
      status: "failed",
      error: { code: "server_error", message: "the worker failed 3 times in a row: it fell", param: null },
    });
  });

  test("the newest checkpoints of a job stay, with their models", async () => {
    const { id } = await create("acme");
    const first = await claimed();
    const checkpoint = (step: number) => ({ step, files: { a: digest("e") }, metrics: {} });
    // another one's alias holds none of them
    await stores.aliases.set({ tenant: "zeta", id: "support" }, { model: MODEL });
    for (let step = 1; step <= 14; step++) await slices.publishCheckpoint(first, checkpoint(step));
    // as by a worker that makes a slice again
    await slices.publishCheckpoint(first, checkpoint(2));
    await slices.publishCheckpoint(first, checkpoint(13));
    const { rows } = await stores.models.checkpoints(await stores.jobs.find(acme, id), { limit: 99 });
    expect(rows.map(({ step }) => step)).toEqual([14, 13, 12, 11, 10, 9, 8, 7, 6, 5]);
    expect(new Set((await stores.models.published()).keys())).toEqual(
      new Set(rows.map(({ model }) => model)),
    );
  });

  test.each([
    ["a reinforcement job", { method: { type: "reinforcement", reinforcement: { grader: {} } } }],
    ["a job with evaluate_by", { mos: { evaluate_by: {} } }],
  ])("of %s the three with the highest mean reward stay", async (_, graded) => {
    const { id } = await create("acme");
    await opened.database.query("update jobs set request = request || $2 where id = $1", [id, graded]);
    const first = await claimed();
    for (const [i, reward] of [0.1, 0.5, 0.4, 0.2, 0.5, 0.3].entries())
      await slices.publishCheckpoint(first, {
        ...{ step: i + 1, files: { a: digest("e") }, metrics: { evaluation: withReward(reward) } },
      });
    const { rows } = await stores.models.checkpoints(await stores.jobs.find(acme, id), { limit: 99 });
    expect(rows.map(({ step }) => step)).toEqual([5, 3, 2]);
  });

  test("a checkpoint that an alias stands for stays", async () => {
    const { id } = await create("acme");
    const first = await claimed();
    const checkpoint = (step: number) => ({ step, files: { a: digest("e") }, metrics: {} });
    const list = async () =>
      (await stores.models.checkpoints(await stores.jobs.find(acme, id), { limit: 99 })).rows;
    await slices.publishCheckpoint(first, checkpoint(1));
    const model = (await list())[0]?.model ?? "";
    await stores.aliases.set({ tenant: "acme", id: "support" }, { model });
    for (let step = 2; step <= 14; step++) await slices.publishCheckpoint(first, checkpoint(step));
    expect((await list()).map(({ step }) => step)).toEqual([14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 1]);
    expect([...(await stores.models.published()).keys()]).toContain(model);
  });

  test("what a newer version has made is left to it", async () => {
    const { id, plan } = await create("acme");
    const { database } = opened;
    await database.query("insert into migrations values (1000)");
    await expect(slices.claim(MODEL, "old")).rejects.toMatchObject({
      code: "unsupported",
      message: expect.stringContaining("created by a newer version"),
    });
    await database.query("delete from migrations where number = 1000");
    for (const newer of [
      { ...plan, reward: {} },
      { ...plan, settings: { ...plan.settings, momentum: 1 } },
      { ...plan, adapter: { ...plan.adapter, method: "next" } },
      { ...plan, adapter: { ...plan.adapter, depth: 2 } },
    ]) {
      await database.query("update jobs set plan = $2 where id = $1", [id, newer]);
      await expect(slices.claim(MODEL, "old")).rejects.toMatchObject({
        code: "unsupported",
        message: expect.stringContaining("requires a newer version"),
      });
      expect(await stores.jobs.find(acme, id)).toMatchObject({ status: "queued", slice: 0, lease: 0 });
    }
    await database.query("update jobs set plan = $2 where id = $1", [id, plan]);
    expect(await slices.claim(MODEL, "new")).toMatchObject({ id });
  });

  test("a run that cannot be gone on with is made anew", async () => {
    const { id } = await create("acme");
    const begun = await claimed();
    const step = { step: 1, files: { a: digest("e") }, metrics: {} };
    await slices.note(begun, [{ name: "step-1", message: "Step 1" }]);
    await slices.publishCheckpoint(begun, step);
    await slices.end(begun, stopped);
    const resumed = await claimed();
    expect(await slices.end(resumed, { type: "restarted", message: "x was 1, now 2" })).toBe(true);
    const anew = await claimed();
    expect(anew).toMatchObject({ id, run: null, step: 0, trained_tokens: 0, slice: 2, restarts: 1 });
    expect((await stores.models.published()).size).toBe(0);
    const { rows } = await stores.jobs.events(await stores.jobs.find(acme, id), { limit: 1 });
    expect(rows).toMatchObject([
      { level: "warn", message: "The job restarts from its first step: x was 1, now 2" },
    ]);
    // the new run has checkpoints and events of the same steps
    await slices.note(anew, [{ name: "step-1", message: "Step 1 again" }]);
    await slices.publishCheckpoint(anew, step);
    expect((await stores.jobs.events(anew, { limit: 1 })).rows[0]?.message).toBe("Step 1 again");
    expect([...(await stores.models.published()).keys()]).toEqual([
      expect.stringMatching(/:ckpt-step-1-run-2$/),
    ]);
  });

  test("many jobs of one tenant come after the first of another", async () => {
    const sent = await create("acme");
    await opened.database.query(
      `insert into jobs (id, tenant, model, status, request, plan, training_file, training_digest, turn, queued_at)
       select 'ftjob-' || n, tenant, model, status, request, plan, training_file, training_digest, turn + n, queued_at
       from jobs, generate_series(1, 999) as n`,
    );
    const first = await claimed();
    expect(first.id).toBe(sent.id);
    await create("zeta");
    await slices.end(first, stopped);
    expect((await claimed()).tenant).toBe("zeta");
  });

  test("a tenant's one long job and another's two take turns", async () => {
    await create("acme");
    await create("zeta");
    await create("zeta");
    const tenants: string[] = [];
    for (let i = 0; i < 9; i++) {
      const job = await claimed();
      tenants.push(job.tenant);
      await slices.end(job, stopped);
    }
    for (let i = 2; i < 9; i++) expect(new Set(tenants.slice(i - 2, i + 1)).size, tenants.join()).toBe(2);
  });

  test("the same request with the same key is one job", async () => {
    const training = await addTestFile("acme");
    const request = jobRequestSchema.parse({ model: MODEL, training_file: training.id, seed: 3 });
    const plan = toTrainingPlan(request, { seed: 3, learningRate: 0.002 });
    const made = { tenant: "acme", request, plan, training, validation: undefined, idempotencyKey: "k" };
    const [one, two] = await Promise.all([stores.jobs.create(made), stores.jobs.create(made)]);
    expect(two.id).toBe(one.id);
    const other = { ...made, request: { ...request, seed: 4 } };
    await expect(stores.jobs.create(other)).rejects.toMatchObject({ code: "bad_option" });
    expect((await stores.jobs.create({ ...other, tenant: "zeta" })).id).not.toBe(one.id);
  });

  test("pages, filters, and other tenants", async () => {
    const made: string[] = [];
    for (let i = 0; i < 5; i++) made.unshift((await create("acme")).id);
    await create("zeta");
    const first = await stores.jobs.list(acme, { limit: 3 });
    expect(first.rows.map(({ id }) => id)).toEqual(made.slice(0, 3));
    expect(first.hasMore).toBe(true);
    const second = await stores.jobs.list(acme, { limit: 3, after: made[2] });
    expect(second.rows.map(({ id }) => id)).toEqual(made.slice(3));
    expect(second.hasMore).toBe(false);
    await expect(stores.jobs.list(zeta, { limit: 3, after: made[2] })).rejects.toMatchObject({
      code: "bad_option",
    });
    expect((await stores.jobs.list(acme, { limit: 9, metadata: { team: "acme" } })).rows).toHaveLength(5);
    expect((await stores.jobs.list(acme, { limit: 9, metadata: { team: "x" } })).rows).toEqual([]);
    expect((await stores.jobs.list(acme, { limit: 9, metadata: "none" })).rows).toEqual([]);
    expect((await stores.jobs.list({ tenant: "root", isAdmin: true }, { limit: 9 })).rows).toHaveLength(6);
    const [file] = (await stores.files.list(zeta, { limit: 9, order: "asc" })).rows;
    await expect(stores.files.find(acme, file?.id ?? "")).rejects.toMatchObject({ code: "not_found" });
    await expect(stores.files.remove(acme, file?.id ?? "")).rejects.toMatchObject({ code: "not_found" });
    await stores.files.remove(zeta, file?.id ?? "");
    expect((await stores.files.list(zeta, { limit: 9 })).rows).toEqual([]);
  });
});
