// Jobs as their owners see and change them. What workers do with them is in slices.ts.
import { createHash } from "node:crypto";
import { MosError } from "mixture-of-shards";
import { canonicalJson } from "mixture-of-shards-core/common";
import { askedModels, parseGrader } from "mixture-of-shards-core/graders";
import type { Measurement } from "mixture-of-shards-core/training";
import { z } from "zod";
import {
  type Database,
  findRow,
  isOwned,
  type ListOptions,
  lockTenant,
  missing,
  type Owner,
  ownerValues,
  type Page,
  type Queryable,
  queryRows,
  randomId,
  removeOldest,
  selectPage,
  storable,
} from "#database";
import type { Files } from "#objects";
import type { FileRow } from "./files.ts";
import type { FineTuningLimits } from "./key-limits.ts";
import { queueSlice, releaseNext } from "./queue.ts";
import { assertAllowed, type JobRequest, type TrainingPlan } from "./request.ts";
import { announceEnd } from "./webhooks.ts";

const files = z.record(z.string(), z.string());

const jobs = {
  name: "jobs",
  item: "fine-tuning job",
  schema: z.object({
    id: z.string(),
    tenant: z.string(),
    model: z.string(),
    status: z.enum(["queued", "running", "paused", "succeeded", "failed", "cancelled"]),
    request: z.record(z.string(), z.unknown()),
    // of a newer version, with more in it
    plan: z.looseObject({
      adapter: z.record(z.string(), z.unknown()),
      settings: z.record(z.string(), z.unknown()),
    }),
    initial: files.nullable(),
    training_file: z.string(),
    training_digest: z.string(),
    validation_file: z.string().nullable(),
    validation_digest: z.string().nullable(),
    metadata: z.record(z.string(), z.string()).nullable(),
    priority: z.number(),
    max_running_jobs: z.number().nullable(),
    max_steps: z.number().nullable(),
    max_tokens: z.number().nullable(),
    asks_models: z.boolean(),
    request_digest: z.string().nullable(),
    slice: z.number(),
    lease: z.number(),
    failures: z.number(),
    restarts: z.number(),
    wanted: z.enum(["pause"]).nullable(),
    run: files.nullable(),
    step: z.number(),
    steps: z.number().nullable(),
    chosen: z.record(z.string(), z.number()).nullable(),
    trained_tokens: z.number().nullable(),
    seconds: z.number(),
    error: z.object({ code: z.string(), message: z.string(), param: z.string().nullable() }).nullable(),
    fine_tuned_model: z.string().nullable(),
    result_file: z.string().nullable(),
    created_at: z.date(),
    finished_at: z.date().nullable(),
  }),
};
/** A job as it stands. */
export type JobRow = z.output<typeof jobs.schema>;

/** The jobs that a statement returns. */
export const queryJobs = (
  on: Queryable,
  text: string,
  values: readonly unknown[],
): Promise<readonly JobRow[]> => queryRows(on, jobs, text, values);

const ENDED: ReadonlySet<string> = new Set(["succeeded", "failed", "cancelled"]);
/** True if a job has ended and will not change. */
export const hasEnded = ({ status }: Pick<JobRow, "status">): boolean => ENDED.has(status);

/** A step or an evaluation; of an evaluation also the step before it, where the same process made that. */
export type JobMeasurement = Measurement & { readonly trained?: Measurement };

const events = {
  name: "events",
  item: "event",
  schema: z.object({
    id: z.string(),
    level: z.enum(["info", "warn", "error"]),
    type: z.enum(["message", "metrics"]),
    message: z.string(),
    data: z.custom<JobMeasurement>().nullable(),
    created_at: z.date(),
    number: z.number(),
  }),
};
/** An event of a job. */
export type EventRow = z.output<typeof events.schema>;

/** Measurements that are read at once. */
export const MEASUREMENTS = 5000;

const measurements = {
  name: "events",
  item: "event",
  schema: z.object({ data: z.unknown(), number: z.number() }),
};

/** A job that is to be made. */
export interface NewJob {
  readonly tenant: string;
  readonly request: JobRequest;
  readonly plan: TrainingPlan;
  readonly training: FileRow;
  readonly validation: FileRow | undefined;
  /** Base and adapter of the request's model, if that is a fine-tuned one. */
  readonly initial?: { readonly base: string; readonly adapter: Files } | undefined;
  readonly limits?: FineTuningLimits | undefined;
  /** The same request with the same key is the same job. */
  readonly idempotencyKey?: string | undefined;
  /** The request as it was sent, where an alias was replaced in it. */
  readonly sent?: JobRequest;
}

