// State of the whole service for operators: the queue and the workers.

import { parseWith } from "mixture-of-shards/cli";
import { z } from "zod";
import type { Database } from "#database";

/** A worker as it shows itself. */
export interface WorkerSign {
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

/** Signs of life of workers, and what they and the queue amount to. */
export interface ServiceWatch {
  /** Shows that a worker is alive; `isNew` as it starts. */
  beat(worker: WorkerSign, isNew?: boolean): Promise<void>;
  /** A worker has ended. */
  leave(name: string): Promise<void>;
  /** Jobs by status and model with the seconds that the oldest has waited, workers, and webhook deliveries that wait. */
  state(): Promise<ServiceState>;
}

/** Seconds without a sign of life after which a worker counts as gone, and after which its row goes. */
const [ALIVE, FORGOTTEN] = [60, 3600];

/** Opens it on a database whose tables are there. */
export function openWatch(database: Database): ServiceWatch {
  return {
    beat: async ({ name, models, version }, isNew = false) => {
      await database.query(
        `with forgotten as (delete from workers where seen_at < now() - make_interval(secs => $5::float8) and name <> $1)
         insert into workers (name, model, version) select $1, model, $3 from unnest($2::text[]) as given (model)
         on conflict (name, model) do update set seen_at = now(), version = excluded.version,
           started_at = case when $4 then now() else workers.started_at end`,
        [name, models, version, isNew, FORGOTTEN],
      );
    },
    leave: async (name) => void (await database.query("delete from workers where name = $1", [name])),
    state: async () => {
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
  };
}
