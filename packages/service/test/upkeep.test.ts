// What keeps PGlite from growing: vacuums and checkpoints, by a schedule of our own.
import { expect, test } from "vitest";
import { compact, openUpkeep, type Queryable } from "#database";
import { openPglite } from "./databases.ts";

/** A database in which `due` is due, and each of it takes `milliseconds` of the clock. */
function fakeDatabase(due: string[], milliseconds: number) {
  const clock = { now: 0 };
  const run: string[] = [];
  let looks = 0;
  const database: Queryable = {
    query: async (text) => {
      if (text.trimStart().startsWith("select")) {
        looks++;
        return due.splice(0).map((statement) => ({ statement }));
      }
      clock.now += milliseconds;
      run.push(text);
      return [];
    },
  };
  return { ...{ database, run, due, clock }, looks: () => looks };
}

test("what a vacuum stops is a twentieth of the time", async () => {
  const { database, run, due, clock, looks } = fakeDatabase(["checkpoint", "vacuum a"], 50);
  const upkeep = openUpkeep(database, () => clock.now);
  await upkeep();
  expect(run).toEqual(["checkpoint", "vacuum a"]);
  due.push("vacuum b");
  clock.now = 1999;
  await upkeep();
  expect([run.length, looks()]).toEqual([2, 1]);
  clock.now = 2000;
  await upkeep();
  expect(run.at(-1)).toBe("vacuum b");
  clock.now = 3000;
  await upkeep();
  await upkeep(); // nothing was due: no pause
  expect([run.length, looks()]).toEqual([3, 4]);
});

test("dead rows, large values and changes that are written are all due", async () => {
  await using opened = await openPglite();
  const { database } = opened;
  const statements: string[] = [];
  const upkeep = openUpkeep(
    {
      query: (text, values) => {
        if (!text.trimStart().startsWith("select")) statements.push(text);
        return database.query(text, values);
      },
    },
    () => 0,
  );
  const step = async (sql: string): Promise<readonly string[]> => {
    await database.query(sql);
    await database.query("select pg_stat_force_next_flush()");
    await upkeep();
    return statements.splice(0);
  };
  await compact(database);
  await step("create table t (i integer, large text); alter table t alter large set storage external");
  expect(
    await step("insert into t select i from generate_series(1, 3000) i; delete from t where i > 2100"),
  ).toEqual([]);
  expect(await step("delete from t where i > 1800")).toEqual(["vacuum t"]);
  expect(await step("update t set large = repeat('x', 4000000) where i = 1")).toEqual([]);
  expect(await step("update t set large = 'y' where i = 1")).toEqual(["vacuum t"]);
  expect(await step("select pg_logical_emit_message(false, '', repeat('x', 40000000))")).toEqual([
    "checkpoint",
  ]);
  expect(await step("select 1")).toEqual([]);
});

test("a start gives back what deleted rows took, also in front of one that stayed", async () => {
  await using opened = await openPglite();
  const { database } = opened;
  await database.query(
    `create table t (i integer, large text); alter table t alter large set storage external;
     insert into t select i, repeat('x', 200000) from generate_series(1, 100) i; delete from t where i < 100`,
  );
  const size = async (): Promise<number> =>
    Number((await database.query("select pg_total_relation_size('t') as size"))[0]?.["size"]);
  expect(await size()).toBeGreaterThan(20e6);
  await compact(database);
  expect(await size()).toBeLessThan(1e6);
  expect(await database.query("select i, length(large) as length from t")).toEqual([
    { i: 100, length: 200_000 },
  ]);
});
