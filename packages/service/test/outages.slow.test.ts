// What a service waits for: a database that is away, a storage that is full or gone; and workers with another clock or of
// another version. Nothing is lost, it is said what is wrong, and jobs end with the bytes of an uninterrupted run.
// MOS_OUTAGE_SECONDS says how long each outage is (10).
import { execFile } from "node:child_process";
import { once } from "node:events";
import { access, mkdir, mkdtemp, open, readdir, readFile, rename, rm, statfs } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { finetune } from "mixture-of-shards";
import { toFileName } from "mixture-of-shards-core/files";
import type OpenAI from "openai";
import { toFile } from "openai";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { openPostgres } from "#database";
import { type Cluster, postgresPrograms, startCluster } from "./cluster.ts";
import { databases } from "./databases.ts";
import { endProcess, type Serving, startMos, startServing } from "./serving.ts";

const SECONDS = Number(process.env["MOS_OUTAGE_SECONDS"] ?? 10);
const DATA = "assets/quickstart/train.jsonl";
/** A job that does not end before the outage begins, on a fast machine either. */
const STEPS = 120;
const TIMES = ["--slice-seconds", "1", "--lease-seconds", "4"];
const run = promisify(execFile);

const folder = await mkdtemp(join(tmpdir(), "mos-outages-"));
afterAll(() => rm(folder, { recursive: true, force: true }));

/** The adapter of a run that nothing happens to. */
let expected: Buffer;
beforeAll(async () => {
  const out = join(folder, "alone");
  const settings = {
    steps: STEPS,
    saveEvery: 5,
    learningRate: 0.01,
    maxLength: 64,
    validationSplit: 0,
    seed: 7,
  };
  const adapter = { method: "mos", rank: 6, equivalentRank: 2 } as const;
  const options = {
    model: "assets/tiny-english",
    data: DATA,
    out,
    adapter,
    settings,
    session: { threads: 1 },
  };
  for await (const _event of finetune(options));
  expected = await readFile(join(out, "adapter_model.safetensors"));
});

async function upload(client: OpenAI): Promise<OpenAI.FileObject> {
  return client.files.create({
    file: await toFile(await readFile(DATA), "train.jsonl"),
    purpose: "fine-tune",
  });
}

async function createJob(client: OpenAI): Promise<string> {
  const mos = {
    rank: 6,
    equivalent_rank: 2,
    steps: STEPS,
    save_every: 5,
    learning_rate: 0.01,
    max_length: 64,
  };
  const body = { model: "tiny", training_file: (await upload(client)).id, seed: 7, mos };
  return (await client.fineTuning.jobs.create(body as OpenAI.FineTuning.JobCreateParams)).id;
}

/** Waits until a job has made some steps. */
async function started(client: OpenAI, id: string): Promise<void> {
  const steps = async (): Promise<number> =>
    (await client.fineTuning.jobs.listEvents(id)).data.filter(({ message }) => message.startsWith("Step "))
      .length;
  while ((await steps()) === 0) await sleep(100);
}

/** Waits for a job's end, and compares its events and its adapter with those of a run alone. */
async function expectSuccess({ client, storage }: Serving, id: string): Promise<void> {
  const jobs = client("acme").fineTuning.jobs;
  let job = await jobs.retrieve(id);
  while (!["succeeded", "failed", "cancelled"].includes(job.status)) {
    await sleep(200);
    job = await jobs.retrieve(id);
  }
  expect(job).toMatchObject({ status: "succeeded", error: null });
  const path = join(storage, "adapters", toFileName(job.fine_tuned_model ?? ""), "adapter_model.safetensors");
  while (
    !(await access(path).then(
      () => true,
      () => false,
    ))
  )
    await sleep(200);
  expect((await readFile(path)).equals(expected)).toBe(true);
  const { data } = await jobs.listEvents(id, { limit: 1000 });
  const steps = data.flatMap(({ message }) => /^Step (\d+)\/.*training/.exec(message)?.[1] ?? []);
  expect(steps.map(Number).sort((a, b) => a - b)).toEqual(Array.from({ length: STEPS }, (_, i) => i + 1));
}

