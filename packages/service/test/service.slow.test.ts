// The official client against a real mos serve: files, jobs, events, checkpoints and models, on a database in a folder and on
// PostgreSQL with a worker of its own.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import OpenAI, { toFile } from "openai";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { deployedQueries, findUnknown } from "../../../test/metric-queries.ts";
import { databases, type TestDatabase } from "./databases.ts";

const MAIN = ["--conditions=source", "--import", "tsx", "packages/mos/src/cli/main.ts"];
const MODEL = ["--model", "assets/tiny-english", "--model-name", "tiny"];
const DATA = "assets/quickstart/train.jsonl";

/** What is looked at of a preview. */
interface Preview {
  readonly training: { readonly truncated: number };
  readonly total_steps: number;
  readonly chosen: { readonly epochs: number; readonly batch_size: number; readonly max_length: number };
  readonly trainable_parameters: number;
  readonly lora_parameters: number;
  readonly tokens_per_second: number | null;
  readonly estimated_seconds: number | null;
  readonly problems: readonly { readonly line: number; readonly code: string }[];
  readonly lines: readonly {
    readonly line: number;
    readonly messages: readonly { readonly role: string; readonly start: number; readonly end: number }[];
    readonly tokens: readonly { readonly text: string; readonly trained: boolean }[];
  }[];
}

