// Upkeep of PGlite, which runs neither autovacuum nor checkpoints by itself: its tables and its write-ahead log would grow with
// every change. Each statement stops all others, so there are few of them, and pauses between.
import { setImmediate } from "node:timers/promises";
import type { Queryable } from "./database.ts";

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
