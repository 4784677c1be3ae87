import { createHash } from "node:crypto";
import { chmod, rm, stat } from "node:fs/promises";
import { connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { setImmediate } from "node:timers/promises";
import { PGlite } from "@electric-sql/pglite";
import { NodeFS } from "@electric-sql/pglite/nodefs";
import { MosError } from "mixture-of-shards";
import { errorText } from "mixture-of-shards-core/common";
import {
  assertSpace,
  assertWritable,
  lockChanges,
  makePrivateFolder,
  pathExists,
  storageError,
} from "mixture-of-shards-core/files";
import { type Database, type Queryable, storableValues, wrapDatabase } from "./database.ts";

/**
 * PostgreSQL inside this process, kept in a folder. Only one process may have the folder open.
 * A killed process loses nothing that was committed. It does not wait for the disk, so a power failure may lose the last
 * changes; PostgreSQL does.
 *
 * @throws MosError `bad_option` where another process has the folder, `storage` where it cannot be used.
 */
export async function openPglite(folder: string): Promise<Database> {
  await assertRoom(folder);
  const hold = await holdFolder(folder);
  try {
    const pglite = await PGlite.create({
      startParams: [...PGlite.defaultStartParams, ...LOG_LIMITS],
      fs: new PrivateFiles(folder),
    });
    const close = async (): Promise<void> => {
      await pglite.close();
      await hold[Symbol.asyncDispose]();
    };
    return watchFolder(await databaseOf(pglite, close), folder);
  } catch (cause) {
    await hold[Symbol.asyncDispose]();
    const reason = errorText(cause);
    throw new MosError("storage", `${folder}: the database cannot be opened: ${reason}`, {
      cause,
    });
  }
}

/** After a checkpoint so much of the write-ahead log stays, rather than a gigabyte. */
const LOG_LIMITS = ["-c", "min_wal_size=32MB", "-c", "max_wal_size=64MB"];
/** Bytes of a new database, and those that one takes at its start at most: measured. */
const [NEW_BYTES, START_BYTES] = [40e6, 1e6];

/** PGlite itself does not say that a disk is full or read-only. Throws MosError `storage`. */
async function assertRoom(folder: string): Promise<void> {
  await makePrivateFolder(folder);
  await assertWritable(folder);
  const isNew = !(await pathExists(join(folder, "PG_VERSION")));
  await assertSpace(folder, { what: "the database", bytes: isNew ? NEW_BYTES : START_BYTES });
}

/** Milliseconds for which a folder that was there counts as there. */
const KNOWN = 1000;

/**
 * The same database, which refuses to work when its folder is removed or replaced: PGlite would go on with files that are open,
 * and all of that would be lost at its end.
 */
async function watchFolder(database: Database, folder: string): Promise<Database> {
  const mark = join(folder, "PG_VERSION");
  const { ino } = await stat(mark);
  let looked = performance.now();
  let isGone = false;
  let cause: unknown;
  const look = async (): Promise<void> => {
    const found = await stat(mark).catch((error: unknown) => {
      cause = error;
    });
    // once it was gone, what is in memory and what is on the disk may differ
    isGone ||= found?.ino !== ino;
    looked = performance.now();
    if (isGone)
      throw new MosError(
        "storage",
        `${folder}: the database was removed or replaced while in use; restore it and restart this process`,
        { cause },
      );
  };
  return {
    ...wrapDatabase(database, async (work) => {
      if (isGone || performance.now() - looked >= KNOWN) await look();
      return work();
    }),
    check: async () => {
      await look();
      await assertWritable(folder);
    },
  };
}

/** The part of Emscripten's file system by which modes are set. */
interface ModeOperations {
  mknod(parent: unknown, name: string, ...rest: readonly [mode: number, device: unknown]): unknown;
  setattr(node: unknown, attributes: { readonly mode?: number }): void;
}

/** Files of mode 0600 in folders of mode 0700: PGlite itself gives every user all rights to its files, whatever the umask is. */
class PrivateFiles extends NodeFS {
  override async init(...args: Parameters<NodeFS["init"]>): ReturnType<NodeFS["init"]> {
    const { emscriptenOpts } = await super.init(...args);
    const keepPrivate = (module: { readonly NODEFS?: { readonly node_ops: ModeOperations } }): void => {
      const operations = module.NODEFS?.node_ops;
      if (operations === undefined)
        throw new Error("this version of PGlite does not allow file modes to be set");
      const { mknod, setattr } = operations;
      operations.mknod = (parent, name, ...[mode, device]) => mknod(parent, name, mode & ~0o077, device);
      operations.setattr = (node, { mode, ...others }) =>
        setattr(node, mode === undefined ? others : { ...others, mode: mode & ~0o077 });
    };
    return { emscriptenOpts: { ...emscriptenOpts, preRun: [keepPrivate, ...(emscriptenOpts.preRun ?? [])] } };
  }
}

/** PGlite writes its own JSON; a value that is JSON already is text for it. */
const queryable = (on: Pick<PGlite, "query" | "exec">): Queryable => ({
  query: async (text, values) => {
    if (values !== undefined)
      return (await on.query<Record<string, unknown>>(text, storableValues(values))).rows;
    try {
      return (await on.exec(text)).at(-1)?.rows ?? [];
    } catch (error) {
      await on.exec("rollback"); // several statements may have begun a transaction
      throw error;
    }
  },
});

/** The database of an open PGlite, wherever that is kept. */
export async function databaseOf(pglite: PGlite, close: () => Promise<void>): Promise<Database> {
  await pglite.query("set time zone 'UTC'");
  return {
    kind: "pglite",
    check: async () => undefined,
    ...queryable(pglite),
    transaction: async (work) => pglite.transaction((transaction) => work(queryable(transaction))),
    [Symbol.asyncDispose]: close,
  };
}

// A socket in a folder is its lock: the kernel closes it with its process, however that ends. A file with a process id would
// mislead in containers, where the process before had the same one.

/** Sockets' paths are at most 107 bytes long. */
const MAX_PATH_BYTES = 100;

/** Windows has named pipes instead of sockets in folders. */
function socketAddress(folder: string): string {
  const name = createHash("sha256").update(resolve(folder)).digest("hex").slice(0, 32);
  if (process.platform === "win32") return `\\\\.\\pipe\\mixture-of-shards-${name}`;
  const inside = resolve(`${folder}.lock`);
  return Buffer.byteLength(inside) <= MAX_PATH_BYTES
    ? inside
    : join(tmpdir(), `mixture-of-shards-${name}.lock`);
}

const listenAt = (address: string): Promise<Server> =>
  new Promise((resolved, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once("error", reject);
    server.listen(address, () => resolved(server.unref()));
  });

const isHeld = (address: string): Promise<boolean> =>
  new Promise((resolved) => {
    const socket = connect(address);
    socket.once("connect", () => {
      socket.destroy();
      resolved(true);
    });
    // whatever else is wrong, nobody can say that the folder is free
    socket.once("error", (error: NodeJS.ErrnoException) =>
      resolved(!["ECONNREFUSED", "ENOENT"].includes(error.code ?? "")),
    );
  });

/**
 * Holds a folder for this process until it is disposed.
 *
 * @throws MosError `bad_option` where another process holds it.
 */
export async function holdFolder(folder: string): Promise<AsyncDisposable> {
  const address = socketAddress(folder);
  const server = await listenAt(address).catch(async (error: NodeJS.ErrnoException) => {
    if (error.code !== "EADDRINUSE") throw storageError(error, address);
    // one after the other, or the second would remove the socket of the first
    await using _change = await lockChanges(dirname(resolve(folder)));
    if (await isHeld(address))
      throw new MosError(
        "bad_option",
        `${folder} is in use by another process; stop it, choose another folder, or use --database-url for several processes`,
      );
    await rm(address, { force: true }); // left by a process that was killed
    return listenAt(address);
  });
  if (process.platform !== "win32") await chmod(address, 0o600);
  return {
    [Symbol.asyncDispose]: () => new Promise<void>((resolved) => server.close(() => resolved())),
  };
}

// Upkeep of PGlite, which runs neither autovacuum nor checkpoints by itself: its tables and its write-ahead log would grow with
// every change. Each statement stops all others, so there are few of them, and pauses between.

/** Dead rows of a table at which it is vacuumed: so many, and so many for each live one. Large values have a row per 2 kB. */
const [DEAD_ROWS, DEAD_SHARE] = [1000, 0.1];
/** Bytes of the write-ahead log at which there is a checkpoint. */
const LOG_BYTES = 32 * 2 ** 20;
/** Transactions after which a table is vacuumed in any case: 2^31 of them would end all writing. */
const MAX_AGE = 200_000_000;
/** What a statement takes, this many times over, passes before the next one: upkeep gets 5 % of the time. */
const PAUSE = 19;

const LARGE_VALUES = "left join pg_class large on large.oid = tables.reltoastrelid";

const DUE = `
  select 'checkpoint' as statement from pg_control_checkpoint()
    where pg_current_wal_insert_lsn() - redo_lsn > ${LOG_BYTES}
  union all (
    select format('vacuum %s', oid::regclass) from (
      select tables.oid, age(tables.relfrozenxid) as age,
        pg_stat_get_dead_tuples(tables.oid) + coalesce(pg_stat_get_dead_tuples(large.oid), 0) as dead,
        pg_stat_get_live_tuples(tables.oid) + coalesce(pg_stat_get_live_tuples(large.oid), 0) as live
      from pg_class tables ${LARGE_VALUES} where tables.relkind = 'r') as counted
    where dead > ${DEAD_ROWS} + ${DEAD_SHARE} * live or age > ${MAX_AGE}
    order by dead desc limit 1)`;

/**
 * Gives a function that does what is due: at most one vacuum, and one checkpoint.
 *
 * @param now the time in milliseconds.
 */
export function openUpkeep(database: Queryable, now = (): number => performance.now()): () => Promise<void> {
  let next = Number.NEGATIVE_INFINITY;
  return async () => {
    const start = now();
    if (start < next) return;
    const due = await database.query(DUE);
    for (const { statement } of due) {
      await database.query(String(statement));
      await setImmediate(); // others have their turn
    }
    if (due.length > 0) next = now() + PAUSE * (now() - start);
  };
}

/**
 * Writes tables anew and drops the write-ahead log, so that no file of PGlite has what was deleted from them. It stops everything
 * else for about a second.
 */
export async function rewrite(database: Queryable, tables: readonly string[]): Promise<void> {
  for (const table of tables) await database.query(`vacuum full ${table}`);
  await database.query("set wal_recycle = off"); // a file of the log that is used again keeps its end
  await database.query("select pg_switch_wal()");
  await database.query("checkpoint");
  await database.query("reset wal_recycle");
}

/** Bytes of a table that may be worth rewriting, and how many times more than its rows need they have to be. */
const [LARGE_TABLE, LOOSE] = [2 ** 24, 4];
/** Most bytes of a row, which larger values leave. */
const ROW_BYTES = 2048;

const LOOSE_TABLES = `
  select tables.oid::regclass::text as name from pg_class tables ${LARGE_VALUES}
    where tables.relkind = 'r' and pg_table_size(tables.oid) > ${LARGE_TABLE}
    and pg_table_size(tables.oid) > ${LOOSE * ROW_BYTES} * (tables.reltuples + coalesce(large.reltuples, 0))`;

/**
 * Gives space back to the disk, before anybody waits for the database: a process that was killed has forgotten what was dead,
 * and earlier versions have kept all of it.
 */
export async function compact(database: Queryable): Promise<void> {
  await database.query("vacuum");
  for (const { name } of await database.query(LOOSE_TABLES)) await database.query(`vacuum full ${name}`);
  await database.query("checkpoint");
}
