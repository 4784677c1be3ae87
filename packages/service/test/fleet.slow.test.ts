// A fleet that shares a bucket and a database, and no disk: a job from upload to a served model, also while the bucket is away.
import { mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { toFileName } from "mixture-of-shards-core/files";
import type OpenAI from "openai";
import { toFile } from "openai";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { AWS, type BucketServer, type FaultyWay, hasMoto, startBuckets, startFaultyWay } from "./buckets.ts";
import { type Cluster, postgresPrograms, startCluster } from "./cluster.ts";
import { endProcess, type Serving, startMos, startServing } from "./serving.ts";

const DATA = "assets/quickstart/train.jsonl";
const TIMES = ["--slice-seconds", "1", "--lease-seconds", "4"];
const ADAPTER = "adapter_model.safetensors";
const OUTAGE_SECONDS = 6;

const upload = async (client: OpenAI): Promise<OpenAI.FileObject> =>
  client.files.create({ file: await toFile(await readFile(DATA), "train.jsonl"), purpose: "fine-tune" });

async function createJob(client: OpenAI, steps: number): Promise<string> {
  const mos = { rank: 6, equivalent_rank: 2, steps, save_every: 5, learning_rate: 0.01, max_length: 64 };
  const body = { model: "tiny", training_file: (await upload(client)).id, seed: 7, mos };
  return (await client.fineTuning.jobs.create(body as OpenAI.FineTuning.JobCreateParams)).id;
}

async function finishedModel(client: OpenAI, id: string): Promise<string> {
  let job = await client.fineTuning.jobs.retrieve(id);
  while (!["succeeded", "failed", "cancelled"].includes(job.status)) {
    await sleep(200);
    job = await client.fineTuning.jobs.retrieve(id);
  }
  expect(job).toMatchObject({ status: "succeeded", error: null });
  return job.fine_tuned_model ?? "";
}

async function started(client: OpenAI, id: string): Promise<void> {
  const isStep = ({ message }: { readonly message: string }) => message.startsWith("Step ");
  while (!(await client.fineTuning.jobs.listEvents(id)).data.some(isStep)) await sleep(100);
}

const say = (client: OpenAI, model: string) =>
  client.chat.completions.create({
    model,
    messages: [{ role: "user", content: "Hi" }],
    max_tokens: 2,
    temperature: 0,
  });
const names = async (client: OpenAI): Promise<readonly string[]> =>
  (await client.models.list()).data.map(({ id }) => id);
/** Waits until a model is not found: servers look for deletions of others every five seconds. */
const expectGone = (client: OpenAI, model: string): Promise<void> =>
  vi.waitFor(() => expect(say(client, model)).rejects.toMatchObject({ status: 404 }), {
    timeout: 20_000,
    interval: 500,
  });

let folder: string;
let buckets: BucketServer;
let way: FaultyWay;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-fleet-"));
  if (!hasMoto) return;
  for (const [name, value] of Object.entries(AWS)) vi.stubEnv(name, value);
  buckets = await startBuckets();
  way = await startFaultyWay(buckets.endpoint);
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await way?.[Symbol.asyncDispose]();
  await buckets?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

test.runIf(hasMoto)(
  "one server keeps its files in a bucket, and gets them back after its copies are lost",
  async () => {
    const storage = ["--storage", await buckets.make(), "--storage-endpoint", way.endpoint];
    const serving = await startServing(["acme"], { more: [...TIMES, ...storage] });
    const state = join(serving.folder, "state");
    try {
      const acme = serving.client("acme");
      const model = await finishedModel(acme, await createJob(acme, 10));
      expect(await names(acme)).toContain(model);
      const answer = (await say(acme, model)).choices[0]?.message.content;
      expect(await readdir(join(state, "cache", "adapters"))).toContain(toFileName(model));
      await rm(join(state, "cache", "adapters", toFileName(model)), { recursive: true });
      await rm(join(state, "cache", "objects"), { recursive: true });
      await mkdir(join(state, "cache", "objects"));
      await vi.waitFor(async () => expect(await names(acme)).toContain(model));
      await sleep(6000); // the server looks at its folder
      expect((await say(acme, model)).choices[0]?.message.content).toBe(answer);
      const [file] = (await acme.files.list({ purpose: "fine-tune" })).data;
      expect(await (await acme.files.content(file?.id ?? "")).text()).toBe(await readFile(DATA, "utf8"));
    } finally {
      await serving[Symbol.asyncDispose]();
    }
  },
  240_000,
);

const programs = await postgresPrograms();

describe.runIf(hasMoto && programs !== undefined)("machines without a shared disk", () => {
  let cluster: Cluster;
  let servers: readonly [Serving, Serving];
  let worker: ReturnType<typeof startMos>;
  const lines: string[] = [];
  beforeAll(async () => {
    cluster = await startCluster(programs ?? "");
    const shared = [...TIMES, "--storage", await buckets.make(), "--storage-endpoint", way.endpoint];
    const start = () => startServing(["acme"], { url: cluster.url, more: [...shared, "--workers", "0"] });
    servers = [await start(), await start()];
    const temporary = join(folder, "worker");
    await mkdir(temporary);
    worker = startMos(["worker", "--database-url", cluster.url, ...shared], {
      onLine: (line) => lines.push(line),
      env: { TMPDIR: temporary },
    });
  }, 180_000);
  afterAll(async () => {
    if (worker !== undefined) await endProcess(worker);
    for (const server of servers ?? []) await server[Symbol.asyncDispose]();
    await cluster?.[Symbol.asyncDispose]();
  });

  test("a model that a worker trained is served everywhere, and its deletion reaches everybody", async () => {
    const [first, second] = [servers[0].client("acme"), servers[1].client("acme")];
    const model = await finishedModel(second, await createJob(first, 10));
    for (const client of [first, second]) expect(await names(client)).toContain(model);
    const answers = await Promise.all([first, second, second, second].map((client) => say(client, model)));
    expect(new Set(answers.map(({ choices }) => choices[0]?.message.content)).size).toBe(1);
    await first.models.delete(model);
    for (const client of [first, second]) await expectGone(client, model);
    expect(await names(second)).not.toContain(model);
  }, 240_000);

  test("a bucket that is away is waited for, and the job ends as if nothing had happened", async () => {
    const acme = servers[0].client("acme");
    const alone = await finishedModel(acme, await createJob(acme, 120));
    const id = await createJob(acme, 120);
    await started(acme, id);
    for (const choose of [() => "refused", () => "slow down", () => ({ type: "reset", after: 0 })] as const) {
      way.choose = choose as FaultyWay["choose"];
      await sleep(1000 * OUTAGE_SECONDS);
      await expect(upload(acme)).rejects.toMatchObject({ status: 503, code: "storage_unavailable" });
      await say(acme, "tiny");
      way.choose = () => undefined;
      await upload(acme);
    }
    const model = await finishedModel(acme, id);
    expect(lines.some((line) => /waiting for the database or the storage/.test(line))).toBe(true);
    await Promise.all([say(acme, alone), say(acme, model)]);
    const root = (await readdir(tmpdir())).filter((name) => name.includes(`-${servers[0].process.pid}-`));
    const adapters = join(tmpdir(), root[0] ?? "", "adapters");
    const bytes = await Promise.all(
      [alone, model].map((name) => readFile(join(adapters, toFileName(name), ADAPTER))),
    );
    expect(bytes[0]?.equals(bytes[1] ?? Buffer.alloc(0))).toBe(true);
    expect([worker.exitCode, servers[0].process.exitCode]).toEqual([null, null]);
  }, 300_000);
});
