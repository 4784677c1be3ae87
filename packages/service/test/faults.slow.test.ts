// Everything is killed again and again while jobs run, and every job comes to the end that it would have had: workers with
// their trainers, the server, the database. Workers and trainers are also stopped by SIGSTOP: workers go on later, trainers do
// not. MOS_FAULT_SECONDS says for how long (60), MOS_FAULT_JOBS how many jobs (6), MOS_FAULT_STEPS how long each (12); npm run
// test:faults takes ten minutes, 30 jobs and 40 steps, so that jobs run to the end of that time.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { finetune } from "mixture-of-shards";
import { randomStream } from "mixture-of-shards-core/common";
import OpenAI, { toFile } from "openai";
import { expect, test, vi } from "vitest";
import { openPglite, openPostgres } from "#database";
import { type ObjectStore, openObjects } from "#objects";
import { openStores, type Stores } from "#store";
import { type Cluster, freePort, postgresPrograms, startCluster } from "./cluster.ts";
import { listTrainers, processState } from "./processes.ts";
import { endProcess, type Serving, startServing } from "./serving.ts";

const SECONDS = Number(process.env["MOS_FAULT_SECONDS"] ?? 60);
const JOBS = Number(process.env["MOS_FAULT_JOBS"] ?? 6);
const TENANTS = Math.min(6, Math.ceil(JOBS / 2));
const MAIN = ["--conditions=source", "--import", "tsx", "packages/mos/src/cli/main.ts"];
const MODEL = ["--model", "assets/tiny-english", "--model-name", "tiny"];
/** What jobs learn from, in turn, and how many of its lines are held out. */
interface Learnt {
  readonly data: string;
  readonly heldOut: number;
  readonly more: object;
}
const GRADER = {
  ...{ type: "text_similarity", evaluation_metric: "fuzzy_match" },
  ...{ input: "{{sample.output_text}}", reference: "{{item.reference}}" },
};
const METHODS: readonly Learnt[] = [
  { data: "assets/quickstart/train.jsonl", heldOut: 0, more: {} },
  { data: "assets/quickstart/pairs.jsonl", heldOut: 0, more: { method: { type: "dpo" } } },
  {
    data: "assets/quickstart/prompts.jsonl",
    heldOut: 4,
    more: { method: { type: "reinforcement", reinforcement: { grader: GRADER } } },
  },
];
/** The same for all of them, and what is about sampled answers. */
const ANSWERS = {
  ...{ batch_size: 2, group_size: 2, evaluate_samples: 1 },
  ...{ evaluate_every: 5, max_completion_length: 8 },
};
const STEPS = Number(process.env["MOS_FAULT_STEPS"] ?? 12);
const MOS = { rank: 6, equivalent_rank: 2, steps: STEPS, save_every: 3, learning_rate: 0.01, max_length: 64 };
/** Runs of other seeds have other bytes. */
const SEEDS = 3;

/** What happens, one after the other. */
const KINDS = ["worker", "stoppedTrainer", "database", "trainer", "stoppedWorker", "server"] as const;
/** Seconds for which a worker is stopped: its lease of 4 s ends meanwhile, or does not. */
const STOPPED = [2, 10] as const;

