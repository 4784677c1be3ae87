// The queue of slices that are due: rows of the table of jobs. Tenants take turns, within their limits, and larger priorities
// come first.
import { type Database, lockTenant, type Queryable } from "#database";

/** What turns and limits need to know of a job. */
interface QueuedJob {
  readonly id: string;
  readonly tenant: string;
  readonly max_running_jobs: number | null;
}

/** The next job of a model, locked until the transaction ends; others pass it over meanwhile. */
export async function lockNext(
  transaction: Queryable,
  { model, hasServer }: { readonly model: string; readonly hasServer: boolean },
): Promise<QueuedJob | undefined> {
  const [due] = await transaction.query(
    `select id, tenant, max_running_jobs from jobs
     where model = $1 and status = 'queued' and not is_held and queued_at <= now() and ($2 or not asks_models)
     order by priority desc, turn, queued_at limit 1 for update skip locked`,
    [model, hasServer],
  );
  return due as QueuedJob | undefined;
}

/**
 * Makes a job's slice due after `delay` seconds, by turns: each tenant's slices follow each other, and none comes before what
 * has had its turn already. So many jobs of one tenant do not keep another one's waiting, nor does one long job.
 */
export async function queueSlice(
  transaction: Queryable,
  { id, tenant }: Pick<QueuedJob, "id" | "tenant">,
  { delay = 0 }: { readonly delay?: number } = {},
): Promise<void> {
  await transaction.query(
    `update jobs set is_held = false, queued_at = now() + make_interval(secs => $3::float8), turn = greatest(
       turn + 1,
       (select max(turn) + 1 from jobs where tenant = $2 and status in ('queued', 'running') and id <> $1),
       coalesce((select max(turn) from jobs where status = 'running'),
         (select min(turn) - 1 from jobs where status = 'queued' and id <> $1)))
     where id = $1`,
    [id, tenant, delay],
  );
}

/** True if a job that is due may run beside its tenant's others. If not, it is held until `releaseNext` makes it due again. */
export async function mayRun(on: Queryable, { id, tenant, max_running_jobs }: QueuedJob): Promise<boolean> {
  if (max_running_jobs === null) return true;
  await lockTenant(on, tenant);
  const held = await on.query(
    `update jobs set is_held = true where id = $1 and max_running_jobs <=
       (select count(*) from jobs as other where other.tenant = jobs.tenant and other.status = 'running')
     returning id`,
    [id],
  );
  return held.length === 0;
}

/**
 * Makes the slice due that waits for a job of its tenant to stop running, in the place of that one's next slice: so the tenant
 * gets as many turns as with one long job.
 */
export async function releaseNext(on: Queryable, { id, tenant, max_running_jobs }: QueuedJob): Promise<void> {
  if (max_running_jobs === null) return;
  await lockTenant(on, tenant);
  await on.query(
    `update jobs set is_held = false, queued_at = now(), turn = greatest(turn, (select turn + 1 from jobs where id = $2),
         (select max(turn) from jobs where status = 'running'))
       where id = (select id from jobs where tenant = $1 and is_held and status = 'queued'
         and max_running_jobs > (select count(*) from jobs as other
             where other.tenant = $1 and other.status = 'running' and other.id <> $2)
         order by priority desc, turn limit 1 for update skip locked)`,
    [tenant, id],
  );
}

/** Releases jobs of tenants that may run more, such as where a released one was cancelled before a worker took it. */
export async function releaseForgotten(database: Database): Promise<void> {
  const tenants = await database.query(
    `select distinct tenant from jobs where is_held and status = 'queued' and max_running_jobs >
       (select count(*) from jobs as other where other.tenant = jobs.tenant and other.status = 'running')`,
    [],
  );
  for (const { tenant } of tenants)
    await database.transaction((on) =>
      releaseNext(on, { id: "", tenant: String(tenant), max_running_jobs: 1 }),
    );
}
