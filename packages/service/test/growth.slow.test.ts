// An hour of a server, simulated by what it writes: its database grows to what it keeps, and no further.
import { randomBytes } from "node:crypto";
import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { compact, type Database, migrate, openPglite, openUpkeep } from "#database";
import { openObjects } from "#objects";
import { openSlices, openStores, openWatch } from "#store";
import { databases } from "./databases.ts";
import { stepLine } from "./fake-trainer.ts";
import { queueJob } from "./queued-job.ts";

/** Text that does not become smaller when it is compressed. */
const dense = (bytes: number): string => randomBytes((bytes * 3) / 4).toString("base64");

async function folderBytes(folder: string): Promise<number> {
  const names = await readdir(folder, { recursive: true });
  const found = await Promise.all(names.map((name) => stat(join(folder, name))));
  return found.reduce((sum, { size }) => sum + size, 0);
}

/** What a busy server writes in a second. */
async function openTraffic(database: Database, folder: string) {
  await migrate(database);
  const stores = openStores(database);
  const objects = await openObjects(join(folder, "storage"));
  const slices = openSlices(database);
  const watch = openWatch(database);
  const answer = async (second: number): Promise<void> => {
    const item = { id: `in-${second}`, type: "message", role: "user", content: dense(20_000) };
    const response = { id: `r-${second}` };
    await stores.responses
      .within({ bytes: 1_000_000, days: 1 })
      .put("acme", { ...response, createdAt: 0, response, input: [item], output: [] } as never);
    const said = { tenant: "acme", id: `r-${second % 20}`, model: "tiny", completion: "[]" };
    const rated = { rating: second % 2 === 0 ? "up" : "down", prompt: item.content } as const;
    await stores.feedback.put({ ...said, ...rated, correction: dense(20_000), hint: null });
    if (second % 7 === 0) await stores.feedback.delete("acme", said.id);
    const none = { prompt_tokens: 1, cached_tokens: 0, completion_tokens: 1, serving_seconds: 1 };
    for (const tenant of ["acme", "zeta"]) stores.usage.add({ tenant, model: "tiny", requests: 1, ...none });
    await stores.usage.write();
  };
  const train = async (): Promise<void> => {
    const { id } = await queueJob({ stores, objects });
    // as if it had as many events as a job keeps, so that an hour has more jobs than a tenant
    await database.query("update jobs set bytes = bytes + 16000000 where id = $1", [id]);
    for (let slice = 0; slice < 2; slice++) {
      const job = await slices.claim("tiny", "w");
      if (job === undefined) throw new Error("no slice is due");
      await slices.note(
        job,
        Array.from({ length: 20 }, (_, step) => ({
          name: `step-${slice}-${step}`,
          data: stepLine({ step, tokens: 2000 }),
        })),
      );
      for (let i = 0; i < 3; i++) await slices.renew(job);
      const progress = { step: 1, steps: 2, trainedTokens: 10, seconds: 1 };
      await slices.end(job, { type: "stopped", run: { a: "b".repeat(64) }, ...progress });
    }
    await stores.jobs.cancel({ tenant: "acme", isAdmin: false }, id);
    await database.query("delete from files");
    await watch.beat({ name: "w", models: ["tiny"], version: "1" });
  };
  return {
    second: async (second: number): Promise<void> => {
      await answer(second);
      if (second % 20 === 0) await train();
    },
  };
}

test("PGlite is as large after an hour as after ten minutes", { timeout: 1_200_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), "mos-growth-"));
  try {
    await using database = await openPglite(join(folder, "database"));
    const traffic = await openTraffic(database, folder);
    let now = 0;
    const upkeep = openUpkeep(database, () => now * 1000);
    const sizes: number[] = [];
    for (now = 1; now <= 3600; now++) {
      await traffic.second(now);
      if (now % 5 === 0) await upkeep();
      if (now % 600 === 0) sizes.push(await folderBytes(join(folder, "database")));
    }
    const [first = 0] = sizes;
    expect(Math.max(...sizes)).toBeLessThan(1.15 * first);
    expect(first).toBeLessThan(150e6);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("vacuuming 60 MB of events, an eighth of them dead, stops others for a moment", async () => {
  const folder = await mkdtemp(join(tmpdir(), "mos-growth-"));
  try {
    await using database = await openPglite(join(folder, "database"));
    await migrate(database);
    const stores = openStores(database);
    const { id } = await queueJob({ stores, objects: await openObjects(join(folder, "storage")) });
    await database.query(
      `insert into events (id, job, name, level, type, message, data)
       select md5(i::text), $1, 'step-' || i, 'info', 'metrics', '',
         jsonb_build_object('type', 'step', 'step', i, 'loss', random(), 'accuracy', random(), 'epoch', 0,
           'learningRate', random(), 'gradientNorm', random(), 'tokens', random(), 'targetTokens', random(),
           'examples', 40, 'seconds', random())
       from generate_series(1, 100000) i`,
      [id],
    );
    const [row] = await database.query("select pg_total_relation_size('events')::bigint as size");
    expect(Number(row?.["size"])).toBeGreaterThan(55e6);
    await compact(database);
    await database.query("delete from events where number % 8 = 0");
    await database.query("select pg_stat_force_next_flush()");
    const times = new Map<string, number>();
    const query = async (text: string) => {
      const before = process.cpuUsage();
      const rows = await database.query(text);
      const { user, system } = process.cpuUsage(before);
      times.set(text, (user + system) / 1000);
      return rows;
    };
    await openUpkeep({ query })();
    expect([...times.keys()].slice(1)).toEqual(["checkpoint", "vacuum events"]);
    expect(Math.max(...times.values())).toBeLessThan(250);
  } finally {
    await rm(folder, { recursive: true });
  }
});

const postgres = databases.find(([name]) => name === "PostgreSQL");

test.runIf(postgres)("PostgreSQL keeps its size by autovacuum", { timeout: 600_000 }, async () => {
  if (postgres === undefined) return;
  const folder = await mkdtemp(join(tmpdir(), "mos-growth-"));
  await using opened = await postgres[1]();
  const { database } = opened;
  const traffic = await openTraffic(database, folder);
  const vacuums = async (): Promise<number> => {
    const [row] = await database.query(
      `select autovacuum_count::integer as times from pg_stat_all_tables
       where relid = (select reltoastrelid from pg_class where relname = 'feedback')`,
    );
    return Number(row?.["times"]);
  };
  const sizes: number[] = [];
  for (let round = 0, second = 0; round < 4; round++) {
    const before = await vacuums();
    for (let i = 0; i < 300; i++) await traffic.second(++second);
    // it comes once a minute by default
    await expect.poll(vacuums, { timeout: 120_000, interval: 500 }).toBeGreaterThan(before);
    const [row] = await database.query("select pg_database_size(current_database())::bigint as size");
    sizes.push(Number(row?.["size"]));
  }
  expect(Math.max(...sizes)).toBeLessThan(1.3 * (sizes[0] ?? 0));
  await rm(folder, { recursive: true });
});