/** Filter of listed jobs. */
export interface JobListOptions extends ListOptions {
  /** "none": jobs without metadata. */
  readonly metadata?: Readonly<Record<string, string>> | "none" | undefined;
}

/** Jobs of a database whose tables are there. Whatever is not the owner's is not found. */
export type JobStore = ReturnType<typeof openJobs>;

export function openJobs(database: Database) {
  const find = (owner: Owner, id: string): Promise<JobRow> => findRow(database, jobs, { owner, id });
  return {
    /** @throws MosError `bad_option` for what the limits do not allow, `busy` for too many jobs. */
    create: (job: NewJob): Promise<JobRow> => createJob(database, job),
    /**
     * The job that was made of the same request before, whatever has become of its files and models.
     *
     * @throws MosError `bad_option` for another request with this key.
     */
    repeated: (sent: SentRequest): Promise<JobRow | undefined> => repeatedJob(database, sent),
    find,
    list: (owner: Owner, { metadata, ...page }: JobListOptions): Promise<Page<JobRow>> =>
      selectPage(database, jobs, {
        where: `${isOwned} and ${metadata === "none" ? "metadata is null and $3::jsonb is null" : "($3::jsonb is null or metadata @> $3::jsonb)"}`,
        values: [...ownerValues(owner), metadata === "none" ? null : (metadata ?? null)],
        ...page,
      }),
    /** Events of a job; the newest first. */
    events: (job: JobRow, page: ListOptions): Promise<Page<EventRow>> =>
      selectPage(database, events, { where: "job = $1", values: [job.id], ...page }),
    /** Events after a number; the oldest first. */
    eventsSince: (job: JobRow, number: number): Promise<readonly EventRow[]> =>
      queryRows(
        database,
        events,
        "select * from events where job = $1 and number > $2 order by number limit 1000",
        [job.id, number],
      ),
    /** At most `MEASUREMENTS` after a number; the oldest first. */
    measurements: (job: string, number: number) =>
      queryRows(
        database,
        measurements,
        `select data, number from events where job = $1 and number > $2 and type = 'metrics' order by number limit ${MEASUREMENTS}`,
        [job, number],
      ),
    /** What a job has taught and lost, as its events say it; null where that was not measured. */
    outcome: async ({
      id,
    }: JobRow): Promise<{ readonly text: string; readonly warning: string | null } | null> => {
      const rows = await database.query(
        "select name, message from events where job = $1 and name in ('outcome', 'warning-forgotten')",
        [id],
      );
      const said = new Map(rows.map(({ name, message }) => [name, String(message)]));
      const text = said.get("outcome");
      return text === undefined ? null : { text, warning: said.get("warning-forgotten") ?? null };
    },
    newest: (owner: Owner, page: NewestOptions): Promise<readonly JobRow[]> =>
      newestJobs(database, owner, page),
    ...openChanges(database),
  };
}

/** A place in the order of runs, and how many of them. */
export interface NewestOptions {
  /** The job before the first; undefined for the newest. */
  readonly after: { readonly id: string; readonly createdAt: number } | undefined;
  readonly limit: number;
}

/** The newest jobs behind a place, in an order that other lists have, too: by milliseconds and then by id, bytewise. */
function newestJobs(
  on: Queryable,
  owner: Owner,
  { after, limit }: NewestOptions,
): Promise<readonly JobRow[]> {
  const place = `floor(extract(epoch from created_at) * 1000), id collate "C"`;
  return queryJobs(
    on,
    `select * from jobs where ${isOwned} and ($3::bigint is null or (${place}) < ($3, $4::text))
     order by floor(extract(epoch from created_at) * 1000) desc, id collate "C" desc limit $5`,
    [...ownerValues(owner), after?.createdAt ?? null, after?.id ?? null, limit],
  );
}