/** A process that is started again whenever it has ended, as an orchestrator does. */
function supervised(args: readonly string[]) {
  let child: ChildProcess;
  let isOver = false;
  const exits: string[] = [];
  const start = (): void => {
    const started = spawn(process.execPath, [...MAIN, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    child = started;
    const lines: string[] = [];
    for (const stream of [started.stdout, started.stderr])
      createInterface(stream).on("line", (line) => lines.push(line));
    started.once("exit", (code, signal) => {
      if (isOver) return;
      // one that finds no database when it starts ends, and is started again
      const isReady = lines.some((line) => line.includes('"ready"'));
      if (signal !== "SIGKILL" && isReady) exits.push(`${args[0]} ${code} ${lines.slice(-5).join(" ")}`);
      setTimeout(start, 200);
    });
  };
  start();
  return {
    /** Ends that nobody asked for, of processes that had begun to work. */
    exits,
    kill: () => child.kill("SIGKILL"),
    /** Stops it for some seconds. */
    stop: (seconds: number) => {
      const stopped = child;
      stopped.kill("SIGSTOP");
      setTimeout(() => stopped.kill("SIGCONT"), seconds * 1000);
    },
    pid: () => child.pid,
    end: async () => {
      isOver = true;
      const ended = child.exitCode === null && child.signalCode === null ? once(child, "exit") : undefined;
      child.kill("SIGCONT");
      child.kill("SIGTERM");
      await ended;
    },
  };
}

async function keysIn(folder: string): Promise<readonly string[]> {
  const keys: string[] = [];
  for (let i = 0; i < TENANTS; i++) {
    const args = ["keys", "create", "--name", `tenant${i}`, "--append", join(folder, "keys.jsonl"), "--json"];
    const made = spawn(process.execPath, [...MAIN, ...args], { stdio: ["ignore", "pipe", "inherit"] });
    const [line] = (await once(createInterface(made.stdout), "line")) as [string];
    keys.push(JSON.parse(line).key);
    await once(made, "close");
  }
  return keys;
}

/** The first lines of a file. */
const firstLines = async (path: string, count: number): Promise<Buffer> =>
  Buffer.from((await readFile(path, "utf8")).split("\n").slice(0, count).join("\n"));

/** The adapter of an uninterrupted run. */
async function expectedAdapter(folder: string, { data, heldOut }: Learnt, plan: object): Promise<Buffer> {
  const out = join(folder, "alone");
  const validationData = join(folder, "validation.jsonl");
  await mkdir(folder, { recursive: true });
  await writeFile(validationData, await firstLines(data, heldOut));
  const options = {
    ...{ model: "assets/tiny-english", data, out, ...plan, session: { threads: 1 } },
    ...(heldOut === 0 ? {} : { validationData }),
  };
  for await (const _event of finetune(options as Parameters<typeof finetune>[0]));
  return readFile(join(out, "adapter_model.safetensors"));
}

interface Made {
  readonly id: string;
  readonly learnt: Learnt;
  readonly client: OpenAI;
}

/** Asks until it is answered: the server may be away. */
async function insist<T>(ask: () => Promise<T>): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await ask();
    } catch (error) {
      const status = error instanceof OpenAI.APIError ? error.status : undefined;
      if ((status !== undefined && status < 500 && status !== 404) || attempt === 300) throw error;
      await sleep(300);
    }
  }
}

async function createJobs(clients: readonly OpenAI[]): Promise<readonly Made[]> {
  const made: Made[] = [];
  for (let i = 0; i < JOBS; i++) {
    const client = clients[i % clients.length] as OpenAI;
    const learnt = METHODS[i % METHODS.length] as Learnt;
    const { data, heldOut, more } = learnt;
    const upload = async (bytes: Buffer) =>
      client.files.create({ file: await toFile(bytes, "train.jsonl"), purpose: "fine-tune" });
    const bytes = await readFile(data);
    const file = await insist(() => upload(bytes));
    const held = await firstLines(data, heldOut);
    const validation = heldOut === 0 ? undefined : (await insist(() => upload(held))).id;
    const body = {
      model: "tiny",
      training_file: file.id,
      validation_file: validation,
      seed: Math.floor(i / METHODS.length) % SEEDS,
      mos: heldOut === 0 ? MOS : { ...MOS, ...ANSWERS },
      ...more,
    } as OpenAI.FineTuning.JobCreateParams;
    const headers = { "Idempotency-Key": `job-${i}` };
    const { id } = await insist(() => client.fineTuning.jobs.create(body, { headers }));
    made.push({ id, learnt, client });
  }
  return made;
}

async function allEnded(made: readonly Made[]): Promise<readonly string[]> {
  const statuses: string[] = [];
  for (const { id, client } of made) {
    let status = "";
    while (!["succeeded", "failed", "cancelled"].includes(status)) {
      ({ status } = await insist(() => client.fineTuning.jobs.retrieve(id)));
      if (status === "paused") await insist(() => client.fineTuning.jobs.resume(id)).catch(() => undefined);
      await sleep(200);
    }
    statuses.push(status);
  }
  return statuses;
}

interface Checked {
  readonly stores: Stores;
  readonly objects: ObjectStore;
  readonly folder: string;
}

