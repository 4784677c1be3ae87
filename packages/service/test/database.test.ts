import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { migrate, openPglite, openPostgres } from "#database";
import { holdFolder } from "../src/database/pglite.ts";
import { databases, type TestDatabase } from "./databases.ts";

const POSTGRES = process.env["MOS_DATABASE_URL"];

describe.each(databases)("%s", (_, open) => {
  let opened: TestDatabase;
  beforeAll(async () => {
    opened = await open();
  });
  afterAll(() => opened[Symbol.asyncDispose]());

  test("values and rows are those of JavaScript", async () => {
    const { database } = opened;
    const values = ["é\n'", 2 ** 40, 0.1, true, { a: [1, "x", null] }, ["p", 'q"'], null];
    const [row] = await database.query(
      "select $1::text as t, $2::bigint as i, $3::float8 as f, $4::boolean as b, $5::jsonb as j, $6::text[] as l, $7::text as n",
      values,
    );
    expect(Object.values(row ?? {})).toEqual(values);
    expect(await database.query("select 1 as a; select 2 as b union select 3 order by b")).toEqual([
      { b: 2 },
      { b: 3 },
    ]);
    const [time] = await database.query("select '2026-01-02T03:04:05Z'::timestamptz as at");
    expect(time?.["at"]).toEqual(new Date("2026-01-02T03:04:05Z"));
  });

  test("a transaction is all or nothing", async () => {
    const { database } = opened;
    await database.query("create table t (a integer primary key)");
    await database.transaction((transaction) => transaction.query("insert into t values (1)"));
    const failed = database.transaction(async (transaction) => {
      await transaction.query("insert into t values (2)");
      await transaction.query("insert into t values (1)");
    });
    await expect(failed).rejects.toThrow(/duplicate key/);
    expect(await database.query("select a from t")).toEqual([{ a: 1 }]);
  });

  test("tables are brought up to date once, and newer ones are refused", async () => {
    const { database } = opened;
    await Promise.all([migrate(database), migrate(database)]);
    await migrate(database);
    expect(await database.query("select count(*)::integer as n from jobs")).toEqual([{ n: 0 }]);
    await database.query("insert into migrations values (1000)");
    await expect(migrate(database)).rejects.toMatchObject({ code: "unsupported" });
    await database.query("delete from migrations where number = 1000");
  });
});

test.runIf(POSTGRES)("PostgreSQL: a process that was stopped in a transaction keeps no locks", async () => {
  await using stopped = await openPostgres(POSTGRES ?? "", { idleSeconds: 1 });
  await using other = await openPostgres(POSTGRES ?? "");
  const lock = "select pg_advisory_xact_lock(5)";
  const failed = stopped.transaction(async (transaction) => {
    await transaction.query(lock);
    await other.transaction((another) => another.query(lock));
    await transaction.query("select 1");
  });
  await expect(failed).rejects.toMatchObject({ code: "network" });
});

test.skipIf(process.platform === "win32")(
  "the socket by which a folder is held is its owner's alone",
  async () => {
    const folder = await mkdtemp(join(tmpdir(), "mos-state-"));
    try {
      await using _held = await holdFolder(join(folder, "state"));
      expect((await stat(join(folder, "state.lock"))).mode & 0o777).toBe(0o600);
    } finally {
      await rm(folder, { recursive: true });
    }
  },
);

test("a folder has one process", { tags: "thorough" }, async () => {
  const folder = await mkdtemp(join(tmpdir(), "mos-state-"));
  try {
    const first = await openPglite(join(folder, "state"));
    await expect(openPglite(join(folder, "state"))).rejects.toMatchObject({
      code: "bad_option",
      message: expect.stringContaining("is in use by another process"),
    });
    await first.query("create table t (a integer)");
    await first[Symbol.asyncDispose]();
    await using second = await openPglite(join(folder, "state"));
    expect(await second.query("select * from t")).toEqual([]);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("a database that cannot be reached is named without its password", async () => {
  await expect(openPostgres("postgres://me:secret@127.0.0.1:1/db")).rejects.toMatchObject({
    code: "network",
    message: expect.stringMatching(/^PostgreSQL at 127\.0\.0\.1:1\/db cannot be reached: (?!.*secret)/),
  });
  await expect(openPostgres("mysql://x")).rejects.toMatchObject({ code: "bad_option" });
});

const run = promisify(execFile);

// only root may mount what it needs
test.runIf(process.platform === "linux" && process.getuid?.() === 0)(
  "PGlite on a disk that is full or read-only says so, and where",
  async (context) => {
    const place = await mkdtemp(join(tmpdir(), "mos-full-"));
    const folder = join(place, "database");
    const isMounted = await run("mount", ["-t", "tmpfs", "-o", "size=2m", "tmpfs", place]).then(
      () => true,
      () => false,
    );
    if (!isMounted) return context.skip();
    try {
      await expect(openPglite(folder)).rejects.toMatchObject({
        code: "storage",
        message: expect.stringMatching(
          `^${folder}: the database takes 40.* MB, but its disk has .* free; free some`,
        ),
      });
      await mkdir(folder, { recursive: true });
      await run("mount", ["-o", "remount,ro", place]);
      await expect(openPglite(folder)).rejects.toMatchObject({
        code: "storage",
        message: `${folder}: the file system is read-only; choose a folder that can be written`,
      });
    } finally {
      await run("umount", ["-l", place]);
      await rm(place, { recursive: true });
    }
  },
);
