// The queue of slices that are due: pg-boss in the service's own database. A message only says where to look; what is true
// stands in the table of jobs, so that a message that comes twice does nothing. Tenants take turns, within their limits.

import { createHash } from "node:crypto";
import { MosError } from "mixture-of-shards";
import PgBoss from "pg-boss";
import { type Database, lockTenant, type Queryable, withMigrationLock } from "#database";

/** A slice that is due. */
export interface SliceMessage {
  readonly job: string;
  readonly slice: number;
}

/** A message that this process has taken, and has to acknowledge. */
interface TakenMessage extends SliceMessage {
  acknowledge(): Promise<void>;
  /** Leaves it to another worker. */
  giveBack(): Promise<void>;
}

interface SendOptions {
  readonly model: string;
  /** Larger ones come first. */
  readonly priority: number;
  /** Not before this many seconds. */
  readonly delay?: number;
}

/** Messages by base model: a worker asks first for those of the base that it has loaded. */
export interface Queue extends AsyncDisposable {
  /** Makes the place of a model's messages; once, before the first of them. Not within a transaction. */
  prepare(model: string): Promise<void>;
  /** Queues in the transaction that makes the slice due. */
  send(transaction: Queryable, message: SliceMessage, options: SendOptions): Promise<void>;
  /** The next message for a model, or undefined where there is none. */
  take(model: string): Promise<TakenMessage | undefined>;
}

/** A taken message comes back where its process died before it looked at the job. */
const SECONDS_TO_LOOK = 30;
/** Ten years: a job may wait as long as there is no worker. */
const MINUTES_TO_WAIT = 10 * 365 * 24 * 60;

/** pg-boss allows few characters in a name. */
const queueName = (model: string): string =>
  `slices-${createHash("sha256").update(model).digest("hex").slice(0, 24)}`;

const executor = (on: Queryable): PgBoss.Db => ({
  executeSql: async (text, values) => ({
    rows: [
      ...(await on.query(
        text,
        values?.map((value: unknown) => value ?? null),
      )),
    ],
  }),
});

/**
 * Opens the queue, and makes its tables where they are not there.
 *
 * @throws MosError what the database throws.
 */
export async function openQueue(
  database: Database,
  { onError }: { readonly onError: (error: Error) => void },
): Promise<Queue> {
  const boss = new PgBoss({
    db: executor(database),
    schema: "slices",
    schedule: false,
    maintenanceIntervalSeconds: 10,
    archiveCompletedAfterSeconds: 60,
    deleteAfterHours: 1,
  });
  boss.on("error", onError);
  await withMigrationLock(database, () => boss.start());
  const made = new Map<string, Promise<void>>();
  const make = async (model: string): Promise<void> => {
    const name = queueName(model);
    const options = {
      retryLimit: 1_000_000,
      expireInSeconds: SECONDS_TO_LOOK,
      retentionMinutes: MINUTES_TO_WAIT,
    };
    await withMigrationLock(database, () => boss.createQueue(name, { name, ...options }));
  };
  const prepare = (model: string): Promise<void> => {
    const known = made.get(model) ?? make(model);
    made.set(model, known);
    return known.catch((error: unknown) => {
      made.delete(model);
      throw error;
    });
  };
  return {
    prepare,
    send: async (transaction, { job, slice }, { model, priority, delay = 0 }) => {
      const options = { priority, startAfter: delay, db: executor(transaction) };
      const sent = await boss.send(queueName(model), { job, slice }, options);
      if (sent === null) throw new MosError("storage", `the queue of the model ${model} is missing`);
    },
    take: async (model) => {
      await prepare(model);
      const name = queueName(model);
      const [message] = await boss.fetch<SliceMessage>(name, { batchSize: 1 });
      if (message === undefined) return undefined;
      return {
        ...message.data,
        acknowledge: () => boss.complete(name, message.id),
        giveBack: () => boss.fail(name, message.id),
      };
    },
    [Symbol.asyncDispose]: () => boss.stop({ graceful: false, close: false, wait: true }),
  };
}

/** Turns that are given out before a larger priority would be overtaken. */
const FAIRNESS_CLOCK_RANGE = 100_000_000;

/** pg-boss takes the largest first. */
const placeInQueue = (priority: number, turn: number): number => priority * FAIRNESS_CLOCK_RANGE - turn;

/** A job whose slice is due, after some seconds. */
interface DueJob {
  readonly id: string;
  readonly tenant: string;
  readonly model: string;
  readonly priority: number;
  readonly delay?: number;
}

/**
 * Puts the slice that is due into the queue, by turns: each tenant's slices follow each other, and none comes before what has
 * had its turn already. So many jobs of one tenant do not keep another one's waiting, nor does one long job.
 */
export async function sendSlice(
  transaction: Queryable,
  queue: Queue,
  { delay = 0, ...job }: DueJob,
): Promise<void> {
  const [row] = await transaction.query(
    `update jobs set is_held = false, queued_at = now() + make_interval(secs => $3::float8), turn = greatest(
       turn + 1,
       (select max(turn) + 1 from jobs where tenant = $2 and status in ('queued', 'running') and id <> $1),
       coalesce((select max(turn) from jobs where status = 'running'),
         (select min(turn) - 1 from jobs where status = 'queued' and id <> $1)))
     where id = $1 returning slice, turn`,
    [job.id, job.tenant, delay],
  );
  const priority = placeInQueue(job.priority, Number(row?.["turn"]));
  const message = { job: job.id, slice: Number(row?.["slice"]) };
  await queue.send(transaction, message, { model: job.model, priority, delay });
}

/** True if a job that is due may run beside its tenant's others. If not, it waits until `releaseNext` has it sent. */
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

/** A job that no longer runs. */
interface StoppedJob {
  readonly id: string;
  readonly tenant: string;
  readonly max_running_jobs: number | null;
}

/**
 * Sends the slice that waits for another job of its tenant to stop running, in the place of that one's next slice: so the
 * tenant gets as many turns as with one long job.
 */
export async function releaseNext(
  on: Queryable,
  queue: Queue,
  { id, tenant, max_running_jobs }: StoppedJob,
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