async function checkJob({ id, learnt }: Made, { stores, objects, folder }: Checked): Promise<void> {
  const owner = { tenant: "", isAdmin: true };
  const job = await stores.jobs.find(owner, id);
  const files = await stores.models.files(job.fine_tuned_model ?? "");
  const adapter = await readFile((await objects.locate(files?.["adapter_model.safetensors"] ?? "")).path);
  const expected = await expectedAdapter(join(folder, id), learnt, job.plan);
  expect(adapter.equals(expected), `the bytes of ${id}`).toBe(true);
  const { rows } = await stores.jobs.events(job, { limit: 1000 });
  const steps = rows.flatMap(({ data }) => (data?.type === "step" ? [data.step] : []));
  expect(steps.toSorted((a, b) => a - b)).toEqual(Array.from({ length: STEPS }, (_, i) => i + 1));
  expect(rows.filter(({ message }) => message.startsWith("New fine-tuned model"))).toHaveLength(1);
}

interface Faulty {
  readonly server: ReturnType<typeof supervised>;
  readonly workers: readonly ReturnType<typeof supervised>[];
  readonly cluster: Cluster | undefined;
}

/** Kills and stops processes in turn. */
function makeFaults({ server, workers, cluster }: Faulty) {
  const random = randomStream(1, "faults");
  const counts: Record<string, number> = {};
  const trainers = new Set<number>();
  const pickOne = <T>(all: readonly T[]): T | undefined => all[Math.floor(random.uniform() * all.length)];
  const signalTrainer = (running: readonly number[], signal: NodeJS.Signals): void => {
    const trainer = pickOne(running);
    if (trainer !== undefined) process.kill(trainer, signal);
  };
  const worker = () => pickOne(workers) ?? server;
  const [least, most] = STOPPED;
  const doings = {
    worker: () => worker().kill(),
    stoppedTrainer: (running: readonly number[]) => signalTrainer(running, "SIGSTOP"),
    database: () => cluster?.kill() ?? server.kill(),
    trainer: (running: readonly number[]) => signalTrainer(running, "SIGKILL"),
    stoppedWorker: () => worker().stop(least + (most - least) * random.uniform()),
    server: () => server.kill(),
  };
  const happen = async (what: (typeof KINDS)[number]): Promise<void> => {
    const running = await listTrainers([server, ...workers].map(({ pid }) => pid()));
    for (const pid of running) trainers.add(pid);
    if (running.length === 0 && /trainer/i.test(what)) return; // nothing is trained now
    await doings[what](running);
    counts[what] = (counts[what] ?? 0) + 1;
  };
  return {
    counts,
    happen: async (seconds: number): Promise<void> => {
      const until = performance.now() + seconds * 1000;
      for (let count = 0; performance.now() < until; count++) {
        await sleep(1000 + 6000 * random.uniform());
        await happen(KINDS[count % KINDS.length] as (typeof KINDS)[number]);
      }
    },
    /** One that was stopped when its worker was killed ends as soon as it goes on. */
    expectNoTrainers: async (): Promise<void> => {
      for (const pid of trainers) if ((await processState(pid)) === "T") process.kill(pid, "SIGCONT");
      const left = async () => (await listTrainers()).filter((pid) => trainers.has(pid));
      await vi.waitFor(async () => expect(await left()).toEqual([]), { timeout: 10_000 });
    },
  };
}

