// References to contents of the storage, and the bytes of a tenant's files there. A content is named by a row from
// before it is relied on: by an arrival first, by a file, a job or a model then. When a row lets go of one, triggers write it
// down as released, and it is removed once no row names it. Both happen under a lock of the content, so that nobody begins to
// rely on one that is being removed. It costs one connection of the database while a file is removed.
import { randomUUID } from "node:crypto";
import { MosError } from "mixture-of-shards";
import { type Database, lockTenant, type Queryable } from "#database";

/** Contents that are put into the storage and not named by a row of their own yet. */
export type Arrival = ReturnType<typeof openArrival>;

/** Limits of what arrives. */
export interface ArrivalOptions {
  /** Bytes that all files of the tenant may take. */
  readonly maxStorageBytes?: number | undefined;
  /** Bytes that are expected at most; without it, room is made a block at a time. */
  readonly mostBytes?: number | undefined;
}

/** Any number; the lock's other half is the content's. */
const LOCK = 7_205_421;
/** Bytes of room that are made at once. */
const BLOCK = 1 << 20;
/** Seconds between signs of life of arrivals, and after which they are forgotten: longer than workers wait for a database. */
const [HEARTBEAT_INTERVAL, HEARTBEAT_TIMEOUT] = [60, 1800];

/** Contents that are needed, and those that are not. */
export function openContents(database: Database) {
  const signs = openHeartbeats(database);
  return {
    arrive: (tenant: string, options?: ArrivalOptions): Arrival =>
      openArrival(database, signs, { tenant, ...options }),
    /** Those of these contents that a row names. */
    used: (digests: readonly string[]): Promise<ReadonlySet<string>> => usedAmong(database, digests),
    /** A few of the contents that rows name. */
    sample: async (): Promise<readonly string[]> => {
      const rows = await database.query(
        `(select digest from files limit 4)
         union all (select value from models, jsonb_each_text(models.files) limit 4)`,
        [],
      );
      return rows.map(({ digest }) => String(digest));
    },
    /** Writes contents down as released, whatever named them. */
    release: async (digests: readonly string[]): Promise<void> => {
      await database.query(
        "insert into released (digest, tenant) select digest, '' from unnest($1::text[]) digest",
        [digests],
      );
    },
    /** Removes what was released and no row names. Bytes count until `remove` has returned. */
    collect: async (remove: (digest: string) => Promise<void>): Promise<void> => {
      const rows = await database.query(
        "select distinct digest from released where not is_used limit 1000",
        [],
      );
      for (const { digest } of rows)
        await database.transaction((on) => collectContent(on, String(digest), remove));
    },
    /** Ends arrivals of processes that have been silent for some seconds. `discard` removes what had arrived. */
    endForgotten: async (
      discard: (id: string) => Promise<void>,
      seconds = HEARTBEAT_TIMEOUT,
    ): Promise<void> => {
      const rows = await database.query(
        "select id from arrivals where seen_at <= now() - make_interval(secs => $1::float8)",
        [seconds],
      );
      for (const { id } of rows.filter((row) => !signs.has(String(row["id"])))) {
        await discard(String(id));
        await database.query("delete from arrivals where id = $1", [id]);
      }
    },
  };
}

/** Tells others, now and then, that the arrivals of this process are not forgotten. */
function openHeartbeats(database: Database) {
  const live = new Set<string>();
  let timer: NodeJS.Timeout | undefined;
  const beat = (): void =>
    void database
      .query("update arrivals set seen_at = now() where id = any($1)", [[...live]])
      .catch(() => undefined);
  return {
    has: (id: string) => live.has(id),
    begin: (id: string): void => {
      live.add(id);
      timer ??= setInterval(beat, HEARTBEAT_INTERVAL * 1000).unref();
    },
    end: (id: string): void => {
      live.delete(id);
      if (live.size > 0) return;
      clearInterval(timer);
      timer = undefined;
    },
  };
}

function openArrival(
  database: Database,
  signs: ReturnType<typeof openHeartbeats>,
  {
    tenant,
    maxStorageBytes: most,
    mostBytes = Number.POSITIVE_INFINITY,
  }: ArrivalOptions & { readonly tenant: string },
) {
  const id = randomUUID();
  let reserved = 0;
  return {
    id,
    /**
     * Reserves space for a total number of bytes, before they are written.
     *
     * @throws MosError `busy` where the tenant's files would take more than they may.
     */
    reserve: async (bytes: number): Promise<void> => {
      if (most === undefined || bytes <= reserved) return;
      signs.begin(id);
      // more than is needed now, where there is room for it
      const wanted = Math.max(bytes, Math.min(mostBytes, bytes + BLOCK));
      reserved = await database.transaction(async (on) => {
        const room = await assertStorageQuota(on, tenant, { bytes, most, arrival: id });
        const granted = Math.min(room, wanted);
        await on.query(
          `insert into arrivals (id, tenant, bytes) values ($1, $2, $3)
           on conflict (id) do update set bytes = excluded.bytes, seen_at = now()`,
          [id, tenant, granted],
        );
        return granted;
      });
    },
    /** Keeps a content from being removed until the arrival ends. */
    name: async (digest: string): Promise<void> => {
      signs.begin(id);
      await database.transaction(async (on) => {
        await lockContent(on, digest);
        await on.query(
          `insert into arrivals (id, tenant, digests) values ($1, $2, array[$3])
           on conflict (id) do update set digests = arrivals.digests || excluded.digests, seen_at = now()`,
          [id, tenant, digest],
        );
      });
    },
    /** Other rows name the contents by now, or nobody needs them. */
    end: async (): Promise<void> => {
      if (!signs.has(id)) return;
      signs.end(id);
      await database.query("delete from arrivals where id = $1", [id]);
    },
  };
}

