// What clients see of their keys' limits and of what they used, from a server with the bundled model.
import { createHash } from "node:crypto";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { serve } from "mixture-of-shards";
import OpenAI, { toFile } from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openService } from "../src/service.ts";
import { keyLimits } from "../src/store/key-limits.ts";
import { databases, type TestDatabase } from "./databases.ts";

const MODEL = "assets/tiny-english";
const LINE = '{"prompt":"a","completion":" b"}\n';
const KEYS = [
  { name: "acme", fine_tuning: { max_active_jobs: 1, max_steps_per_job: 50, max_storage_bytes: 200 } },
  { name: "zeta" },
  { name: "root", admin: true },
];

describe.each(databases)("%s", (name, open) => {
  let folder: string;
  let database: TestDatabase | undefined;
  let service: Awaited<ReturnType<typeof openService>>;
  let server: Awaited<ReturnType<typeof serve>>;

  /** Opens the server with its state as it was left. */
  async function start(): Promise<void> {
    const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
    const [state, storage] = [join(folder, "state"), join(folder, "storage")];
    const place = name === "PGlite" ? { state, databaseUrl: undefined } : { state: undefined };
    service = await openService({
      databaseUrl: database?.url,
      storage,
      ...{ storageEndpoint: undefined, storageCache: 0 },
      ...place,
      workers: 0,
      model: MODEL,
      threads: 1,
      log,
      sliceSeconds: 60,
      leaseSeconds: 60,
      stopSeconds: 60,
      stallSeconds: 60,
      peft: undefined,
      webhookPorts: [443],
      trackers: undefined,
    });
    server = await serve({
      model: MODEL,
      modelName: "tiny",
      port: 0,
      log,
      threads: 1,
      apiKeys: join(folder, "keys.jsonl"),
      adapters: service.adapters,
      keyLimits: [keyLimits],
      extension: (model) => service.start(model),
    });
  }
  async function stop(): Promise<void> {
    await server.stop();
    await server[Symbol.asyncDispose]();
    await service[Symbol.asyncDispose]();
  }
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "mos-limits-"));
    if (name !== "PGlite") database = await open();
    const lines = KEYS.map(
      (key) => `${JSON.stringify({ ...key, sha256: createHash("sha256").update(key.name).digest("hex") })}\n`,
    );
    await writeFile(join(folder, "keys.jsonl"), lines.join(""));
    await start();
  });
  afterAll(async () => {
    await stop();
    await database?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  /** A client as it is by default, which sends again what may succeed later. */
  function makeClient(tenant: string, fetched: string[] = []): OpenAI {
    const fetchAndCount: typeof fetch = (url, init) => {
      fetched.push(String(url));
      return fetch(url, init);
    };
    return new OpenAI({ apiKey: tenant, baseURL: `${server.address}/v1`, fetch: fetchAndCount });
  }
  const upload = async (tenant: string, text: string): Promise<OpenAI.FileObject> =>
    makeClient(tenant).files.create({
      file: await toFile(Buffer.from(text), "a.jsonl"),
      purpose: "fine-tune",
    });

  test("jobs beyond the limit are refused once, and the same request stays the same job", async () => {
    expect(service.summary).toMatch(/^fine-tuning jobs, trained by mos worker; state in /);
    const sent: string[] = [];
    const { id: training_file } = await upload("acme", LINE);
    const create = (mos: object, key?: string) =>
      makeClient("acme", sent).fineTuning.jobs.create(
        { model: "tiny", training_file, mos } as OpenAI.FineTuning.JobCreateParams,
        key === undefined ? {} : { headers: { "idempotency-key": key } },
      );
    await expect(create({ steps: 51 })).rejects.toMatchObject({ status: 400, message: /mos\.steps: 51/ });
    await expect(create({ priority: 1 })).rejects.toMatchObject({ status: 400 });
    const job = await create({ steps: 50 }, "once");
    expect((await create({ steps: 50 }, "once")).id).toBe(job.id);
    sent.length = 0;
    await expect(create({ steps: 50 })).rejects.toMatchObject({
      status: 429,
      code: "rate_limit_exceeded",
      message: expect.stringMatching(/1 unfinished jobs/),
    });
    expect(sent).toHaveLength(1);
    await makeClient("acme").fineTuning.jobs.cancel(job.id);
    await create({ steps: 50 });
  });

  test("files beyond the limit are refused before or while they arrive, and leave nothing", async () => {
    const before = (await makeClient("acme").files.list()).data;
    const isTooLarge = { status: 413, code: "storage_limit_exceeded" };
    await expect(upload("acme", LINE.repeat(10))).rejects.toMatchObject(isTooLarge);
    await expect(upload("acme", LINE.repeat(10_000))).rejects.toMatchObject(isTooLarge);
    // without a length, only what arrives says how much it is
    const part = `--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n${LINE.repeat(10_000)}\r\n--x--\r\n`;
    const answer = await fetch(`${server.address}/v1/files`, {
      method: "POST",
      headers: { authorization: "Bearer acme", "content-type": "multipart/form-data; boundary=x" },
      body: new Blob([part]).stream(),
      duplex: "half",
    } as RequestInit);
    expect([answer.status, await answer.json()]).toMatchObject([413, { error: { code: isTooLarge.code } }]);
    expect((await makeClient("acme").files.list()).data).toEqual(before);
    expect(await readdir(join(folder, "storage", "incoming"))).toEqual([]);
    await upload("acme", LINE.repeat(2));
    await upload("zeta", LINE.repeat(10_000));
  });

  test("what was answered is counted by key, also across a restart", async () => {
    interface Usage {
      readonly data: readonly { readonly results: readonly Record<string, unknown>[] }[];
    }
    const usage = async (tenant: string, query = {}) =>
      (await makeClient(tenant).get<Usage>("/usage", { query })).data.flatMap(({ results }) => results);
    const say = (tenant: string, model: string) =>
      makeClient(tenant).chat.completions.create({
        model,
        messages: [{ role: "user", content: "Hi" }],
        max_tokens: 3,
      });
    const { usage: tokens } = await say("acme", "tiny");
    await say("acme", "tiny");
    await say("zeta", "tiny");
    await expect(say("acme", "none")).rejects.toMatchObject({ status: 404 });
    await stop();
    await start();
    const [mine, ...others] = await usage("acme", { group_by: "model" });
    expect(others).toEqual([]);
    expect(mine).toMatchObject({
      object: "usage.result",
      api_key_id: "acme",
      model: "tiny",
      num_model_requests: 2,
      input_tokens: 2 * (tokens?.prompt_tokens ?? 0),
      output_tokens: 2 * (tokens?.completion_tokens ?? 0),
      trained_tokens: 0,
      training_seconds: 0,
    });
    expect(mine?.["serving_seconds"]).toBeGreaterThan(0);
    expect((await usage("root")).map((result) => [result["api_key_id"], result["model"]])).toEqual([
      ["acme", null],
      ["zeta", null],
    ]);
    expect(await usage("root", { api_key_id: "zeta" })).toHaveLength(1);
    expect(await usage("acme", { api_key_id: "zeta" })).toEqual([]);
    for (const query of [
      { limit: 32 },
      { bucket_width: "1m" },
      { start_time: 5, end_time: 5 },
      { group_by: "user" },
    ])
      await expect(usage("acme", query)).rejects.toMatchObject({ status: 400 });
    const { data: days, ...page } = (await makeClient("zeta").get("/usage", {
      query: { start_time: 0, limit: 2 },
    })) as { data: readonly object[] };
    expect(days).toEqual([
      { object: "bucket", start_time: 0, end_time: 86_400, results: [] },
      { object: "bucket", start_time: 86_400, end_time: 172_800, results: [] },
    ]);
    expect(page).toEqual({ object: "page", has_more: true, next_page: "172800" });
  });
});
