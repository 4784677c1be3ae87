// Jobs of several tenants on one worker beside the same runs of `mos train`, one after the other (docs/explanation/benchmarks.md).
import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { migrate, openPostgres } from "../packages/service/src/database/index.ts";
import { openObjects } from "../packages/service/src/objects/index.ts";
import {
  hasEnded,
  jobRequestSchema,
  openStores,
  toTrainingPlan,
} from "../packages/service/src/store/index.ts";
import { postgresPrograms, startCluster } from "../packages/service/test/cluster.ts";
import { fail, printResult, readArguments, rounded } from "./arguments.ts";
import { watch } from "./watched.ts";

const HELP = `usage: npm run bench:sharing -- --model FILE --data FILE [--tenants 8] [--steps 40] [--length 256] [--slice-seconds 15]

Trains a MoS for each tenant on examples of its own: with "mos train" one after the other, then as jobs of "mos worker" on a
PostgreSQL of its own. Prints seconds and peak memory (VmHWM of all processes) of both. Build first.`;

const given = readArguments(HELP, {
  values: ["model", "data", "tenants", "steps", "length", "slice-seconds"],
  flags: ["json"],
});
const model = given.text("model") ?? fail(HELP);
const data = given.text("data") ?? fail(HELP);
const [TENANTS, STEPS] = [given.number("tenants", 8), given.number("steps", 40)];
const LENGTH = given.number("length", 256);
const BASE = "base";
const RATE = 2e-4;

const programs =
  (await postgresPrograms()) ?? fail("PostgreSQL is not installed (apt-get install postgresql)");
const folder = await mkdtemp(join(tmpdir(), "mos-sharing-"));

/** Lines of the data for one tenant. */
async function tenantLines(tenant: number): Promise<string> {
  await using file = await open(data);
  const lines: string[] = [];
  let i = 0;
  for await (const line of file.readLines()) if (i++ % TENANTS === tenant) lines.push(`${line}\n`);
  return lines.slice(0, 2 * STEPS).join("");
}

async function trainedAlone(): Promise<{ readonly seconds: number; readonly peak: number }> {
  const runs = { seconds: 0, peak: 0 };
  for (let tenant = 0; tenant < TENANTS; tenant++) {
    const path = join(folder, `${tenant}.jsonl`);
    await using file = await open(path, "w");
    await file.writeFile(await tenantLines(tenant));
    const watched = await watch([
      ...["train", "--model", model, "--data", path, "--out", join(folder, `run-${tenant}`), "--quiet"],
      ...["--method", "mos", "--rank", "8", "--equivalent-rank", "2", "--validation-split", "0"],
      ...["--steps", String(STEPS), "--batch-size", "1", "--max-length", String(LENGTH)],
      ...["--learning-rate", String(RATE), "--seed", String(tenant), "--threads", "2"],
    ]);
    if (watched.code !== 0) fail(watched.errors);
    runs.seconds += watched.seconds;
    runs.peak = Math.max(runs.peak, watched.peak);
  }
  return runs;
}

async function trainedTogether(): Promise<{
  readonly seconds: number;
  readonly peak: number;
  readonly slices: number;
}> {
  await using cluster = await startCluster(programs);
  await using database = await openPostgres(cluster.url);
  await migrate(database);
  const stores = openStores(database);
  const objects = await openObjects(join(folder, "storage"));
  const owners = Array.from({ length: TENANTS }, (_, i) => ({ tenant: `tenant${i}`, isAdmin: false }));
  const made = await Promise.all(
    owners.map(async ({ tenant }, i) => {
      const stored = await objects.put(Readable.from([Buffer.from(await tenantLines(i))]));
      const training = await stores.files.add({
        tenant,
        purpose: "fine-tune",
        filename: "a.jsonl",
        ...stored,
        status: "processed",
        status_details: null,
      });
      const mos = { rank: 8, equivalent_rank: 2, steps: STEPS, max_length: LENGTH, learning_rate: RATE };
      const request = jobRequestSchema.parse({
        model: BASE,
        training_file: training.id,
        mos: { ...mos, batch_size: 1 },
      });
      const plan = toTrainingPlan(request, { seed: i, learningRate: RATE });
      return stores.jobs.create({ tenant, request, plan, training, validation: undefined });
    }),
  );
  let end: () => void = () => undefined;
  const worker = watch(
    [
      ...["worker", "--model", model, "--model-name", BASE, "--database-url", cluster.url, "--quiet"],
      ...["--storage", join(folder, "storage"), "--threads", "2"],
      ...["--slice-seconds", String(given.number("slice-seconds", 15))],
    ],
    { stop: (stop) => (end = stop) },
  );
  const started = performance.now();
  let rows = made;
  while (!rows.every(hasEnded)) {
    await sleep(200);
    rows = await Promise.all(made.map(({ id }, i) => stores.jobs.find(owners[i] ?? fail("no owner"), id)));
  }
  const seconds = (performance.now() - started) / 1000;
  end();
  const { peak } = await worker;
  for (const { status, error } of rows) if (status !== "succeeded") fail(`${status}: ${error?.message}`);
  return { seconds, peak, slices: rows.reduce((sum, { slice }) => sum + slice, 0) };
}

try {
  const alone = await trainedAlone();
  const together = await trainedTogether();
  printResult(
    {
      tenants: TENANTS,
      "mos train, s": rounded(alone.seconds, 1),
      "one worker, s": rounded(together.seconds, 1),
      ratio: rounded(together.seconds / alone.seconds, 3),
      slices: together.slices,
      "mos train, GB": rounded(alone.peak / 1e9, 2),
      "one worker, GB": rounded(together.peak / 1e9, 2),
    },
    given.flag("json"),
  );
} finally {
  await rm(folder, { recursive: true });
}