const logged = (lines: readonly string[], pattern: RegExp): boolean =>
  lines.some((line) => pattern.test(line));

/** What a worker says when it next needs what is away. */
const expectLogged = (lines: readonly string[], pattern: RegExp): Promise<void> =>
  vi.waitFor(() => expect(logged(lines, pattern)).toBe(true), { timeout: 20_000, interval: 200 });

const say = (client: OpenAI, model = "tiny") =>
  client.chat.completions.create({
    model,
    messages: [{ role: "user", content: "Hi" }],
    max_tokens: 2,
  });

const programs = await postgresPrograms();

describe.runIf(programs !== undefined)("PostgreSQL", () => {
  let cluster: Cluster;
  let serving: Serving;
  let acme: OpenAI;
  beforeAll(async () => {
    cluster = await startCluster(programs ?? "");
    serving = await startServing(["acme"], { url: cluster.url, more: [...TIMES, "--workers", "0"] });
    acme = serving.client("acme");
  });
  afterAll(async () => {
    await serving[Symbol.asyncDispose]();
    await cluster[Symbol.asyncDispose]();
  });

  function startWorker(env: NodeJS.ProcessEnv = {}) {
    const lines: string[] = [];
    const shared = ["--database-url", cluster.url, "--storage", serving.storage, ...TIMES];
    const child = startMos(["worker", ...shared], { onLine: (line) => lines.push(line), env });
    return { child, lines, [Symbol.asyncDispose]: () => endProcess(child) };
  }

  test("a database that is away is waited for", async () => {
    await using worker = startWorker();
    const ids = [await createJob(acme), await createJob(acme)];
    await started(acme, ids[0] ?? "");
    const away = cluster.kill(SECONDS);
    await sleep(2000);
    for (const ask of [
      () => acme.fineTuning.jobs.retrieve(ids[0] ?? ""),
      () => upload(acme),
      () => acme.files.list(),
      () => say(acme, "ft:tiny:acme::unknown"),
    ])
      await expect(ask()).rejects.toMatchObject({
        status: 503,
        code: "database_unavailable",
        message: expect.stringContaining("the database cannot be reached"),
      });
    await say(acme); // what needs no database goes on
    await away;
    for (const id of ids) await expectSuccess(serving, id);
    await expectLogged(worker.lines, /PostgreSQL at 127\.0\.0\.1.* cannot be reached/);
    expect([worker.child.exitCode, serving.process.exitCode]).toEqual([null, null]);
  });

  test("clocks may be an hour apart", async () => {
    const shifted = (hours: number) => {
      const code = `const now = Date.now; Date.now = () => now() + ${hours} * 3600000;
        globalThis.Date = class extends Date { constructor(...given) { super(...(given.length === 0 ? [Date.now()] : given)); } };`;
      return { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(code)}` };
    };
    await using early = startWorker(shifted(-1));
    await using late = startWorker(shifted(1));
    const ids = [await createJob(acme), await createJob(acme), await createJob(acme)];
    for (const id of ids) await expectSuccess(serving, id);
    const slices = (lines: readonly string[]) => lines.filter((line) => line.includes('"msg":"slice"'));
    for (const { lines } of [early, late]) {
      expect(slices(lines).length).toBeGreaterThan(0);
      expect(logged(lines, /"result":"lost"|heartbeat/)).toBe(false);
    }
    const times = [early, late].map(({ lines }) =>
      Number(JSON.parse(lines.find((line) => line.includes('"ready"')) ?? "{}").time),
    );
    expect(Math.abs((times[1] ?? 0) - (times[0] ?? 0))).toBeGreaterThan(7_000_000);
    await using database = await openPostgres(cluster.url);
    const [events] = await database.query("select max(created_at) <= now() as past from events");
    expect(events?.["past"]).toBe(true);
  });

  test("a worker that is older than the tables ends, and says why", async () => {
    await using old = startWorker();
    while (!logged(old.lines, /"ready"/)) await sleep(100);
    await using database = await openPostgres(cluster.url);
    await database.query("insert into migrations values (1000)");
    const ended = once(old.child, "exit");
    const id = await createJob(acme);
    expect((await ended)[0]).not.toBe(0);
    expect(logged(old.lines, /created by a newer version: its schema is 1000/)).toBe(true);
    expect(await acme.fineTuning.jobs.retrieve(id)).toMatchObject({ status: "queued" });
    await database.query("delete from migrations where number = 1000");
    await using _new = startWorker();
    await expectSuccess(serving, id);
  });
});

/** A file system of 64 MB in memory; undefined where it may not be mounted. */
async function mountSmall(): Promise<string | undefined> {
  const place = join(folder, "mounted");
  await mkdir(place);
  return run("mount", ["-t", "tmpfs", "-o", "size=64m", "tmpfs", place]).then(
    () => place,
    () => undefined,
  );
}
const mounted = process.platform === "linux" ? await mountSmall() : undefined;
afterAll(async () => {
  if (mounted !== undefined) await run("umount", ["-l", mounted]);
});

async function fill(path: string): Promise<void> {
  const file = await open(path, "w");
  const { bavail, bsize } = await statfs(path);
  for (let size = bavail * bsize; size > 0; size >>= 1)
    await file.appendFile(Buffer.alloc(Math.max(size, 1))).catch(() => undefined);
  await file.close();
}

describe.each(databases)("%s", (name, openDatabase) => {
  let serving: Serving;
  let acme: OpenAI;
  let root: string;
  let close: () => Promise<void>;
  beforeAll(async () => {
    root = join(mounted ?? folder, name);
    await mkdir(root);
    const database = name === "PGlite" ? undefined : await openDatabase();
    const more = [...TIMES, "--workers", "1", "--storage", join(root, "storage")];
    serving = await startServing(["acme"], { url: database?.url, more });
    acme = serving.client("acme");
    close = async () => {
      await serving[Symbol.asyncDispose]();
      await database?.[Symbol.asyncDispose]();
    };
  });
  afterAll(() => close());

  // only root may mount the small file system that it needs
  test.runIf(mounted !== undefined)("a storage that is full is waited for", async () => {
    const id = await createJob(acme);
    await started(acme, id);
    try {
      await fill(join(root, "filler"));
      await sleep(1000 * SECONDS);
      await expect(upload(acme)).rejects.toMatchObject({ status: 507, code: "insufficient_storage" });
      await say(acme);
      await expectLogged(serving.lines, /waiting for the database or the storage/);
      await expectLogged(serving.lines, /"reason":"[^"]*the disk is full/);
      expect(await readdir(join(serving.storage, "incoming"))).toEqual([]);
    } finally {
      await rm(join(root, "filler"), { force: true });
    }
    await expectSuccess(serving, id);
    expect(serving.process.exitCode).toBeNull();
  });

  test("a storage that is gone is waited for", async () => {
    const before = await upload(acme);
    const id = await createJob(acme);
    await started(acme, id);
    await rename(serving.storage, join(root, "away"));
    await sleep(1000 * SECONDS);
    for (const ask of [() => upload(acme), () => acme.files.content(before.id)])
      await expect(ask()).rejects.toMatchObject({ status: 503, code: "storage_unavailable" });
    await say(acme);
    await expectLogged(serving.lines, /"reason":"[^"]*the storage folder is missing; remount it/);
    // nothing is written to where it is missing
    await expect(access(serving.storage)).rejects.toMatchObject({ code: "ENOENT" });
    await rename(join(root, "away"), serving.storage);
    await expectSuccess(serving, id);
    expect(serving.process.exitCode).toBeNull();
  });
});