/** Operations of owners on jobs, each of which adds an event. */
function openChanges(database: Database) {
  const changed = (
    owner: Owner,
    id: string,
    change: (on: Queryable, job: JobRow) => Promise<string | undefined>,
  ): Promise<JobRow> =>
    database.transaction(async (transaction) => {
      await transaction.query("select id from jobs where id = $1 for update", [id]);
      const job = await findRow(transaction, jobs, { owner, id });
      const message = await change(transaction, job);
      if (message !== undefined) await addEvents(transaction, id, [{ name: randomId("change-"), message }]);
      return findRow(transaction, jobs, { owner, id });
    });
  return {
    /** A running job ends at its next checkpoint. @throws MosError `bad_option` for a job that is over. */
    pause: (owner: Owner, id: string): Promise<JobRow> =>
      changed(owner, id, async (on, job) => {
        assertUnfinished(job, "paused");
        if (job.status === "paused" || job.wanted === "pause") return undefined;
        await on.query(
          job.status === "running"
            ? "update jobs set wanted = 'pause' where id = $1"
            : "update jobs set status = 'paused', slice = slice + 1 where id = $1",
          [id],
        );
        return job.status === "running" ? "The job will pause at its next checkpoint" : "The job was paused";
      }),
    /** @throws MosError `bad_option` for a job that is not paused. */
    resume: (owner: Owner, id: string): Promise<JobRow> =>
      changed(owner, id, async (on, job) => {
        assertUnfinished(job, "resumed");
        if (job.wanted === "pause") {
          await on.query("update jobs set wanted = null where id = $1", [id]);
          return "The job continues";
        }
        if (job.status !== "paused")
          throw new MosError("bad_option", `the job ${id} is ${job.status}; only paused jobs can be resumed`);
        await on.query("update jobs set status = 'queued' where id = $1", [id]);
        await queueSlice(on, job);
        return "The job was resumed";
      }),
    /** @throws MosError `bad_option` for a job that is over. */
    cancel: (owner: Owner, id: string): Promise<JobRow> =>
      changed(owner, id, async (on, job) => {
        assertUnfinished(job, "cancelled");
        if (job.status === "running") await releaseNext(on, job);
        // the lease of a running slice is void now: its worker cannot publish any more
        await on.query(
          `update jobs set status = 'cancelled', wanted = null, lease = lease + 1, worker = null,
             finished_at = now(), run = null where id = $1`,
          [id],
        );
        await announceEnd(on, job, "cancelled");
        return "The job was cancelled";
      }),
  };
}

function assertUnfinished(job: JobRow, what: string): void {
  if (hasEnded(job))
    throw new MosError("bad_option", `the job ${job.id} is ${job.status} and can no longer be ${what}`);
}

/** An event of a job, recorded once for each name. */
export interface NewEvent {
  readonly name: string;
  readonly level?: EventRow["level"];
  /** Measurements get theirs when they are shown. */
  readonly message?: string;
  readonly data?: JobMeasurement;
}

/** Bytes of a job with its events, and of all jobs of a tenant. */
const [MAX_JOB_BYTES, MAX_BYTES] = [16_000_000, 256_000_000];
/** Bytes of a job besides what was asked for, with its entries in indexes. */
const JOB_BYTES = 4096;
/** Bytes of an event. */
const EVENT_BYTES = "200 + octet_length(message) + coalesce(octet_length(data::text), 0)";

/** Adds events to a job, whose row this transaction has locked. Of one with too many, only every other one stays. */
export async function addEvents(on: Queryable, job: string, added: readonly NewEvent[]): Promise<void> {
  const rows = added.map(({ level = "info", message = "", ...event }) => ({
    ...{ id: randomId("ftevent-"), level, message: storable(message) },
    ...event,
  }));
  const [changed] = await on.query(
    `with added as (
       insert into events (id, job, name, level, type, message, data)
       select id, $1, name, level, case when data is null then 'message' else 'metrics' end, message, data
         from jsonb_to_recordset($2::text::jsonb) as given (id text, name text, level text, message text, data jsonb)
       on conflict (job, name) do nothing returning ${EVENT_BYTES} as bytes)
     update jobs set bytes = bytes + (select coalesce(sum(bytes), 0) from added) where id = $1 returning bytes`,
    [job, JSON.stringify(rows)],
  );
  if (Number(changed?.["bytes"]) <= MAX_JOB_BYTES) return;
  await on.query(
    `with counted as (
       select id, row_number() over (order by number desc) as place from events
        where job = $1 and level = 'info' and name is distinct from 'outcome'),
     gone as (
       delete from events where id in (select id from counted where place % 2 = 0) returning ${EVENT_BYTES} as bytes)
     update jobs set bytes = bytes - (select coalesce(sum(bytes), 0) from gone) where id = $1`,
    [job],
  );
}

async function createJob(database: Database, job: NewJob): Promise<JobRow> {
  const { tenant, request, limits = {}, idempotencyKey, sent = request } = job;
  assertAllowed(request, limits);
  return database.transaction(async (transaction) => {
    if (limits.max_active_jobs !== undefined) await lockTenant(transaction, tenant);
    await retainContents(transaction, job);
    const made = await insertJob(transaction, job);
    if (made === undefined) {
      const key = { tenant, request: sent, idempotencyKey: idempotencyKey ?? "" };
      const repeated = await repeatedJob(transaction, key);
      if (repeated === undefined) throw missing("fine-tuning job", key.idempotencyKey); // gone in this moment
      return repeated;
    }
    await assertWithinLimits(transaction, tenant, limits);
    const message = `Created fine-tuning job: ${made.id}`;
    await addEvents(transaction, made.id, [{ name: "created", message }]);
    await queueSlice(transaction, made);
    return made;
  });
}

