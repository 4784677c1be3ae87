// Jobs as their owners see and change them. What workers do with them is in slices.ts.
import { createHash } from "node:crypto";
import { MosError } from "mixture-of-shards";
import { canonicalJson } from "mixture-of-shards/cli";
import { type Database, type Queryable, storable } from "#database";
import type { Files } from "#objects";
import { type AliasStore, openAliases } from "./aliases.ts";
import { type ContentStore, openContents } from "./contents.ts";
import { type ExpiryStore, openExpiry } from "./expiry.ts";
import { type FileStore, openFiles } from "./files.ts";
import { randomId } from "./ids.ts";
import type { FineTuningLimits } from "./key-limits.ts";
import { assertAllowed, assertWithinLimits, lockTenant, placeInQueue, releaseNext } from "./limits.ts";
import { type ModelStore, openModels } from "./models.ts";
import type { Queue } from "./queue.ts";
import type { JobRequest, TrainingPlan } from "./request.ts";
import {
  type CheckpointRow,
  type EventRow,
  type FileRow,
  hasEnded,
  isOwned,
  type JobRow,
  type ListOptions,
  missing,
  type Owner,
  ownerValues,
  type Page,
  parseRows,
  selectPage,
} from "./rows.ts";
import { openUsage, type UsageStore } from "./usage.ts";
import { announceEnd, openWebhooks, type WebhookStore } from "./webhooks.ts";

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

/** Files, jobs and models of the service. Whatever is not the owner's is not found. */
export interface Jobs
  extends FileStore,
    ModelStore,
    ContentStore,
    AliasStore,
    ExpiryStore,
    UsageStore,
    WebhookStore,
    JobChanges {
  /** @throws MosError `bad_option` for what the limits do not allow, `busy` for too many jobs. */
  create(job: NewJob): Promise<JobRow>;
  /**
   * The job that was made of the same request before, whatever has become of its files and models.
   *
   * @throws MosError `bad_option` for another request with this key.
   */
  repeated(sent: SentRequest): Promise<JobRow | undefined>;
  job(owner: Owner, id: string): Promise<JobRow>;
  jobs(owner: Owner, options: JobListOptions): Promise<Page<JobRow>>;
  /** The newest first. */
  events(job: JobRow, options: ListOptions): Promise<Page<EventRow>>;
  /** Those after a number, the oldest first. */
  eventsSince(job: JobRow, number: number): Promise<readonly EventRow[]>;
  checkpoints(job: JobRow, options: ListOptions): Promise<Page<CheckpointRow>>;
}

/** Operations of owners on jobs. */
interface JobChanges {
  /** A running job ends at its next checkpoint. @throws MosError `bad_option` for a job that is over. */
  pause(owner: Owner, id: string): Promise<JobRow>;
  /** @throws MosError `bad_option` for a job that is not paused. */
  resume(owner: Owner, id: string): Promise<JobRow>;
  /** @throws MosError `bad_option` for a job that is over. */
  cancel(owner: Owner, id: string): Promise<JobRow>;
}

/** Opens what the routes need of a database whose tables are there. */
export function openJobs(database: Database, queue: Queue): Jobs {
  return {
    ...openFiles(database),
    ...openModels(database),
    ...openContents(database),
    ...openUsage(database),
    ...openAliases(database),
    ...openExpiry(database),
    ...openWebhooks(database),
    ...openChanges(database, queue),
    create: (job) => createJob(database, queue, job),
    repeated: (sent) => repeatedJob(database, sent),
    job: (owner, id) => findJob(database, owner, id),
    jobs: (owner, { metadata, ...page }) =>
      selectPage(database, "jobs", {
        where: `${isOwned} and ${metadata === "none" ? "metadata is null and $3::jsonb is null" : "($3::jsonb is null or metadata @> $3::jsonb)"}`,
        values: [...ownerValues(owner), metadata === "none" ? null : (metadata ?? null)],
        ...page,
      }),
    events: (job, page) => selectPage(database, "events", { where: "job = $1", values: [job.id], ...page }),
    eventsSince: async (job, number) =>
      parseRows(
        "events",
        await database.query(
          "select * from events where job = $1 and number > $2 order by number limit 1000",
          [job.id, number],
        ),
      ),
    checkpoints: (job, page) =>
      selectPage(database, "checkpoints", { where: "job = $1", values: [job.id], ...page }),
  };
}

