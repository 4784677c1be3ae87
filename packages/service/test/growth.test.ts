// The database takes what its rows need, and no tenant makes it grow without end.
import { createHash } from "node:crypto";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type JobRow, openOutbox, openSlices } from "#store";
import { databases, openTables, type TestTables } from "./databases.ts";
import { addTrainingFile, queueJob } from "./queued-job.ts";

/** Text that does not become smaller when it is compressed. */
const dense = (bytes: number, seed = ""): string => {
  let text = "";
  for (let i = 0; text.length < bytes; i++)
    text += createHash("sha512").update(`${seed}${i}`).digest("base64");
  return text.slice(0, bytes);
};

describe.each(databases)("growth on %s", (_, open) => {
  let opened: TestTables;
  const acme = { tenant: "acme", isAdmin: false };
  beforeAll(async () => {
    opened = await openTables(open);
  });
  afterAll(() => opened[Symbol.asyncDispose]());
  beforeEach(async () => {
    await opened.database.query("truncate jobs, files, models, events, checkpoints, feedback, lessons");
  });

  const count = async (table: string): Promise<number> =>
    Number((await opened.database.query(`select count(*)::integer as rows from ${table}`))[0]?.["rows"]);
  const rate = (
    rating: "up" | "down",
    more: { correction?: string; maxStorageBytes?: number; id?: string } = {},
  ) =>
    opened.stores.feedback.put({
      ...{ tenant: "acme", id: "r", model: "tiny", rating, prompt: dense(70_000), completion: '["Hi"]' },
      ...{ correction: null, hint: null, ...more },
    });

  test("a response that is rated again and again takes what one rating takes", async () => {
    await rate("up", { correction: dense(5000) });
    const size = async (): Promise<number> => {
      const [row] = await opened.database.query("select pg_table_size('feedback')::bigint as size");
      return Number(row?.["size"]);
    };
    const one = await size();
    for (let i = 0; i < 20; i++) await rate(i % 2 === 0 ? "down" : "up", { correction: dense(5000) });
    expect(await size()).toBeLessThanOrEqual(one + 8192);
    const { value } = await opened.stores.feedback.all("acme").next();
    expect(value).toMatchObject({ rating: "up", prompt: dense(70_000), correction: dense(5000) });
  });

  test("feedback counts as storage of its key, as far as it grows", async () => {
    const most = 71_000;
    await rate("up", { maxStorageBytes: most });
    await rate("down", { maxStorageBytes: most });
    await expect(rate("down", { maxStorageBytes: most, correction: dense(2000) })).rejects.toMatchObject({
      code: "busy",
      message: expect.stringContaining("may take 71000 bytes, and 70006 are in use"),
    });
    await expect(rate("up", { maxStorageBytes: most, id: "other" })).rejects.toMatchObject({ code: "busy" });
    await expect(
      addTrainingFile(opened.stores, { bytes: 1000, maxStorageBytes: most }),
    ).rejects.toMatchObject({
      code: "busy",
    });
    await opened.stores.feedback.delete("acme", "r");
    await addTrainingFile(opened.stores, { bytes: 1000, maxStorageBytes: most });
  });

  test("a lease is renewed in place", async () => {
    await queueJob(opened);
    const claimed = await openSlices(opened.database).claim("tiny", "w");
    if (claimed === undefined) throw new Error("no slice is due");
    const made = await opened.database.transaction(async (on) => {
      const slices = openSlices({ ...opened.database, query: on.query });
      const inPlace = async (): Promise<number> => {
        const [row] = await on.query(
          "select pg_stat_get_xact_tuples_hot_updated('jobs'::regclass) as updates",
        );
        return Number(row?.["updates"]);
      };
      const before = await inPlace();
      for (let i = 0; i < 2; i++) expect(await slices.renew(claimed)).toBe("held");
      return (await inPlace()) - before;
    });
    expect(made).toBe(2);
  });

  const setBytes = ({ id }: JobRow, bytes: number) =>
    opened.database.query("update jobs set bytes = $2 where id = $1", [id, bytes]);

  test("of a job with too many events every other one stays, each warning, and what it has taught", async () => {
    const job = await queueJob(opened);
    for (let i = 0; i < 10; i++) {
      await opened.stores.jobs.pause(acme, job.id);
      await opened.stores.jobs.resume(acme, job.id);
    }
    expect(await count("events")).toBe(21);
    const [before] = await opened.database.query("select bytes::integer from jobs");
    await opened.database.query("update events set level = 'warn' where name = 'created'");
    await opened.database.query(
      "update events set name = 'outcome' where number = (select max(number) from events)",
    );
    await setBytes(job, 16_000_000);
    await opened.stores.jobs.pause(acme, job.id);
    expect(await opened.stores.jobs.outcome(job)).not.toBeNull();
    const { rows } = await opened.stores.jobs.events(job, { limit: 100 });
    expect(rows).toHaveLength(12);
    expect([rows[0]?.message, rows.at(-1)?.level]).toEqual(["The job was paused", "warn"]);
    const [after] = await opened.database.query("select bytes::integer from jobs");
    expect(Number(after?.["bytes"]) - 16_000_000).toBeLessThan(-9 * 200);
    expect(Number(before?.["bytes"])).toBeGreaterThan(4096 + 21 * 200);
  });

  test("old jobs give way to new ones, but for what has not ended", async () => {
    const [open1, ended, recent] = [await queueJob(opened), await queueJob(opened), await queueJob(opened)];
    const other = await queueJob(opened, { tenant: "zeta" });
    for (const { id } of [ended, recent]) await opened.stores.jobs.cancel(acme, id);
    for (const job of [open1, ended, recent, other]) await setBytes(job, 100_000_000);
    const last = await queueJob(opened);
    const left = (await opened.stores.jobs.list(acme, { limit: 10 })).rows.map(({ id }) => id);
    expect(left).toEqual([last.id, recent.id, open1.id]);
    await setBytes(last, 200_000_000);
    await expect(queueJob(opened)).rejects.toMatchObject({
      code: "busy",
      message: expect.stringContaining("unfinished jobs may take 256000000 bytes"),
    });
    await queueJob(opened, { tenant: "zeta" });
  });

  test("a webhook keeps its last thousand deliveries", async () => {
    await opened.database.query(
      `insert into webhooks (id, tenant, url, events, secret, allows_private)
         select id, 'acme', 'https://a.test', '{}', '', false from unnest(array['one', 'two']) as id;
       insert into webhook_deliveries (webhook, tenant, event, type, job, status, due_at, finished_at)
         select 'one', 'acme', i, '', '', 'delivered', null, now() from generate_series(1, 1002) i;
       insert into webhook_deliveries (webhook, tenant, event, type, job, due_at) values ('one', 'acme', '', '', '', now());
       insert into webhook_deliveries (webhook, tenant, event, type, job, status, finished_at)
         select 'two', 'acme', day, '', '', 'failed', now() - make_interval(days => day) from unnest(array[29, 31]) day`,
    );
    await openOutbox(opened.database).removeOld();
    const kept = await opened.database.query(
      `select webhook, count(*)::integer, min(nullif(event, '')::integer) as first from webhook_deliveries
       group by webhook order by webhook`,
    );
    expect(kept).toEqual([
      { webhook: "one", count: 1001, first: 3 },
      { webhook: "two", count: 1, first: 29 },
    ]);
  });
});
