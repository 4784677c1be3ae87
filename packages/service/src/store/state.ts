// State of the whole service for operators: the queue, and workers by their heartbeats.
import { readFileSync } from "node:fs";
import { trainingSchema } from "mixture-of-shards/server";
import { parseWith } from "mixture-of-shards-core/common";
import { z } from "zod";
import type { Database } from "#database";

/** A worker as it shows itself. */
interface WorkerSign {
  readonly name: string;
  readonly models: readonly string[];
  /** Version of the package that it runs. */
  readonly version: string;
}

const stateSchema = z.object({
  jobs: z.array(z.object({ status: z.string(), model: z.string(), count: z.number(), age: z.number() })),
  workers: z.array(z.object({ model: z.string(), version: z.string(), count: z.number() })),
  deliveries: z.number(),
});

/** Numbers of the whole service at this moment. */
export type ServiceState = z.output<typeof stateSchema>;

/** Seconds without a sign of life after which a worker counts as gone, and after which its row goes. */
const [ALIVE, FORGOTTEN] = [60, 3600];

/** Heartbeats of workers, and what they and the queue amount to. */
export function openWatch(database: Database) {
  return {
    /** Shows that a worker is alive; `isNew` as it starts. */
    beat: async ({ name, models, version }: WorkerSign, isNew = false): Promise<void> => {
      await database.query(
        `with forgotten as (delete from workers where seen_at < now() - make_interval(secs => $5::float8) and name <> $1)
         insert into workers (name, model, version) select $1, model, $3 from unnest($2::text[]) as given (model)
         on conflict (name, model) do update set seen_at = now(), version = excluded.version,
           started_at = case when $4 then now() else workers.started_at end`,
        [name, models, version, isNew, FORGOTTEN],
      );
    },
    leave: async (name: string): Promise<void> => {
      await database.query("delete from workers where name = $1", [name]);
    },
    /** Jobs by status and model with the seconds that the oldest has waited, workers, and webhook deliveries that wait. */
    state: async (): Promise<ServiceState> => {
      const [row] = await database.query(
        `select
           (select coalesce(jsonb_agg(counted), '[]') from (
              select case when is_held and status = 'queued' then 'held' else status end as status, model, count(*) as count,
                coalesce(greatest(0, extract(epoch from now() - min(queued_at))), 0)::float8 as age
              from jobs where status in ('queued', 'running', 'paused') group by 1, model
              union all
              -- an index has all of it, however many there were
              select status, model, count(*), 0 from jobs
              where status in ('succeeded', 'failed', 'cancelled') group by status, model) as counted) as jobs,
           (select coalesce(jsonb_agg(counted), '[]') from (
              select model, version, count(*) as count from workers
              where seen_at > now() - make_interval(secs => $1::float8) group by model, version) as counted) as workers,
           (select count(*) from webhook_deliveries where due_at is not null) as deliveries`,
        [ALIVE],
      );
      return parseWith(stateSchema, row, { code: "bad_data", where: "the state of the service" });
    },
    /** Workers with what they train, those that fell silent within the hour, too, and unfinished jobs by tenant. */
    training: async () => {
      const [row] = await database.query(
        `select
           (select coalesce(jsonb_agg(worker order by name), '[]') from (
              select name, array_agg(model order by model) as models, max(version) as version,
                extract(epoch from min(started_at))::float8 as started_at,
                extract(epoch from max(seen_at))::float8 as seen_at,
                max(seen_at) > now() - make_interval(secs => $1::float8) as is_alive,
                (select jsonb_build_object('id', id, 'tenant', tenant, 'model', jobs.model, 'step', step, 'steps', steps)
                   from jobs where status = 'running' and worker = workers.name order by lease desc limit 1) as job
              from workers group by name) as worker) as workers,
           (select coalesce(jsonb_agg(counted order by tenant), '[]') from (
              select tenant, count(*) filter (where status = 'queued' and not is_held) as queued,
                count(*) filter (where status = 'queued' and is_held) as held,
                count(*) filter (where status = 'running') as running,
                count(*) filter (where status = 'paused') as paused,
                coalesce(greatest(0, extract(epoch from now() - min(queued_at)
                  filter (where status = 'queued' and not is_held))), 0)::float8 as oldest_seconds
              from jobs where status in ('queued', 'running', 'paused') group by tenant) as counted) as queue`,
        [ALIVE],
      );
      return parseWith(trainingSchema, row, { code: "bad_data", where: "the state of the service" });
    },
  };
}

/** Seconds between heartbeats. */
const HEARTBEAT_SECONDS = 10;

const { version }: { readonly version: string } = JSON.parse(
  readFileSync(new URL("../../package.json", import.meta.url), "utf8"),
);

/** Shows that a worker is alive until it is disposed. */
export function startHeartbeat(
  watch: ReturnType<typeof openWatch>,
  worker: Omit<WorkerSign, "version">,
): AsyncDisposable {
  // a database that is away for a while is said elsewhere
  const beat = (isNew?: boolean): Promise<void> =>
    watch.beat({ ...worker, version }, isNew).catch(() => undefined);
  let last = beat(true);
  const timer = setInterval(() => {
    last = last.then(() => beat());
  }, HEARTBEAT_SECONDS * 1000);
  return {
    [Symbol.asyncDispose]: async () => {
      clearInterval(timer);
      await last;
      await watch.leave(worker.name).catch(() => undefined);
    },
  };
}