/**
 * Checks a job whose row was made under the tenant's lock. The oldest jobs that have ended give way to it.
 *
 * @throws MosError `busy` where the tenant has too many jobs now.
 */
async function assertWithinLimits(
  on: Queryable,
  tenant: string,
  { max_active_jobs: most = Number.POSITIVE_INFINITY }: FineTuningLimits,
): Promise<void> {
  const unfinished = "status in ('queued', 'running', 'paused')";
  await removeOldest(on, jobs, { tenant, bytes: MAX_BYTES, keep: unfinished });
  const [row] = await on.query(
    `select count(*) filter (where ${unfinished})::integer as jobs, sum(bytes)::bigint as bytes from jobs
     where tenant = $1`,
    [tenant],
  );
  if (Number(row?.["jobs"]) > most)
    throw new MosError(
      "busy",
      `this key may have ${most} unfinished jobs; wait for one to finish, or cancel one`,
    );
  if (Number(row?.["bytes"]) > MAX_BYTES)
    throw new MosError(
      "busy",
      `the records of this key's unfinished jobs may take ${MAX_BYTES} bytes; wait for one to finish, or cancel one`,
    );
}

/** Until the job's row is there, nobody deletes what it names. @throws MosError `not_found`. */
async function retainContents(on: Queryable, { training, validation, initial }: NewJob): Promise<void> {
  for (const { id } of validation === undefined ? [training] : [training, validation]) {
    const rows = await on.query("select id from files where id = $1 for share", [id]);
    if (rows.length === 0) throw missing("file", id);
  }
  if (initial === undefined) return;
  const models = await on.query("select name from models where files = $1 for share", [initial.adapter]);
  if (models.length === 0) throw new MosError("not_found", "the base model of the job was deleted");
}

const baseModelName = ({ initial, request }: NewJob): string => initial?.base ?? request.model;

/** True where graders of a run ask models. */
const asksModels = ({ settings }: TrainingPlan): boolean =>
  (["grader", "evaluateBy"] as const).some(
    (name) => settings[name] !== undefined && askedModels(parseGrader(settings[name], name)).length > 0,
  );

/** Undefined where there is a job with the same Idempotency-Key. */
async function insertJob(on: Queryable, job: NewJob): Promise<JobRow | undefined> {
  const { tenant, request, plan, training, validation, initial, limits = {} } = job;
  const { idempotencyKey = null, sent = request } = job;
  const rows = await queryJobs(
    on,
    `insert into jobs (id, tenant, model, status, request, plan, training_file, training_digest, validation_file,
       validation_digest, metadata, initial, priority, idempotency_key, request_digest, max_running_jobs, max_steps,
       max_tokens, bytes, asks_models)
     values ($1, $2, $3, 'queued', $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
     on conflict (tenant, idempotency_key) do nothing returning *`,
    [
      ...[randomId("ftjob-"), tenant, baseModelName(job), request, plan, training.id, training.digest],
      ...[validation?.id, validation?.digest, request.metadata, initial?.adapter].map(
        (value) => value ?? null,
      ),
      ...[request.mos?.priority ?? limits.priority ?? 0, idempotencyKey, digestRequest(sent)],
      ...[limits.max_running_jobs, limits.max_steps_per_job, limits.max_tokens_per_job].map(
        (limit) => limit ?? null,
      ),
      ...[JOB_BYTES + Buffer.byteLength(JSON.stringify([request, plan])), asksModels(plan)],
    ],
  );
  return rows[0];
}

/** A request with the key by which it is known. */
type SentRequest = Pick<NewJob, "tenant" | "request"> & { readonly idempotencyKey: string };

const digestRequest = (request: JobRequest): string =>
  createHash("sha256").update(canonicalJson(request)).digest("hex");

async function repeatedJob(
  on: Queryable,
  { tenant, request, idempotencyKey }: SentRequest,
): Promise<JobRow | undefined> {
  const text = "select * from jobs where tenant = $1 and idempotency_key = $2";
  const [job] = await queryJobs(on, text, [tenant, idempotencyKey]);
  if (job !== undefined && job.request_digest !== digestRequest(request))
    throw new MosError("bad_option", "this Idempotency-Key was used for another request; use a new one");
  return job;
}
