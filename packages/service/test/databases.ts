// The databases that tests run on: PGlite in memory, and PostgreSQL where MOS_DATABASE_URL names one.
import { randomUUID } from "node:crypto";
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PGlite } from "@electric-sql/pglite";
import { type Database, migrate, openPostgres } from "#database";
import { type ObjectStore, openObjects } from "#objects";
import { openStores, type Stores } from "#store";
import manifest from "../package.json" with { type: "json" };
import { databaseOf } from "../src/database/pglite.ts";

const URL_OF_TESTS = process.env["MOS_DATABASE_URL"];

/** An empty database for one test. */
export interface TestDatabase extends AsyncDisposable {
  readonly database: Database;
  /** Of PostgreSQL: where other processes open it. */
  readonly url: string | undefined;
}

/** A new database, made once for all tests to come: to make one takes ten times as long as to open its copy. */
const { "@electric-sql/pglite": version } = manifest.dependencies;
const TEMPLATE = join(import.meta.dirname, `../../../.mos/pglite-${version}.tar`);

async function openTemplate(): Promise<Blob> {
  const kept = await readFile(TEMPLATE).catch(() => undefined);
  if (kept !== undefined) return new Blob([kept]);
  const pglite = await PGlite.create();
  const made = await pglite.dumpDataDir("none");
  await pglite.close();
  await mkdir(join(TEMPLATE, ".."), { recursive: true });
  const own = `${TEMPLATE}.${process.pid}`;
  await writeFile(own, await made.bytes());
  await rename(own, TEMPLATE);
  return made;
}
let template: Promise<Blob> | undefined;

/** A new database in memory or, with its path, in a folder. */
const createPglite = async (folder?: string): Promise<PGlite> => {
  template ??= openTemplate();
  return PGlite.create({
    loadDataDir: await template,
    ...(folder === undefined ? {} : { dataDir: folder }),
  });
};

/** Makes a folder with a new database. */
export async function makePglite(folder: string): Promise<void> {
  const pglite = await createPglite(folder);
  await pglite.close();
}

/** Empty databases that nobody uses: to make one takes longer than most files of tests, which share a process. */
const idle: Database[] = [];

async function inMemory(): Promise<Database> {
  const pglite = await createPglite();
  return databaseOf(pglite, () => pglite.close());
}

/** PGlite in memory. */
export async function openPglite(): Promise<TestDatabase> {
  const database = idle.pop() ?? (await inMemory());
  return {
    database,
    url: undefined,
    [Symbol.asyncDispose]: async () => {
      await database.query("discard all");
      await database.query("drop schema public cascade; create schema public; set time zone 'UTC'");
      idle.push(database);
    },
  };
}

async function onPostgres(url: string): Promise<TestDatabase> {
  await using admin = await openPostgres(url);
  const name = `mos_test_${randomUUID().replaceAll("-", "")}`;
  await admin.query(`create database ${name}`);
  const own = new URL(url);
  own.pathname = `/${name}`;
  const database = await openPostgres(own.href);
  return {
    database,
    url: own.href,
    [Symbol.asyncDispose]: async () => {
      await database[Symbol.asyncDispose]();
      await using again = await openPostgres(url);
      await again.query(`drop database ${name} with (force)`);
    },
  };
}

/** By name, for `describe.each`. */
export const databases: readonly (readonly [name: string, open: () => Promise<TestDatabase>])[] = [
  ["PGlite", openPglite],
  ...(URL_OF_TESTS === undefined ? [] : [["PostgreSQL", () => onPostgres(URL_OF_TESTS)] as const]),
];

/** An empty database with its tables, what works on them, and a storage in a folder that goes with it. */
export interface TestTables extends TestDatabase {
  readonly stores: Stores;
  readonly objects: ObjectStore;
  readonly folder: string;
}

/** Opens one. */
export async function openTables(open: () => Promise<TestDatabase>): Promise<TestTables> {
  const opened = await open();
  const { database, url } = opened;
  await migrate(database);
  const folder = await mkdtemp(join(tmpdir(), "mos-service-"));
  const objects = await openObjects(join(folder, "storage"));
  const close = async (): Promise<void> => {
    await opened[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  };
  const stores = openStores(database);
  return { database, url, stores, objects, folder, [Symbol.asyncDispose]: close };
}
