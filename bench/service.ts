// The queue and the API of fine-tuning as a service with many jobs and events, on PostgreSQL (docs/explanation/benchmarks.md).

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { migrate, openPostgres } from "../packages/service/src/database/index.ts";
import { openObjects } from "../packages/service/src/objects/index.ts";
import {
  jobRequestSchema,
  openSlices,
  openStores,
  toTrainingPlan,
} from "../packages/service/src/store/index.ts";
import { postgresPrograms, startCluster } from "../packages/service/test/cluster.ts";
import { fail, median, readArguments } from "./arguments.ts";

const HELP = `usage: npm run bench:service -- [--jobs 10000] [--events 1000000] [--workers 100] [--seconds 20]

Makes the jobs and their events in a PostgreSQL of its own, takes and ends slices with workers whose trainer does nothing, and
asks a server for jobs.`;

const given = readArguments(HELP, { values: ["jobs", "events", "workers", "seconds"], flags: [] });
const [JOBS, EVENTS] = [given.number("jobs", 10_000), given.number("events", 1_000_000)];
const [WORKERS, SECONDS] = [given.number("workers", 100), given.number("seconds", 20)];
const TENANTS = 20;
const MODEL = "tiny";

const programs =
  (await postgresPrograms()) ?? fail("PostgreSQL is not installed (apt-get install postgresql)");
await using cluster = await startCluster(programs);
await using database = await openPostgres(cluster.url, { connections: 32 });
await migrate(database);
const stores = openStores(database);
const folder = await mkdtemp(join(tmpdir(), "mos-bench-"));
const { digest } = await (await openObjects(folder)).put(Readable.from([Buffer.from("{}\n")]));

const tenantName = (i: number): string => `tenant${i % TENANTS}`;
const file = (tenant: string) =>
  stores.files.add({
    tenant,
    purpose: "fine-tune",
    filename: "a.jsonl",
    bytes: 3,
    digest,
    status: "processed",
    status_details: null,
  });
const files = await Promise.all(Array.from({ length: TENANTS }, (_, i) => file(tenantName(i))));

async function create(i: number): Promise<string> {
  const training = files[i % TENANTS] as (typeof files)[number];
  const request = jobRequestSchema.parse({ model: MODEL, training_file: training.id });
  const plan = toTrainingPlan(request, { seed: 1, learningRate: 0.002 });
  const { id } = await stores.jobs.create({
    tenant: tenantName(i),
    request,
    plan,
    training,
    validation: undefined,
  });
  return id;
}

/** Numbers from 0 on, with some at work at a time. */
async function each(count: number, atOnce: number, work: (i: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}

let started = performance.now();
await each(JOBS, 16, create);
console.log(`${JOBS} jobs made, ${Math.round((1000 * JOBS) / (performance.now() - started))} a second`);
await database.query(
  `insert into events (id, job, name, level, type, message)
   select 'ftevent-' || job.id || '-' || n, job.id, 'e' || n, 'info', 'message', 'Step ' || n
   from jobs as job, generate_series(1, $1::integer) as n`,
  [Math.ceil(EVENTS / JOBS)],
);
await database.query("analyze");

const slices = openSlices(database);
const end = { type: "stopped", run: {}, step: 1, steps: 9, trainedTokens: 1, seconds: 0 } as const;
const until = performance.now() + 1000 * SECONDS;
let taken = 0;
started = performance.now();
await each(WORKERS, WORKERS, async (worker) => {
  while (performance.now() < until) {
    const job = await slices.claim(MODEL, `w${worker}`);
    if (job !== undefined && (await slices.end(job, end))) taken++;
  }
});
console.log(
  `${WORKERS} workers: ${((1000 * taken) / (performance.now() - started)).toFixed(0)} slices a second`,
);

const state = ["--database-url", cluster.url, "--storage", folder, "--port", "0", "--json", "--quiet"];
const main = [
  "packages/mos/dist/cli/main.js",
  "serve",
  "--model",
  "assets/tiny-english",
  "--model-name",
  MODEL,
  ...state,
];
const server = spawn(process.execPath, main, { stdio: ["ignore", "pipe", "inherit"] });
const [line] = (await once(createInterface(server.stdout), "line")) as [string];
const { address } = JSON.parse(line) as { address: string };

async function timed(name: string, ask: (i: number) => Promise<Response>): Promise<void> {
  const times: number[] = [];
  for (let i = 0; i < 300; i++) {
    const begin = performance.now();
    const response = await ask(i);
    await response.arrayBuffer();
    if (!response.ok) fail(`${name}: ${response.status}`);
    if (i >= 20) times.push(performance.now() - begin);
  }
  const sorted = times.sort((a, b) => a - b);
  const late = sorted[Math.floor(0.95 * sorted.length)] ?? 0;
  console.log(`${name}: median ${median(sorted).toFixed(1)} ms, 95th percentile ${late.toFixed(1)} ms`);
}

const form = new FormData();
form.append("purpose", "fine-tune");
form.append("file", new Blob([await readFile("assets/quickstart/train.jsonl")]), "train.jsonl");
const uploaded = await fetch(`${address}/v1/files`, { method: "POST", body: form });
const { id: training_file } = (await uploaded.json()) as { id: string };
const headers = { "content-type": "application/json" };
const body = JSON.stringify({ model: MODEL, training_file });
const [known] = (await database.query("select id from jobs order by number limit 1")) as readonly {
  id: string;
}[];
// everybody's: the server has no keys, so its one tenant is given all jobs
await database.query("update jobs set tenant = 'anybody'");
const jobsUrl = `${address}/v1/fine_tuning/jobs`;
await timed("create", () => fetch(jobsUrl, { method: "POST", headers, body }));
await timed("list", () => fetch(jobsUrl));
await timed("retrieve", () => fetch(`${jobsUrl}/${known?.id}`));
await timed("events", () => fetch(`${jobsUrl}/${known?.id}/events`));
server.kill("SIGTERM");
await once(server, "exit");
await rm(folder, { recursive: true });
