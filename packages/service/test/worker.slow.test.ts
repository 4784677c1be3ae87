// Workers train real jobs on the bundled model, in slices as short as can be, and the result is that of an uninterrupted run.
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { finetune } from "mixture-of-shards";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { type JobRow, openSlices, type Stores } from "#store";
import { runWorker } from "#worker";
import { showMeasurement } from "../src/api/job-events.ts";
import { openLocalModels } from "../src/service.ts";
import { databases, openTables, type TestTables } from "./databases.ts";
import { queueJob } from "./queued-job.ts";

const MODEL = "assets/tiny-english";
const DATA = "assets/quickstart/train.jsonl";
const owner = { tenant: "acme", isAdmin: false };

describe.each(databases)("%s", (_, open) => {
  let opened: TestTables;
  beforeAll(async () => {
    opened = await openTables(open);
  });
  afterAll(() => opened[Symbol.asyncDispose]());

  const create = async (
    mos: object,
    limits: Parameters<Stores["jobs"]["create"]>[0]["limits"] = {},
    tenant = "acme",
    validationData?: Buffer,
  ): Promise<JobRow> => {
    const data = await readFile(DATA);
    return queueJob(opened, { tenant, model: "tiny-english", mos, seed: 5, data, validationData, limits });
  };

  /** Works until a job is over, or as it is asked for. */
  async function workUntil(
    id: string,
    sliceSeconds: number,
    isThere: (job: JobRow) => boolean = ({ status }) => ["succeeded", "failed"].includes(status),
    by = owner,
    leaseSeconds = 20,
    serverUrl?: string,
  ): Promise<JobRow> {
    const stopped = new AbortController();
    const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
    const worker = runWorker({
      name: "w",
      slices: openSlices(opened.database, { serverUrl }),
      objects: opened.objects,
      log,
      sliceSeconds,
      ...{ modelName: "tiny-english", model: MODEL },
      scratch: join(opened.folder, "scratch"),
      leaseSeconds,
      stopSeconds: 60,
      stallSeconds: 60,
      threads: 1,
      serverUrl,
      signal: stopped.signal,
    });
    for (;;) {
      const job = await opened.stores.jobs.find(by, id);
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
    const out = join(opened.folder, "alone");
    const options = { model: MODEL, data: DATA, out, ...(plan as object), session: { threads: 1 } };
    for await (const _event of finetune(options as Parameters<typeof finetune>[0]));
    const files = (await opened.stores.models.files(job.fine_tuned_model ?? "")) ?? {};
    for (const [name, digest] of Object.entries(files))
      expect(await readFile((await opened.objects.locate(digest)).path), name).toEqual(
        await readFile(join(out, name)),
      );
    expect(Object.keys(files)).toEqual(["adapter_config.json", "adapter_model.safetensors"]);
    const steps = (await opened.stores.jobs.events(job, { limit: 100 })).rows.flatMap(({ data }) =>
      data?.type === "step" ? [data.step] : [],
    );
    expect(steps).toEqual([4, 3, 2, 1]);
    const results = await opened.stores.files.find(owner, job.result_file ?? "");
    const csv = await readFile((await opened.objects.locate(results.digest)).path, "utf8");
    expect(csv.split("\n").map((line) => line.split(",")[0])).toEqual(["step", "1", "2", "3", "4", ""]);
    expect((await opened.stores.models.checkpoints(job, { limit: 10 })).rows.map(({ step }) => step)).toEqual(
      [4, 2],
    );
  });

  const content = (text: string) => ({ choices: [{ message: { content: text } }] });
  /** Answers of a judge, which likes some letters more than others. */
  const judged = (request: object) => {
    const letters = Array.from(JSON.stringify(request), (letter) => letter.charCodeAt(0));
    return content(`{"result": ${(letters.reduce((sum, code) => sum + code, 0) % 100) / 100}}`);
  };

  /** In place of a server: says how often it was asked, each time with the key of a running job. */
  async function answerGraders() {
    let count = 0;
    const models = await openLocalModels(async (request) => {
      const key = request.headers.get("authorization")?.replace("Bearer ", "") ?? "";
      expect(await opened.stores.jobKeys.tenant(key)).toBe("acme");
      count++;
      return Response.json(judged((await request.json()) as object));
    });
    return { ...models, count: () => count };
  }

  const judge = {
    ...{ type: "score_model", name: "judge", model: "tiny-english" },
    input: [{ role: "user", content: "How good is this? {{sample.output_json.a}}" }],
  };
  const schema = {
    type: "object",
    properties: { a: { type: "string", maxLength: 8 } },
    required: ["a"],
    additionalProperties: false,
  };
  const response_format = { type: "json_schema", json_schema: { name: "answer", schema } };
  const reinforcement = { grader: judge, response_format };
  const METHODS = [
    ["dpo", "assets/quickstart/pairs.jsonl", { type: "dpo" }, {}],
    [
      "reinforcement",
      "assets/quickstart/prompts.jsonl",
      { type: "reinforcement", reinforcement },
      { batch_size: 2, group_size: 3, evaluate_every: 2, evaluate_samples: 1, max_completion_length: 24 },
    ],
  ] as const;
  test.each(METHODS)(
    "a job by %s in many slices has the bytes of one run",
    async (type, path, method, mos) => {
      const lines = (await readFile(path, "utf8")).trim().split("\n");
      const [data, validationData] = [lines.slice(2, 20), lines.slice(0, 2)].map((some) =>
        Buffer.from(`${some.join("\n")}\n`),
      ) as [Buffer, Buffer];
      const settings = { ...MOS, ...mos, steps: 3, save_every: 1 };
      const { id, plan } = await queueJob(opened, {
        ...{ model: "tiny-english", mos: settings, seed: 5, data, validationData, method },
      });
      await using models = await answerGraders();
      const job = await workUntil(id, 0, undefined, undefined, undefined, models.url);
      expect(job).toMatchObject({ status: "succeeded", step: 3 });
      expect(job.slice).toBeGreaterThanOrEqual(2);
      const out = join(opened.folder, `${type}-alone`);
      const options = {
        ...{ model: MODEL, data: `${out}.jsonl`, validationData: `${out}-held.jsonl`, out },
        ...{
          ...(plan as object),
          session: { threads: 1 },
          scoreModel: async (asked: object) => judged(asked),
        },
      };
      await writeFile(options.data, data);
      await writeFile(options.validationData, validationData);
      for await (const _event of finetune(options as Parameters<typeof finetune>[0]));
      const files = await opened.stores.models.files(job.fine_tuned_model ?? "");
      const adapter = (await opened.objects.locate(files?.["adapter_model.safetensors"] ?? "")).path;
      expect(await readFile(adapter)).toEqual(await readFile(join(out, "adapter_model.safetensors")));
      const { rows } = await opened.stores.jobs.events(job, { limit: 100 });
      const steps = rows.flatMap(({ data: one }) =>
        one?.type === "step" ? [showMeasurement(one, job).data] : [],
      );
      expect(steps.map(({ step }) => step)).toEqual([3, 2, 1]);
      expect(models.count() > 0).toBe(type === "reinforcement");
      if (type === "dpo") return expect(steps[0]).toHaveProperty("rewards/margins");
      expect(steps[0]).toMatchObject({
        scores: { graders: [{ name: "judge", type: "score_model", train_reward_mean: expect.any(Number) }] },
        frac_ungraded: 0,
        frac_unreadable: 0,
      });
    },
  );

  test("a job that takes more than its key allows fails as soon as that is known", async () => {
    const events = async (job: JobRow) =>
      (await opened.stores.jobs.events(job, { limit: 100 })).rows.filter(({ data }) => data?.type === "step");
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
    const waiting = await opened.stores.jobs.find(other, id);
    expect(waiting).toMatchObject({ status: "queued", step: 0 });
    expect(waiting.slice).toBeGreaterThanOrEqual(1);
    expect(waiting.trained_tokens).toBeGreaterThan(0);
    expect((await opened.stores.jobs.events(waiting, { limit: 1 })).rows[0]?.message).toBe(
      `Step 1/1: ${waiting.trained_tokens} tokens so far`,
    );
    expect((await opened.stores.models.checkpoints(waiting, { limit: 10 })).rows).toEqual([]);
    // in the middle of a slice
    const pausing = workUntil(id, 600, ({ status }) => status === "paused", other, 6);
    await opened.stores.jobs.pause(other, id);
    const paused = await pausing;
    expect(paused).toMatchObject({ step: 0, seconds: expect.any(Number) });
    await opened.stores.jobs.resume(other, id);
    const job = await workUntil(id, 3, undefined, other);
    expect(job).toMatchObject({ status: "succeeded", step: 1, steps: 1 });
    const out = join(opened.folder, "long-alone");
    const options = { model: MODEL, data: DATA, out, ...(plan as object), session: { threads: 1 } };
    let tokens = 0;
    for await (const event of finetune(options as Parameters<typeof finetune>[0]))
      if (event.type === "step") ({ tokens } = event);
    expect(job.trained_tokens).toBe(tokens);
    const files = await opened.stores.models.files(job.fine_tuned_model ?? "");
    const adapter = (await opened.objects.locate(files?.["adapter_model.safetensors"] ?? "")).path;
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
    const validation = Buffer.concat(Array<Buffer>(10).fill(await readFile(DATA)));
    const { id, plan } = await create(mos, {}, "other", validation);
    const other = { tenant: "other", isAdmin: false };
    await workUntil(id, 0, ({ slice }) => slice > 0, other);
    const { id: short } = await create({ ...MOS, steps: 1 });
    await workUntil(short, 0.1);
    const waiting = await opened.stores.jobs.find(other, id);
    expect(waiting).toMatchObject({ status: "queued", step: 0, trained_tokens: 0 });
    expect(waiting.slice).toBeGreaterThanOrEqual(1);
    expect((await opened.stores.jobs.events(waiting, { limit: 1 })).rows[0]?.message).toMatch(
      /^Step 0\/1: \d+ validation batches so far$/,
    );
    // in the middle of a slice
    const pausing = workUntil(id, 600, ({ status }) => status === "paused", other, 6);
    await vi.waitFor(
      async () => expect(await opened.stores.jobs.find(other, id)).toMatchObject({ status: "running" }),
      20_000,
    );
    await opened.stores.jobs.pause(other, id);
    expect(await pausing).toMatchObject({ step: 0, slice: waiting.slice + 1 });
    await opened.stores.jobs.resume(other, id);
    const job = await workUntil(id, 3, undefined, other);
    expect(job).toMatchObject({ status: "succeeded", step: 1, steps: 1 });
    const [out, validationData] = [
      join(opened.folder, "evaluated-alone"),
      join(opened.folder, "validation.jsonl"),
    ];
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
    const files = await opened.stores.models.files(job.fine_tuned_model ?? "");
    const adapter = (await opened.objects.locate(files?.["adapter_model.safetensors"] ?? "")).path;
    expect(await readFile(adapter)).toEqual(await readFile(join(out, "adapter_model.safetensors")));
    const { rows } = await opened.stores.jobs.events(job, { limit: 100 });
    const losses = rows.flatMap(({ data }) => (data?.type === "evaluation" ? [data] : []));
    expect(new Map(losses.map(({ step, loss }) => [step, loss]))).toEqual(valid);
    expect(losses).toHaveLength(2);
    // a checkpoint is published with the evaluation of its step, though slices end between them
    const checkpoints = (await opened.stores.models.checkpoints(job, { limit: 10 })).rows;
    expect(checkpoints.map(({ step, metrics }) => [step, metrics.evaluation?.loss])).toEqual([
      [1, valid.get(1)],
    ]);
    for (const { metrics } of checkpoints) expect(metrics.step?.loss).toBeGreaterThan(0);
  });

  test("a run of another version is made anew, and says so", async () => {
    const { id, plan } = await create({ ...MOS, steps: 5 });
    const { database } = opened;
    await workUntil(id, 0, ({ slice }) => slice === 1);
    const { run, step } = await opened.stores.jobs.find(owner, id);
    expect(step).toBeGreaterThan(0);
    // as a version wrote it that had a setting more
    const record = JSON.parse(
      await readFile((await opened.objects.locate(run?.["run.json"] ?? "")).path, "utf8"),
    );
    const other = { ...record, settings: { ...record.settings, lookahead: 3 } };
    const { digest } = await opened.objects.put(Readable.from([Buffer.from(JSON.stringify(other))]));
    await database.query("update jobs set run = $2 where id = $1", [id, { ...run, "run.json": digest }]);
    const job = await workUntil(id, 60);
    expect(job).toMatchObject({ status: "succeeded", step: 5 });
    const { rows } = await opened.stores.jobs.events(job, { limit: 100 });
    expect(rows.filter(({ level }) => level === "warn").map(({ message }) => message)).toEqual([
      expect.stringMatching(/^The job restarts from its first step: .*settings\.lookahead was 3/),
    ]);
    expect(rows.map(({ message }) => message).join()).not.toContain(opened.folder);
    const out = join(opened.folder, "anew");
    const options = { model: MODEL, data: DATA, out, ...(plan as object), session: { threads: 1 } };
    for await (const _event of finetune(options as Parameters<typeof finetune>[0]));
    const files = await opened.stores.models.files(job.fine_tuned_model ?? "");
    const adapter = (await opened.objects.locate(files?.["adapter_model.safetensors"] ?? "")).path;
    expect(await readFile(adapter)).toEqual(await readFile(join(out, "adapter_model.safetensors")));
  });

  test("what is wrong with a job fails it with a reason that names no path", async () => {
    const { id } = await create({ ...MOS, learning_rate: 10, rank: 5, shards_per_vector: 7 });
    const job = await workUntil(id, 60);
    expect(job).toMatchObject({ status: "failed", error: { code: "invalid_hyperparameters" } });
    expect(job.error?.message).not.toMatch(/\/|scratch/);
  });
});
