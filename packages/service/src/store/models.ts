// Published models: their names, their rows, when they expire by the database's clock, and the checkpoints of jobs. A model that
// an alias stands for neither expires nor is removed.
import { MosError } from "mixture-of-shards";
import type { Measurement } from "mixture-of-shards-core/training";
import { z } from "zod";
import {
  type Database,
  isOwned,
  type ListOptions,
  missing,
  type Owner,
  ownerValues,
  type Queryable,
  queryRows,
  randomId,
  selectPage,
} from "#database";
import type { Files } from "#objects";
import { keepsContents } from "./contents.ts";
import type { JobRow } from "./jobs.ts";
import { isGraded } from "./method.ts";

/** Bytes of each part: the whole is the name of a folder, which 255 bytes have to hold with what hides it for a while. */
const MAX_PART_BYTES = 40;

/** A part of a name: letters and digits of any language. */
function slug(text: string): string {
  let part = text.replaceAll(/[^\p{L}\p{N}._-]+/gu, "-").replaceAll(/^[-.]+|(?<![-.])[-.]+$/g, "");
  while (Buffer.byteLength(part) > MAX_PART_BYTES) part = [...part].slice(0, -1).join("");
  return part;
}

/** Prefix of the names of fine-tuned models, which no adapter of a folder has. */
const PREFIX = "ft:";

/** The name of a fine-tuned model as OpenAI has it: `ft:base:tenant:suffix:id`. */
export function modelName(job: {
  readonly id: string;
  readonly model: string;
  readonly tenant: string;
  readonly suffix: string | undefined;
}): string {
  const short = job.id.slice(-8);
  return `${PREFIX}${slug(job.model)}:${job.tenant}:${slug(job.suffix ?? "")}:${short}`;
}

/** Tests for the name of a model fine-tuned from a base, or of one of its checkpoints. */
export const isFineTuned = (name: string, base: string): boolean =>
  name.startsWith(`${PREFIX}${slug(base)}:`);

/** The same without checkpoints. */
export const isFinalModel = (name: string, base: string): boolean =>
  isFineTuned(name, base) && !/:ckpt-step-\d+(-run-\d+)?$/.test(name);

/** The name of the model at a checkpoint. After a restart of the run, it is another model than before. */
export const checkpointName = (model: string, step: number, restarts: number): string =>
  `${model}:ckpt-step-${step}${restarts === 0 ? "" : `-run-${restarts + 1}`}`;

/** The tenant of a fine-tuned model; undefined for the name of another adapter. */
export const modelTenant = (name: string): string | undefined =>
  name.startsWith(PREFIX) ? name.split(":")[2] : undefined;

const models = {
  name: "models",
  item: "model",
  schema: z.object({
    name: z.string(),
    tenant: z.string(),
    job: z.string().nullable(),
    files: z.record(z.string(), z.string()),
    created_at: z.date(),
    expires_at: z.date().nullable(),
  }),
};
/** A published model. */
export type ModelRow = z.output<typeof models.schema>;

const checkpoints = {
  name: "checkpoints",
  item: "checkpoint",
  schema: z.object({
    id: z.string(),
    job: z.string(),
    step: z.number(),
    model: z.string(),
    metrics: z.custom<{ readonly [Type in Measurement["type"]]?: Measurement }>(),
    created_at: z.date(),
  }),
};
/** A checkpoint whose model can be used. */
export type CheckpointRow = z.output<typeof checkpoints.schema>;

/** A time in seconds since 1970, or seconds from now. */
export type Expiry = { readonly at: number } | { readonly after: number };

/** An adapter that was not trained here. */
export interface ImportedModel extends Pick<ModelRow, "name" | "tenant" | "files"> {
  readonly bytes: number;
  /** Arrival that has kept the contents so far. */
  readonly arrival: string;
}

async function addImported(
  on: Queryable,
  { name, tenant, files, bytes, arrival }: ImportedModel,
): Promise<ModelRow> {
  if (!(await keepsContents(on, arrival, Object.values(files))))
    throw new MosError("storage", "the upload took too long; send the adapter again");
  const insert = "insert into models (name, tenant, files, bytes) values ($1, $2, $3, $4) returning *";
  const [model] = await queryRows(on, models, insert, [name, tenant, files, bytes]);
  await on.query("update arrivals set bytes = 0 where id = $1", [arrival]);
  return model as ModelRow;
}

/** Published models of a database whose tables are there. */
export type ModelStore = ReturnType<typeof openModels>;