async function findJob(on: Queryable, owner: Owner, id: string): Promise<JobRow> {
  const rows = await on.query(`select * from jobs where ${isOwned} and id = $3`, [...ownerValues(owner), id]);
  const [job] = parseRows("jobs", rows);
  if (job === undefined) throw missing("fine-tuning job", id);
  return job;
}

function openChanges(database: Database, queue: Queue): JobChanges {
  /** Changes a job, and says so in its events. */
  const changed = (
    owner: Owner,
    id: string,
    change: (on: Queryable, job: JobRow) => Promise<string | undefined>,
  ): Promise<JobRow> =>
    database.transaction(async (transaction) => {
      await transaction.query("select id from jobs where id = $1 for update", [id]);
      const job = await findJob(transaction, owner, id);
      const message = await change(transaction, job);
      if (message !== undefined)
        await addEvent(transaction, { job: id, name: randomId("change-"), level: "info", message });
      return findJob(transaction, owner, id);
    });
  return {
    pause: (owner, id) =>
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
    resume: (owner, id) =>
      changed(owner, id, async (on, job) => {
        assertUnfinished(job, "resumed");
        if (job.wanted === "pause") {
          await on.query("update jobs set wanted = null where id = $1", [id]);
          return "The job continues";
        }
        if (job.status !== "paused")
          throw new MosError("bad_option", `the job ${id} is ${job.status}; only paused jobs can be resumed`);
        await on.query("update jobs set status = 'queued' where id = $1", [id]);
        await sendSlice(on, queue, job);
        return "The job was resumed";
      }),
    cancel: (owner, id) =>
      changed(owner, id, async (on, job) => {
        assertUnfinished(job, "cancelled");
        if (job.status === "running") await releaseNext(on, queue, job);
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

/** Something to be said of a job, once for each name. */
export interface NewEvent {
  readonly job: string;
  readonly name: string;
  readonly level?: EventRow["level"];
  readonly message: string;
  readonly data?: Readonly<Record<string, unknown>>;
}

export async function addEvent(
  database: Queryable,
  { job, name, level = "info", message, data }: NewEvent,
): Promise<void> {
  await database.query(
    `insert into events (id, job, name, level, type, message, data) values ($1, $2, $3, $4, $5, $6, $7)
     on conflict (job, name) do nothing`,
    [
      randomId("ftevent-"),
      ...[job, name, level, data === undefined ? "message" : "metrics", storable(message), data ?? null],
    ],
  );
}

/** A job whose slice is due, after some seconds. */
export interface DueJob extends Pick<JobRow, "id" | "tenant" | "model" | "priority"> {
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

async function createJob(database: Database, queue: Queue, job: NewJob): Promise<JobRow> {
  const { tenant, request, limits = {}, idempotencyKey, sent = request } = job;
  assertAllowed(request, limits);
  await queue.prepare(baseModelName(job));
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
    await assertWithinLimits(transaction, made, limits);
    const message = `Created fine-tuning job: ${made.id}`;
    await addEvent(transaction, { job: made.id, name: "created", level: "info", message });
    await sendSlice(transaction, queue, made);
    return made;
  });
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

/** Undefined where there is a job with the same Idempotency-Key. */
async function insertJob(on: Queryable, job: NewJob): Promise<JobRow | undefined> {
  const { tenant, request, plan, training, validation, initial, limits = {} } = job;
  const { idempotencyKey = null, sent = request } = job;
  const rows = await on.query(
    `insert into jobs (id, tenant, model, status, request, plan, training_file, training_digest, validation_file,
       validation_digest, metadata, initial, priority, idempotency_key, request_digest, max_running_jobs, max_steps,
       max_tokens)
     values ($1, $2, $3, 'queued', $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
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
    ],
  );
  return parseRows("jobs", rows)[0];
}

/** A request with the key by which it is known. */
interface SentRequest {
  readonly tenant: string;
  readonly request: JobRequest;
  readonly idempotencyKey: string;
}

const digestRequest = (request: JobRequest): string =>
  createHash("sha256").update(canonicalJson(request)).digest("hex");

async function repeatedJob(
  on: Queryable,
  { tenant, request, idempotencyKey }: SentRequest,
): Promise<JobRow | undefined> {
  const rows = await on.query("select * from jobs where tenant = $1 and idempotency_key = $2", [
    tenant,
    idempotencyKey,
  ]);
  const [job] = parseRows("jobs", rows);
  if (job !== undefined && rows[0]?.["request_digest"] !== digestRequest(request))
    throw new MosError("bad_option", "this Idempotency-Key was used for another request; use a new one");
  return job;
}