describe.each(databases)("%s", (name, open) => {
  let folder: string;
  let database: TestDatabase | undefined;
  const children: ChildProcess[] = [];
  let acme: OpenAI;
  let zeta: OpenAI;
  let root: OpenAI;

  const start = (args: readonly string[]): ChildProcess => {
    const child = spawn(process.execPath, [...MAIN, ...args], { stdio: ["ignore", "pipe", "inherit"] });
    children.push(child);
    return child;
  };

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "mos-service-"));
    const keys = join(folder, "keys.jsonl");
    const clients: string[] = [];
    for (const tenant of ["acme", "zeta", "root"]) {
      const admin = tenant === "root" ? ["--admin"] : [];
      const made = start(["keys", "create", "--name", tenant, ...admin, "--append", keys, "--json"]);
      const [line] = (await once(createInterface(made.stdout!), "line")) as [string];
      clients.push(JSON.parse(line).key);
      await once(made, "close");
    }
    const serve = [
      "serve",
      ...MODEL,
      "--port",
      "0",
      "--json",
      "--api-keys",
      keys,
      "--threads",
      "1",
      "--quiet",
    ];
    if (name === "PostgreSQL") {
      database = await open();
      const shared = ["--database-url", database.url ?? "", "--storage", join(folder, "storage")];
      start(["worker", ...MODEL, ...shared, "--quiet", "--threads", "1"]);
      serve.push(...shared);
    } else serve.push("--state", join(folder, "state"));
    const [line] = (await once(createInterface(start(serve).stdout!), "line")) as [string];
    const baseURL = `${JSON.parse(line).address}/v1`;
    [acme, zeta, root] = clients.map((apiKey) => new OpenAI({ apiKey, baseURL, maxRetries: 0 })) as [
      OpenAI,
      OpenAI,
      OpenAI,
    ];
  }, 300_000);
  afterAll(async () => {
    for (const child of children)
      if (child.exitCode === null && child.signalCode === null) child.kill("SIGTERM");
    await Promise.all(children.map((child) => child.exitCode ?? child.signalCode ?? once(child, "exit")));
    await database?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  const upload = async (text?: string): Promise<OpenAI.FileObject> => {
    const bytes = text === undefined ? await readFile(DATA) : Buffer.from(text);
    const file = await acme.files.create({ file: await toFile(bytes, "train.jsonl"), purpose: "fine-tune" });
    return acme.files.waitForProcessing(file.id, { pollInterval: 100 });
  };
  const create = (training_file: string, more: object = {}): Promise<OpenAI.FineTuning.FineTuningJob> =>
    acme.fineTuning.jobs.create({
      model: "tiny",
      training_file,
      seed: 7,
      ...more,
      mos: { rank: 6, equivalent_rank: 2, steps: 6, save_every: 2, learning_rate: 0.01, ...Object(more).mos },
    } as OpenAI.FineTuning.JobCreateParams);

  async function ended(id: string): Promise<OpenAI.FineTuning.FineTuningJob> {
    for (;;) {
      const job = await acme.fineTuning.jobs.retrieve(id);
      if (["succeeded", "failed", "cancelled"].includes(job.status)) return job;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
  const say = (client: OpenAI, model: string) =>
    client.chat.completions.create({ model, messages: [{ role: "user", content: "Hi" }], max_tokens: 3 });

  test("from a file to a model that answers", async () => {
    const file = await upload();
    expect(file).toMatchObject({
      object: "file",
      purpose: "fine-tune",
      status: "processed",
      filename: "train.jsonl",
      organization_id: "acme",
    });
    const made = await create(file.id, { suffix: "support", metadata: { team: "a" } });
    expect(made).toMatchObject({ object: "fine_tuning.job", status: "queued", model: "tiny", seed: 7 });
    const job = await ended(made.id);
    expect(job.error).toBeNull();
    expect(job).toMatchObject({ status: "succeeded", metadata: { team: "a" }, training_file: file.id });
    expect(job.fine_tuned_model).toMatch(/^ft:tiny:acme:support:/);
    expect(job.trained_tokens).toBeGreaterThan(1000);
    const model = job.fine_tuned_model ?? "";
    expect((await say(acme, model)).model).toBe(model);
    await expect(say(zeta, model)).rejects.toMatchObject({ status: 404 });
    const names = (await acme.models.list()).data.map(({ id }) => id);
    expect(names).toContain(model);
    expect((await zeta.models.list()).data.map(({ id }) => id)).not.toContain(model);

    const events: string[] = [];
    for await (const { message } of acme.fineTuning.jobs.listEvents(job.id, { limit: 4 }))
      events.push(message);
    expect(events.at(-1)).toMatch(/^Created fine-tuning job/);
    expect(events.at(0)).toBe("The job has successfully completed");
    // a slow machine also says how far it came within a step, where a slice ended there
    expect(events.filter((text) => /^Step \d\/6: training loss=/.test(text))).toHaveLength(6);
    const checkpoints = await acme.fineTuning.jobs.checkpoints.list(job.id);
    expect(checkpoints.data.map(({ step_number }) => step_number)).toEqual([6, 4, 2]);
    const [last] = checkpoints.data;
    expect(last?.metrics.train_loss).toBeGreaterThan(0);
    await say(acme, last?.fine_tuned_model_checkpoint ?? "");

    const results = await (await acme.files.content(job.result_files[0] ?? "")).text();
    expect(results.split("\n")[0]).toBe(
      "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy",
    );
    expect(results.split("\n")[6]).toMatch(/^6,\d+\.\d+,0\.\d+,,$/);
    await expect(zeta.files.content(job.result_files[0] ?? "")).rejects.toMatchObject({ status: 404 });

    // an alias that is switched in the middle of an answer
    const checkpoint = last?.fine_tuned_model_checkpoint ?? "";
    const point = (to: string) => acme.put<{ model: string }>("/aliases/support", { body: { model: to } });
    expect(await point(model)).toMatchObject({ object: "alias", version: 1, model });
    const stream = await acme.chat.completions.create({
      model: "support",
      messages: [{ role: "user", content: "Hi" }],
      max_tokens: 40,
      stream: true,
    });
    const models: string[] = [];
    for await (const chunk of stream) {
      if (models.length === 0) {
        await point(checkpoint);
        expect((await say(acme, "support")).model).toBe(checkpoint);
      }
      models.push(chunk.model);
    }
    expect(new Set(models)).toEqual(new Set([model]));
    await expect(say(zeta, "support")).rejects.toMatchObject({ status: 404 });
    await expect(acme.models.delete(checkpoint)).rejects.toMatchObject({ status: 400 });
    await point(model);
    expect((await say(acme, "support")).model).toBe(model);
    const kept = { rank: undefined, equivalent_rank: undefined };
    const next = await create(file.id, { model: "support", mos: { steps: 10_000, ...kept } });
    expect(next.model).toBe(model);
    await acme.fineTuning.jobs.cancel(next.id);
    await acme.delete("/aliases/support");

    expect(await acme.models.delete(model)).toMatchObject({ id: model, deleted: true });
    await expect(say(acme, model)).rejects.toMatchObject({ status: 404 });
    expect(await acme.files.delete(file.id)).toMatchObject({ deleted: true });
  });

  test("trains a model further, measures it, and ends where it gets no better", async () => {
    const file = await upload();
    const made = await ended((await create(file.id)).id);
    const [middle] = (await acme.fineTuning.jobs.checkpoints.list(made.id)).data.slice(1);
    const model = middle?.fine_tuned_model_checkpoint ?? "";
    const first = { validation_file: file.id, mos: { steps: 40, evaluate_every: 2, learning_rate: 1 } };
    const wrong = [
      [{ model, ...first }, /mos\.rank cannot be used with a fine-tuned model/],
      [{ validation_file: null, mos: { early_stopping_patience: 1 } }, /requires a validation_file/],
    ] as const;
    for (const [more, message] of wrong)
      await expect(create(file.id, more)).rejects.toMatchObject({
        status: 400,
        message: expect.stringMatching(message),
      });
    await expect(zeta.fineTuning.jobs.create({ model, training_file: file.id })).rejects.toMatchObject({
      status: 400,
      code: "model_not_available",
    });
    const mos = { ...first.mos, early_stopping_patience: 2, rank: undefined, equivalent_rank: undefined };
    const further = await create(file.id, { ...first, model, mos });
    expect(further.model).toBe(model);
    expect(await acme.models.delete(model)).toMatchObject({ deleted: true });
    const job = await ended(further.id);
    expect(job).toMatchObject({
      status: "succeeded",
      error: null,
      mos: { stopped_early: true, early_stopping_patience: 2, evaluate_every: 2, total_steps: 40 },
    });
    expect(job.fine_tuned_model).toMatch(/^ft:tiny:acme::/);
    const { data } = await acme.fineTuning.jobs.listEvents(job.id, { limit: 100 });
    expect(data.some(({ message }) => message.startsWith("Stopped early at step"))).toBe(true);
    const valid = data.flatMap((event) => {
      const { full_valid_loss, full_valid_mean_token_accuracy } = (event.data ?? {}) as Record<
        string,
        number
      >;
      return full_valid_loss === undefined ? [] : [full_valid_mean_token_accuracy];
    });
    expect(valid.length).toBeGreaterThan(2);
    for (const accuracy of valid) expect(accuracy).toBeGreaterThan(0);
    const csv = await (await acme.files.content(job.result_files[0] ?? "")).text();
    expect(csv.split("\n")[2]).toMatch(/^2,\d+\.\d+,0\.\d+,\d+\.\d+,0\.\d+$/);
  });

  test("a preview says what the job then is", async () => {
    const file = await upload();
    const mos = { rank: 6, equivalent_rank: 2, max_length: 40 };
    const body = { model: "tiny", training_file: file.id, seed: 7, mos };
    const preview = (client: OpenAI, more: object = {}) =>
      client.post<Preview>("/fine_tuning/preview", { body: { ...body, ...more } });
    const shown = await preview(acme, { lines: [3, 7] });
    expect(shown).toMatchObject({ object: "fine_tuning.preview", model: "tiny", validation: null });
    expect(shown.training).toMatchObject({ examples: 224, longest: 40, dropped: 0 });
    expect(shown.training.truncated).toBeGreaterThan(0);
    expect(shown.lines.map(({ line }) => line)).toEqual([3, 7]);
    expect(shown.lora_parameters).toBe(3 * shown.trainable_parameters);
    expect(shown.problems[0]).toMatchObject({ code: "truncated", line: expect.any(Number) });
    const { tokens_per_second, estimated_seconds } = shown;
    if (tokens_per_second === null) expect(estimated_seconds).toBeNull();
    else expect(estimated_seconds).toBeGreaterThan(0);
    const { messages = [], tokens = [] } = shown.lines[1] ?? {};
    expect(messages.map(({ role }) => role)).toEqual(["user", "assistant"]);
    const [question] = messages.map(({ start, end }) =>
      tokens
        .slice(start, end)
        .map((one) => one.text)
        .join(""),
    );
    expect(question).toContain("Can dogs come in?");
    const text = (isTrained: boolean): string =>
      (shown.lines[1]?.tokens ?? []).map(({ trained, text }) => (trained === isTrained ? text : "")).join("");
    expect(text(true)).toMatch(/^Ahoy! Yes, dogs are welcome/);
    expect(text(false)).toContain("Can dogs come in?");
    const made = await acme.fineTuning.jobs.create(body as OpenAI.FineTuning.JobCreateParams);
    let job = made as OpenAI.FineTuning.FineTuningJob & { mos?: { total_steps: number | null } };
    while (job.mos?.total_steps == null) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      job = await acme.fineTuning.jobs.retrieve(made.id);
      if (job.finished_at !== null) break;
    }
    expect(made.hyperparameters).toMatchObject({ n_epochs: "auto", batch_size: "auto" });
    const { total_steps, chosen } = shown;
    const { epochs: n_epochs, batch_size, max_length } = chosen;
    expect(job.mos).toMatchObject({ total_steps, max_length, stopped_early: false });
    expect(n_epochs).toBe(13);
    expect(job.hyperparameters).toEqual({ n_epochs, batch_size, learning_rate_multiplier: 1 });
    expect(job.method?.supervised?.hyperparameters).toEqual(job.hyperparameters);
    if (job.finished_at === null) await acme.fineTuning.jobs.cancel(made.id);

    const refused = { status: 400 };
    await expect(preview(zeta)).rejects.toMatchObject({ ...refused, param: "training_file" });
    await expect(preview(acme, { lines: [9999] })).rejects.toMatchObject(refused);
    await expect(preview(acme, { lines: Array(21).fill(1) })).rejects.toMatchObject({
      ...refused,
      param: "lines",
    });
    await expect(preview(acme, { mos: { max_length: 2 } })).rejects.toMatchObject({
      ...refused,
      code: "invalid_training_file",
    });
  });

  test("a repeated request is the same job, whatever has become of its file", async () => {
    const file = await upload();
    const body = { model: "tiny", training_file: file.id, mos: { steps: 100_000 } };
    const send = (more: object = {}): Promise<OpenAI.FineTuning.FineTuningJob> =>
      acme.fineTuning.jobs.create({ ...body, ...more } as OpenAI.FineTuning.JobCreateParams, {
        headers: { "idempotency-key": "once" },
      });
    const made = await send();
    await acme.files.delete(file.id);
    expect((await send()).id).toBe(made.id);
    await expect(send({ suffix: "other" })).rejects.toMatchObject({ status: 400 });
    await acme.fineTuning.jobs.cancel(made.id);
    expect(await send()).toMatchObject({ id: made.id, status: "cancelled" });
  });

  test("a tenant may have 20 live streams, however often they are left", async () => {
    const made = await create((await upload()).id, { mos: { steps: 100_000 } });
    const url = `${acme.baseURL}/fine_tuning/jobs/${made.id}/events?stream=true`;
    const headers = { authorization: `Bearer ${acme.apiKey}` };
    const open = async (signal?: AbortSignal) =>
      (await fetch(url, { headers, ...(signal === undefined ? {} : { signal }) })).status;
    /** All of them, as soon as the server has noticed that those before were left. */
    const openAll = async (): Promise<AbortController> => {
      const leaving = new AbortController();
      const statuses = await Promise.all(Array.from({ length: 20 }, () => open(leaving.signal)));
      if (statuses.includes(429)) leaving.abort();
      expect(new Set(statuses)).toEqual(new Set([200]));
      return leaving;
    };
    for (let round = 0; round < 3; round++) {
      const leaving = await (round === 0
        ? openAll()
        : vi.waitFor(openAll, { timeout: 60_000, interval: 500 }));
      expect(await open()).toBe(429);
      leaving.abort();
    }
    await vi.waitFor(async () => expect((await fetch(url, { headers, method: "HEAD" })).status).toBe(200), {
      timeout: 60_000,
    });
    for (let i = 0; i < 25; i++) expect((await fetch(url, { headers, method: "HEAD" })).status).toBe(200);
    await acme.fineTuning.jobs.cancel(made.id);
  });

  test("pause, resume and cancel", async () => {
    const file = await upload();
    const made = await create(file.id, { mos: { steps: 100_000 } });
    while ((await acme.fineTuning.jobs.retrieve(made.id)).status !== "running")
      await new Promise((resolve) => setTimeout(resolve, 100));
    await acme.fineTuning.jobs.pause(made.id);
    let status = "";
    while (status !== "paused") {
      await new Promise((resolve) => setTimeout(resolve, 200));
      ({ status } = await acme.fineTuning.jobs.retrieve(made.id));
    }
    expect((await acme.fineTuning.jobs.resume(made.id)).status).toBe("queued");
    expect((await acme.fineTuning.jobs.cancel(made.id)).status).toBe("cancelled");
    await expect(acme.fineTuning.jobs.cancel(made.id)).rejects.toMatchObject({ status: 400 });
    await expect(zeta.fineTuning.jobs.retrieve(made.id)).rejects.toMatchObject({ status: 404 });
  });

  test("what is wrong is said before anything runs", async () => {
    const broken = await upload('{"prompt":"a","completion":" b"}\n{"prompt":\n');
    expect(broken).toMatchObject({ status: "error" });
    expect(broken.status_details).toMatch(/^line 2/);
    await expect(create(broken.id)).rejects.toMatchObject({ status: 400, code: "invalid_training_file" });
    const good = await upload();
    const refused = [
      [{ model: "other" }, "model"],
      [{ training_file: "file-none" }, "training_file"],
      [{ method: { type: "ppo" } }, "method.type"],
      [{ integrations: [{ type: "wandb", wandb: { project: "x" } }] }, "integrations"],
      [{ mos: { shards_per_vector: 7 } }, undefined],
      [{ mos: { ranks: 7 } }, "mos.ranks"],
      [{ hyperparameters: { n_epochs: 51 } }, "hyperparameters.n_epochs"],
    ] as const;
    for (const [more, param] of refused)
      await expect(create(good.id, more), JSON.stringify(more)).rejects.toMatchObject({
        status: 400,
        ...(param === undefined ? {} : { param }),
      });
    await expect(
      acme.files.create({ file: await toFile(Buffer.from("x"), "../../x.jsonl"), purpose: "assistants" }),
    ).rejects.toMatchObject({ status: 400, param: "purpose" });
    const gzip = await upload("\u001f\u008b");
    expect(gzip.status).toBe("error");
  });

  test("webhooks are told, and metrics show the whole service", async () => {
    const receiver = createServer((request, response) => request.pipe(response)).listen(0, "127.0.0.1");
    await once(receiver, "listening");
    try {
      const { port } = receiver.address() as AddressInfo;
      const body = { url: `http://127.0.0.1:${port}/` };
      await expect(acme.post("/webhooks", { body })).rejects.toMatchObject({ status: 400 });
      const { id } = await root.post<{ id: string }>("/webhooks", { body });
      await root.post(`/webhooks/${id}/test`, { body: {} });
      let told: { last_delivery: { status: string } };
      do told = await root.get(`/webhooks/${id}`);
      while (told.last_delivery.status === "waiting");
      expect(told.last_delivery).toMatchObject({ status: "delivered", attempts: 1, response_status: 200 });
    } finally {
      receiver.close();
    }
    const headers = { authorization: `Bearer ${root.apiKey}` };
    const metrics = await (await fetch(new URL("/metrics", root.baseURL), { headers })).text();
    expect(metrics).toMatch(/^mos_webhook_attempts_total\{outcome="delivered"\} 1$/m);
    expect(metrics).toMatch(/^mos_workers\{model="tiny",version="[^"]+"\} 1$/m);
    expect(metrics).toMatch(/^mos_jobs\{model="tiny",status="succeeded"\} [1-9]/m);
    const unknown = deployedQueries().flatMap((query) => findUnknown(query, metrics));
    // slices are counted where they are trained
    expect(unknown.filter((flaw) => name !== "PostgreSQL" || !flaw.includes("mos_slices_total"))).toEqual([]);
  });
});