/** Bytes of a tenant's files, those that arrive and those that are deleted but still there, too; of imported models, feedback and lessons. */
async function takenBytes(on: Queryable, tenant: string, arrival: string | undefined): Promise<number> {
  const [row] = await on.query(
    `select (coalesce((select sum(bytes) from files where tenant = $1), 0)
       + coalesce((select sum(bytes) from models where tenant = $1 and bytes > 0), 0)
       + coalesce((select sum(bytes) from feedback where tenant = $1), 0)
       + coalesce((select sum(bytes) from lessons where tenant = $1), 0)
       + coalesce((select sum(bytes) from arrivals where tenant = $1 and id is distinct from $2), 0)
       + coalesce((select sum(bytes) from (
           select max(bytes) as bytes from released where tenant = $1 and bytes > 0
             and not exists (select from files where files.tenant = $1 and files.digest = released.digest)
           group by digest) as gone), 0))::bigint as taken`,
    [tenant, arrival ?? null],
  );
  return Number(row?.["taken"]);
}

/**
 * Checks that a tenant's quota has room for more bytes; those of one arrival do not count. The tenant's lock is
 * held from here on. Gives the room that is left.
 *
 * @throws MosError `busy`.
 */
export async function assertStorageQuota(
  on: Queryable,
  tenant: string,
  { bytes, most, arrival }: { bytes: number; most: number; arrival?: string | undefined },
): Promise<number> {
  await lockTenant(on, tenant);
  const taken = await takenBytes(on, tenant, arrival);
  if (taken + bytes <= most) return most - taken;
  throw new MosError(
    "busy",
    `the files of this key may take ${most} bytes, and ${taken} are in use, including uploads, imported models, feedback, lessons and files of unfinished jobs; delete some`,
  );
}

const lockContent = (on: Queryable, digest: string): Promise<unknown> =>
  on.query("select pg_advisory_xact_lock($1::integer, hashtext($2))", [LOCK, digest]);

/** True if an arrival still keeps these contents; an expired one does not. */
export async function keepsContents(
  on: Queryable,
  arrival: string,
  digests: readonly string[],
): Promise<boolean> {
  if (digests.length === 0) return true;
  const rows = await on.query("select id from arrivals where id = $1 and digests @> $2::text[]", [
    arrival,
    digests,
  ]);
  return rows.length > 0;
}

async function usedAmong(on: Queryable, digests: readonly string[]): Promise<ReadonlySet<string>> {
  const rows = await on.query(
    `select digest from unnest($1::text[]) as given (digest) where
       exists (select 1 from files where files.digest = given.digest)
       or exists (select 1 from arrivals where given.digest = any(digests))
       or exists (select 1 from jobs where status in ('queued', 'running', 'paused')
         and (training_digest = given.digest or validation_digest = given.digest))
       or exists (select 1 from jobs, jsonb_each_text(coalesce(run, '{}') || coalesce(initial, '{}'))
         where status in ('queued', 'running', 'paused') and value = given.digest)
       or exists (select 1 from models, jsonb_each_text(models.files) where value = given.digest)`,
    [digests],
  );
  return new Set(rows.map(({ digest }) => String(digest)));
}

async function collectContent(
  on: Queryable,
  digest: string,
  remove: (digest: string) => Promise<void>,
): Promise<void> {
  await lockContent(on, digest);
  const isUsed = (await usedAmong(on, [digest])).has(digest);
  if (!isUsed) await remove(digest);
  // what a job of the same tenant still trains on counts as that tenant's; who else has the same content is nobody's business
  await on.query(
    `with looked_at as (
       update released set is_used = true where digest = $1 and $2 and bytes > 0
         and exists (select from jobs where jobs.tenant = released.tenant and status in ('queued', 'running', 'paused')
           and (training_digest = $1 or validation_digest = $1))
         and not exists (select from files where files.tenant = released.tenant and files.digest = $1)
       returning number)
     delete from released where digest = $1 and number not in (select number from looked_at)`,
    [digest, isUsed],
  );
}
