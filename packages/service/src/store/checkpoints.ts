// Models that come of jobs: what a run ends with, and its checkpoints on the way there.
import type { Queryable } from "#database";
import type { Files } from "#objects";
import { checkpointName, modelName, randomId } from "./ids.ts";
import type { JobRow } from "./rows.ts";

/** An adapter in the middle of a run that can be used. */
export interface NewCheckpoint {
  readonly step: number;
  readonly files: Files;
  readonly metrics: Readonly<Record<string, number>>;
}

/** Checkpoints of a job whose models can be used: the newest ones. */
const MAX_CHECKPOINTS = 10;

/** Name of a job's model. */
export const jobModelName = ({ id, model, tenant, request }: JobRow): string => {
  const suffix = typeof request["suffix"] === "string" ? request["suffix"] : undefined;
  return modelName({ id, model, tenant, suffix });
};

interface NewModel {
  readonly name: string;
  readonly files: Files;
  /** The setting of the request that says after how many seconds the model expires. */
  readonly lifetime: "expires_after" | "checkpoints_expire_after";
}

export async function publishModel(
  on: Queryable,
  { id }: JobRow,
  { name, files, lifetime }: NewModel,
): Promise<void> {
  await on.query(
    `insert into models (name, tenant, job, files, expires_at)
     select $1, tenant, id, $2, now() + make_interval(secs => (request #>> array['mos', $3])::float8)
     from jobs where id = $4`,
    [name, files, lifetime, id],
  );
}

/** Publishes the checkpoint of a step once. */
export async function publishCheckpoint(
  on: Queryable,
  job: JobRow,
  { step, files, metrics }: NewCheckpoint,
): Promise<void> {
  const model = checkpointName(jobModelName(job), step, job.restarts);
  const made = await on.query(
    `insert into checkpoints (id, job, step, model, metrics) values ($1, $2, $3, $4, $5)
     on conflict (job, step) do nothing returning id`,
    [randomId("ftckpt_"), job.id, step, model, metrics],
  );
  if (made.length === 0) return;
  await publishModel(on, job, { name: model, files, lifetime: "checkpoints_expire_after" });
  await removeOldCheckpoints(on, job);
}

/** The checkpoints of a run that was given up are no longer the job's; models that an alias stands for stay. */
export async function forgetCheckpoints(on: Queryable, { id }: JobRow): Promise<void> {
  const rows = await on.query("delete from checkpoints where job = $1 returning model", [id]);
  const models = rows.map(({ model }) => model);
  // locked before aliases are looked at: none can be pointed to them meanwhile
  await on.query("select name from models where name = any($1) for update", [models]);
  await on.query(
    "delete from models where name = any($1) and not exists (select from aliases where model = name)",
    [models],
  );
}

/** Removes all but the newest checkpoints, with their models; those that an alias stands for stay. */
async function removeOldCheckpoints(on: Queryable, { id }: JobRow): Promise<void> {
  const rows = await on.query(
    "select id, model from checkpoints where job = $1 order by step desc offset $2",
    [id, MAX_CHECKPOINTS],
  );
  if (rows.length === 0) return;
  await on.query("select name from models where name = any($1) for update", [rows.map(({ model }) => model)]);
  await on.query(
    `with old as (
       delete from checkpoints where id = any($1)
         and not exists (select from aliases where aliases.model = checkpoints.model) returning model)
     delete from models using old where name = old.model`,
    [rows.map(({ id: checkpoint }) => checkpoint)],
  );
}