export function openModels(database: Database) {
  const select = (condition: string, values: readonly unknown[] = []): Promise<readonly ModelRow[]> =>
    queryRows(database, models, `select * from live_models where ${condition}`, values);
  return {
    /** @throws MosError `bad_option` for a model that an alias stands for. */
    remove: (owner: Owner, name: string): Promise<void> =>
      database.transaction((transaction) => removeModel(transaction, owner, name)),
    /**
     * Publishes an adapter that was not trained here. Its bytes count as those of files, as they did while they arrived.
     *
     * @throws MosError `storage` where its arrival is over.
     */
    add: (model: ImportedModel): Promise<ModelRow> =>
      database.transaction((transaction) => addImported(transaction, model)),
    /** The models that have to be in the folder of adapters, by name. */
    published: async (): Promise<ReadonlyMap<string, Files>> =>
      new Map((await select("true")).map(({ name, files }) => [name, files])),
    find: async (owner: Owner, name: string): Promise<ModelRow> => {
      const [model] = await select(`${isOwned} and name = $3`, [...ownerValues(owner), name]);
      if (model === undefined) throw missing("model", name);
      return model;
    },
    /** The files of a model of any tenant. */
    files: async (name: string): Promise<Files | undefined> => (await select("name = $1", [name]))[0]?.files,
    /** Sets when a model expires; null for never. */
    setExpiry: async (owner: Owner, name: string, expiry: Expiry | null): Promise<ModelRow> => {
      const [model] = await queryRows(
        database,
        models,
        `update models set expires_at = coalesce(to_timestamp($4::float8), now() + make_interval(secs => $5::float8))
         where ${isOwned} and name = (select name from live_models where name = $3) returning *`,
        [
          ...[...ownerValues(owner), name],
          ...[expiry !== null && "at" in expiry ? expiry.at : null],
          ...[expiry !== null && "after" in expiry ? expiry.after : null],
        ],
      );
      if (model === undefined) throw missing("model", name);
      return model;
    },
    list: (owner: Owner): Promise<readonly ModelRow[]> => select(isOwned, ownerValues(owner)),
    /** Seconds until each model expires that will, by the database's clock; less than 0 for those that have. */
    secondsLeft: async (): Promise<ReadonlyMap<string, number>> => {
      const rows = await database.query(
        `select name, extract(epoch from expires_at - now())::float8 as seconds from models
         where expires_at is not null and not exists (select from aliases where model = name)`,
      );
      return new Map(rows.map((row) => [String(row["name"]), Number(row["seconds"])]));
    },
    removeExpired: (): Promise<void> =>
      database.transaction(async (transaction) => {
        const rows = await transaction.query(
          `select name from models where expires_at <= now() and not exists (select from aliases where model = name)
           for update skip locked`,
        );
        await removeUnlessHeld(
          transaction,
          rows.map(({ name }) => name),
        );
      }),
    checkpoints: (job: Pick<JobRow, "id">, page: ListOptions) =>
      selectPage(database, checkpoints, { where: "job = $1", values: [job.id], ...page }),
  };
}

async function removeModel(on: Queryable, owner: Owner, name: string): Promise<void> {
  // locked before aliases are looked at: none can be pointed to it meanwhile
  const found = await on.query(`select name from models where ${isOwned} and name = $3 for update`, [
    ...ownerValues(owner),
    name,
  ]);
  if (found.length === 0) throw missing("model", name);
  const [alias] = await on.query("select id from aliases where model = $1 limit 1", [name]);
  if (alias !== undefined)
    throw new MosError(
      "bad_option",
      `the alias ${alias["id"]} points to this model; switch or delete it first`,
    );
  await on.query("delete from models where name = $1", [name]);
}

/** Removes locked models but those that an alias stands for: none can be pointed to them meanwhile. */
async function removeUnlessHeld(on: Queryable, names: readonly unknown[]): Promise<void> {
  await on.query(
    "delete from models where name = any($1) and not exists (select from aliases where model = name)",
    [names],
  );
}

/** An adapter in the middle of a run that can be used. */
export interface NewCheckpoint {
  readonly step: number;
  readonly files: Files;
  readonly metrics: CheckpointRow["metrics"];
}

/** Checkpoints of a job whose models can be used, in their order: the newest ones, or those with the highest mean reward. */
const KEPT = {
  newest: { count: 10, order: "step desc" },
  best: {
    count: 3,
    order: "(metrics->'evaluation'->'metrics'->>'eval_reward')::float8 desc nulls last, step desc",
  },
};

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
  await removeOtherCheckpoints(on, job);
}

/** The checkpoints of a run that was given up are no longer the job's; models that an alias stands for stay. */
export async function forgetCheckpoints(on: Queryable, { id }: JobRow): Promise<void> {
  const rows = await on.query("delete from checkpoints where job = $1 returning model", [id]);
  const names = rows.map(({ model }) => model);
  await on.query("select name from models where name = any($1) for update", [names]);
  await removeUnlessHeld(on, names);
}

/** Removes all but the kept checkpoints, with their models; those that an alias stands for stay. */
async function removeOtherCheckpoints(on: Queryable, job: JobRow): Promise<void> {
  const { count, order } = isGraded(job) ? KEPT.best : KEPT.newest;
  const rows = await on.query(
    `select id, model from checkpoints where job = $1 order by ${order} offset $2`,
    [job.id, count],
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