async function faults(cluster: Cluster | undefined): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "mos-faults-"));
  const place = { storage: join(folder, "storage"), state: join(folder, "state") };
  const times = ["--slice-seconds", "2", "--lease-seconds", "4", "--threads", "1", "--json"];
  times.push("--stop-seconds", "10", "--stall-seconds", "10");
  const shared =
    cluster === undefined
      ? ["--state", place.state, "--storage", place.storage]
      : ["--database-url", cluster.url, "--storage", place.storage];
  const keys = await keysIn(folder);
  const port = await freePort();
  const serve = [
    "serve",
    ...MODEL,
    ...shared,
    ...times,
    "--port",
    String(port),
    "--api-keys",
    join(folder, "keys.jsonl"),
  ];
  const server = supervised(serve);
  const workers =
    cluster === undefined ? [] : [1, 2, 3].map(() => supervised(["worker", ...MODEL, ...shared, ...times]));
  try {
    const baseURL = `http://127.0.0.1:${port}/v1`;
    const clients = keys.map((apiKey) => new OpenAI({ apiKey, baseURL, maxRetries: 0, timeout: 10_000 }));
    const made = await createJobs(clients);
    const faulty = makeFaults({ server, workers, cluster });
    const [cancelled, paused] = [made[0] as Made, made[1] as Made];
    await insist(() => cancelled.client.fineTuning.jobs.cancel(cancelled.id)).catch(() => undefined);
    await insist(() => paused.client.fineTuning.jobs.pause(paused.id)).catch(() => undefined);
    await faulty.happen(SECONDS);
    const statuses = await allEnded(made);
    process.stderr.write(`${JSON.stringify({ ...faulty.counts, statuses })}\n`);
    expect(statuses.slice(1)).toEqual(statuses.slice(1).map(() => "succeeded"));
    expect([server, ...workers].flatMap(({ exits }) => exits)).toEqual([]);
    await server.end();
    for (const worker of workers) await worker.end();
    await faulty.expectNoTrainers();

    await using database =
      cluster === undefined
        ? await openPglite(join(place.state, "database"))
        : await openPostgres(cluster.url);
    const stores = openStores(database);
    const objects = await openObjects(place.storage);
    for (const job of made.slice(1)) await checkJob(job, { stores, objects, folder });
    await stores.contents.endForgotten(objects.discard, 0); // of killed workers
    await stores.contents.release(await objects.sweep(stores.contents.used, 0));
    await stores.contents.collect(objects.remove);
    const kept = (await readdir(join(place.storage, "objects"), { recursive: true })).filter(
      (name) => name.length > 10,
    );
    expect(await stores.contents.used(kept.map((name) => name.split("/").at(-1) ?? ""))).toHaveProperty(
      "size",
      kept.length,
    );
    expect(await readdir(join(place.storage, "incoming"))).toEqual([]);
  } finally {
    await server.end();
    for (const worker of workers) await worker.end();
    await rm(folder, { recursive: true, force: true });
  }
}

const programs = await postgresPrograms();
const LIMIT = 1000 * (SECONDS + 240 + 60 * JOBS);

test.runIf(programs !== undefined)("PostgreSQL, a server and three workers", { timeout: LIMIT }, async () => {
  await using cluster = await startCluster(programs as string);
  await faults(cluster);
});

test("one process with a database in a folder", { timeout: LIMIT }, () => faults(undefined));

/** Seconds of training that are lost with a server at most. */
const LOST = 60;
const STEP = /^Step (\d+)\/10000/m;

test("a server that is killed in the middle of a slice goes on from a checkpoint of its last minute", {
  timeout: 300_000,
}, async () => {
  const folder = await mkdtemp(join(tmpdir(), "mos-killed-"));
  const start = () => startServing(["acme"], { folder, more: ["--slice-seconds", "3600"] });
  try {
    await using killed = await start();
    const jobsOf = (serving: Serving) => serving.client("acme").fineTuning.jobs;
    const data = await toFile(await readFile("assets/quickstart/train.jsonl"), "train.jsonl");
    const file = await killed.client("acme").files.create({ file: data, purpose: "fine-tune" });
    const mos = { rank: 6, equivalent_rank: 2, steps: 10_000, save_every: 10_000 };
    const { id } = await jobsOf(killed).create({
      ...{ model: "tiny", training_file: file.id, mos },
    } as OpenAI.FineTuning.JobCreateParams);
    const messages = async (serving: Serving): Promise<string> => {
      const { data: events } = await jobsOf(serving).listEvents(id, { limit: 100 });
      return events.map(({ message }) => message).join("\n");
    };
    /** The number of the newest message that has one. */
    const numberIn = (serving: Serving, pattern: RegExp): Promise<number> =>
      vi.waitFor(
        async () => {
          const text = await messages(serving);
          expect(text).toMatch(pattern);
          return Number(pattern.exec(text)?.[1]);
        },
        { timeout: 90_000, interval: 500 },
      );
    await numberIn(killed, STEP);
    await sleep(5000);
    const early = await numberIn(killed, STEP);
    await sleep(LOST * 1000);
    await endProcess(killed.process, "SIGKILL");
    await using serving = await start();
    const from = await numberIn(
      serving,
      /^The job was interrupted, and goes on from the checkpoint at step (\d+)$/m,
    );
    expect(from).toBeGreaterThanOrEqual(early);
    // what follows is the newest
    expect(await numberIn(serving, /^Step (\d+)\/10000.*\n(?:.*\n)*The job was interrupted/)).toBeGreaterThan(
      from,
    );
    await jobsOf(serving).cancel(id);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
