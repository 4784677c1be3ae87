// Limits of a tenant's jobs. Who counts its jobs to decide on one holds the tenant's lock, after the row of the job itself.
import { MosError } from "mixture-of-shards";
import type { Database, Queryable } from "#database";
import type { FineTuningLimits } from "./key-limits.ts";
import type { Queue, SliceMessage } from "./queue.ts";
import type { JobRequest } from "./request.ts";
import type { JobRow } from "./rows.ts";
import { settingsOf } from "./setting-fields.ts";

/** Any number; the lock's other half is the tenant's. */
const LOCK = 7_205_420;

/** Until the transaction ends, nobody else counts what the tenant has. */
export async function lockTenant(on: Queryable, tenant: string): Promise<void> {
  await on.query("select pg_advisory_xact_lock($1::integer, hashtext($2))", [LOCK, tenant]);
}

/** Checks a request against the key's limits. Throws `bad_option`. */
export function assertAllowed(
  { mos }: JobRequest,
  { max_steps_per_job, priority: most = 0 }: FineTuningLimits,
): void {
  const { priority = most } = mos ?? {};
  const { steps = 0 } = settingsOf(mos ?? {}).run;
  if (max_steps_per_job !== undefined && steps > max_steps_per_job)
    throw new MosError(
      "bad_option",
      `mos.steps: ${steps} exceeds the limit of this key, ${max_steps_per_job}`,
    );
  if (priority > most)
    throw new MosError("bad_option", `mos.priority: ${priority} exceeds the limit of this key, ${most}`);
}

/**
 * Checks a job whose row was made under the tenant's lock.
 *
 * @throws MosError `busy` where the tenant has too many jobs now.
 */
export async function assertWithinLimits(
  on: Queryable,
  { tenant }: Pick<JobRow, "tenant">,
  { max_active_jobs }: FineTuningLimits,
): Promise<void> {
  if (max_active_jobs === undefined) return;
  const [row] = await on.query(
    "select count(*)::integer as jobs from jobs where tenant = $1 and status in ('queued', 'running', 'paused')",
    [tenant],
  );
  if (Number(row?.["jobs"]) > max_active_jobs)
    throw new MosError(
      "busy",
      `this key may have ${max_active_jobs} unfinished jobs; wait for one to finish, or cancel one`,
    );
}

/** Turns that are given out before a larger priority would be overtaken. */
const FAIRNESS_CLOCK_RANGE = 100_000_000;

/** pg-boss takes the largest first. */
export const placeInQueue = (priority: number, turn: number): number =>
  priority * FAIRNESS_CLOCK_RANGE - turn;

/** Whether a job that is due may run beside its tenant's others. Where not, it waits until `releaseNext` has it sent. */
export async function mayRun(on: Queryable, { job, slice }: SliceMessage): Promise<boolean> {
  const [due] = await on.query(
    "select tenant from jobs where id = $1 and slice = $2 and status = 'queued' for update",
    [job, slice],
  );
  if (due === undefined) return false;
  await lockTenant(on, String(due["tenant"]));
  const held = await on.query(
    `update jobs set is_held = true where id = $1 and max_running_jobs <=
       (select count(*) from jobs as other where other.tenant = jobs.tenant and other.status = 'running')
     returning id`,
    [job],
  );
  return held.length === 0;
}

/**
 * Sends the slice that waits for another job of its tenant to stop running, in the place of that one's next slice: so the
 * tenant gets as many turns as with one long job.
 */
export async function releaseNext(
  on: Queryable,
  queue: Queue,
  { id, tenant, max_running_jobs }: Pick<JobRow, "id" | "tenant" | "max_running_jobs">,
): Promise<void> {
  if (max_running_jobs === null) return;
  await lockTenant(on, tenant);
  const [next] = await on.query(
    `update jobs set is_held = false, queued_at = now(), turn = greatest(turn, (select turn + 1 from jobs where id = $2),
         (select max(turn) from jobs where status = 'running'))
       where id = (select id from jobs where tenant = $1 and is_held and status = 'queued'
         and max_running_jobs > (select count(*) from jobs as other
             where other.tenant = $1 and other.status = 'running' and other.id <> $2)
         order by priority desc, turn limit 1 for update skip locked)
       returning id, slice, model, priority, turn`,
    [tenant, id],
  );
  if (next === undefined) return;
  const message = { job: String(next["id"]), slice: Number(next["slice"]) };
  const priority = placeInQueue(Number(next["priority"]), Number(next["turn"]));
  await queue.send(on, message, { model: String(next["model"]), priority });
}

/** Releases jobs of tenants that may run more, such as where a released one was cancelled before a worker took it. */
export async function releaseForgotten(database: Database, queue: Queue): Promise<void> {
  const tenants = await database.query(
    `select distinct tenant from jobs where is_held and status = 'queued' and max_running_jobs >
       (select count(*) from jobs as other where other.tenant = jobs.tenant and other.status = 'running')`,
    [],
  );
  for (const { tenant } of tenants)
    await database.transaction((on) =>
      releaseNext(on, queue, { id: "", tenant: String(tenant), max_running_jobs: 1 }),
    );
}
