// A job is a chain of slices. A worker claims the slice that is due and holds a lease on it; every change that it makes names
// the slice and the lease, so that a worker which was believed dead changes nothing any more. Time is the database's.
import { MosError } from "mixture-of-shards";
import { assertKnownTables, type Database, type Queryable, randomId, storable } from "#database";
import type { Files, StoredObject } from "#objects";
import { type Arrival, keepsContents, openContents } from "./contents.ts";
import { openJobKeys } from "./job-keys.ts";
import { addEvents, type JobRow, type NewEvent, queryJobs } from "./jobs.ts";
import {
  forgetCheckpoints,
  jobModelName,
  type NewCheckpoint,
  publishCheckpoint,
  publishModel,
} from "./models.ts";
import { lockNext, mayRun, queueSlice, releaseForgotten, releaseNext } from "./queue.ts";
import { assertKnownPlan } from "./request.ts";
import { addTrained } from "./usage.ts";
import { announceEnd } from "./webhooks.ts";

/** Progress of a job. */
export interface Progress {
  readonly step: number;
  readonly steps: number;
  /** Trained tokens of the whole job so far. */
  readonly trainedTokens: number;
  /** Seconds of this slice, since its run was kept last. */
  readonly seconds: number;
}

/** A run at a checkpoint: its folder as it is now. */
export interface KeptRun extends Progress {
  readonly run: Files;
}

/** Failure caused by the job: a retry would not help. */
interface Failure {
  readonly code: string;
  readonly message: string;
  readonly param?: string;
}

/** End of a slice. */
export type SliceEnd =
  | ({ readonly type: "stopped" } & KeptRun)
  | ({ readonly type: "succeeded"; readonly adapter: Files; readonly results: StoredObject } & Progress)
  | ({ readonly type: "failed" } & Failure)
  /** A run of another version of the worker cannot be continued: it restarts from its first step. */
  | { readonly type: "restarted"; readonly message: string }
  /** Interruption of the worker: the slice is due again. */
  | { readonly type: "interrupted"; readonly message: string };

/** Duration of leases, and number of attempts of a slice. */
interface SliceOptions {
  /** Seconds without a sign of life after which a worker counts as dead. */
  readonly leaseSeconds?: number;
  /** Interruptions in a row after which a job fails. */
  readonly maxFailures?: number;
  /** A server whose models graders ask. Without it, jobs with such graders are left to other workers. */
  readonly serverUrl?: string | undefined;
}

/** Operations of workers on jobs, in a database whose tables are there. */
export type Slices = ReturnType<typeof openSlices>;

export function openSlices(
  database: Database,
  { leaseSeconds = 60, maxFailures = 50, serverUrl }: SliceOptions = {},
) {
  const hasServer = serverUrl !== undefined;
  /** Works on a job, as it is now, whose lease is held; undefined where it is not. */
  const held = <T>(
    { id, slice, lease }: JobRow,
    work: (on: Queryable, job: JobRow) => Promise<T>,
  ): Promise<T | undefined> =>
    database.transaction(async (transaction) => {
      const [job] = await queryJobs(
        transaction,
        "select * from jobs where id = $1 and slice = $2 and lease = $3 and status = 'running' for update",
        [id, slice, lease],
      );
      return job === undefined ? undefined : work(transaction, job);
    });
  return {
    /** Keeps contents that a slice puts into the storage until rows name them. */
    arrive: ({ tenant }: JobRow): Arrival => openContents(database).arrive(tenant),
    /**
     * The next job of a model whose slice is due, for this worker from now on; undefined where there is none.
     *
     * @throws MosError `unsupported` for tables or a job of a newer version, which are left as they were.
     */
    claim: (model: string, worker: string): Promise<JobRow | undefined> =>
      claimNext(database, { model, worker, leaseSeconds, hasServer }),
    /** Renews a lease: "lost" if the slice is no longer the worker's. */
    renew: async ({ id, slice, lease }: JobRow): Promise<"held" | "pause" | "lost"> => {
      const [row] = await database.query(
        `update jobs set lease_until = now() + make_interval(secs => $4::float8)
         where id = $1 and slice = $2 and lease = $3 and status = 'running' returning wanted`,
        [id, slice, lease, leaseSeconds],
      );
      if (row === undefined) return "lost";
      return row["wanted"] === "pause" ? "pause" : "held";
    },
    issueKey: openJobKeys(database).issue,
    /** Keeps what the run of a job is, now that its data are read. */
    begin: async (job: JobRow, { steps, chosen }: Pick<JobRow, "steps" | "chosen">): Promise<void> => {
      await held(job, (on) =>
        on.query("update jobs set steps = $2, chosen = $3 where id = $1", [job.id, steps, chosen]),
      );
    },
    /** Adds events to a job, once for each name. Nothing where the lease is lost. */
    note: async (job: JobRow, events: readonly NewEvent[]): Promise<void> => {
      if (events.length === 0) return;
      const named = events.map((event) => ({ ...event, name: `${job.restarts}-${event.name}` }));
      await held(job, (on) => addEvents(on, job.id, named));
    },
    /** @throws MosError `storage` where the arrival of its files is over. */
    publishCheckpoint: async (job: JobRow, checkpoint: NewCheckpoint, arrival?: string): Promise<void> => {
      await held(job, async (on) => {
        await assertStored(on, checkpoint, arrival);
        await publishCheckpoint(on, job, checkpoint);
      });
    },
    /** Keeps the run of a slice that goes on: what is trained until then is not lost with its worker. */
    keep: async (job: JobRow, kept: KeptRun, arrival: string): Promise<void> => {
      await held(job, async (on, now) => {
        if (!(await keepsContents(on, arrival, Object.values(kept.run)))) return;
        await keepRun(on, now, kept);
      });
    },
    /** False where the lease was lost, and nothing was changed. Where the arrival is over, the slice was interrupted. */
    end: async (job: JobRow, given: SliceEnd, arrival?: string): Promise<boolean> =>
      (await held(job, async (on, now) => {
        const end = await storedEnd(on, given, arrival);
        await endSlice(on, { maxFailures, job: now }, end);
        if (end.type === "succeeded") await addTrained(on, now, end);
        return true;
      })) ?? false,
    /**
     * Makes slices due again whose workers fell silent, or of all workers where none of them can be alive. Gives their number.
     */
    recover: ({ isAlone = false } = {}): Promise<number> => recoverJobs(database, { isAlone, maxFailures }),
  };
}

interface RecoverOptions extends Omit<EndOptions, "job"> {
  readonly isAlone: boolean;
}

async function recoverJobs(database: Database, options: RecoverOptions): Promise<number> {
  const silent = await database.query(
    "select id from jobs where status = 'running' and (lease_until < now() or $1)",
    [options.isAlone],
  );
  const recovered = await Promise.allSettled(
    silent.map(({ id }) => recoverJob(database, { id: String(id), ...options })),
  );
  await releaseForgotten(database);
  const failed = recovered.find((result) => result.status === "rejected");
  if (failed !== undefined) throw failed.reason;
  return recovered.filter((result) => result.status === "fulfilled" && result.value).length;
}

/** Makes the slice of a silent worker due again. One by one: what is wrong with a job keeps no other one from going on. */
function recoverJob(
  database: Database,
  { id, isAlone, ...options }: RecoverOptions & { readonly id: string },
): Promise<boolean> {
  return database.transaction(async (transaction) => {
    const [job] = await queryJobs(
      transaction,
      `select * from jobs where id = $1 and status = 'running' and (lease_until < now() or $2)
       for update skip locked`,
      [id, isAlone],
    );
    if (job === undefined) return false;
    await transaction.query("update jobs set lease = lease + 1 where id = $1", [id]);
    const end = { type: "interrupted", message: "worker heartbeat lost" } as const;
    await endSlice(transaction, { ...options, job }, end);
    return true;
  });
}

/** Nobody heard of the worker for long, and others may have removed what it had stored. */
const FORGOTTEN = "the result expired while the database was unavailable";

async function storedEnd(on: Queryable, end: SliceEnd, arrival?: string): Promise<SliceEnd> {
  const isKept = arrival === undefined || (await keepsContents(on, arrival, listContents(end)));
  return isKept ? end : { type: "interrupted", message: FORGOTTEN };
}

async function assertStored(on: Queryable, { files }: NewCheckpoint, arrival?: string): Promise<void> {
  if (arrival !== undefined && !(await keepsContents(on, arrival, Object.values(files))))
    throw new MosError("storage", FORGOTTEN);
}

/** The contents in the storage that the rows of an end name. */
function listContents(end: SliceEnd): readonly string[] {
  if (end.type === "stopped") return Object.values(end.run);
  return end.type === "succeeded" ? [...Object.values(end.adapter), end.results.digest] : [];
}

interface Claim {
  readonly model: string;
  readonly worker: string;
  readonly leaseSeconds: number;
  readonly hasServer: boolean;
}

/** Passes over what is held; in transactions of their own, so that no worker waits for another with a tenant locked. */
async function claimNext(database: Database, claim: Claim): Promise<JobRow | undefined> {
  for (;;) {
    const claimed = await database.transaction((on) => claimSlice(on, claim));
    if (claimed !== "held") return claimed;
  }
}

async function claimSlice(
  on: Queryable,
  { worker, leaseSeconds, ...wanted }: Claim,
): Promise<JobRow | "held" | undefined> {
  const due = await lockNext(on, wanted);
  if (due === undefined) return undefined;
  await assertKnownTables(on);
  if (!(await mayRun(on, due))) return "held";
  const [claimed] = await queryJobs(
    on,
    `update jobs set status = 'running', worker = $2, lease = lease + 1, key_hash = null,
       lease_until = now() + make_interval(secs => $3::float8) where id = $1 returning *`,
    [due.id, worker, leaseSeconds],
  );
  if (claimed !== undefined) assertKnownPlan(claimed.plan, claimed.id);
  return claimed;
}

interface EndOptions {
  readonly maxFailures: number;
  readonly job: JobRow;
}

async function endSlice(on: Queryable, { maxFailures, job }: EndOptions, end: SliceEnd): Promise<void> {
  const isPaused = job.wanted === "pause";
  await releaseNext(on, job);
  switch (end.type) {
    case "stopped": {
      await keepRun(on, job, end);
      await on.query(
        "update jobs set status = $2, slice = slice + 1, worker = null, wanted = null where id = $1",
        [job.id, isPaused ? "paused" : "queued"],
      );
      if (isPaused)
        await addEvents(on, job.id, [
          { name: `paused-${job.slice}`, message: `The job was paused at step ${end.step}` },
        ]);
      else await queueSlice(on, job);
      return;
    }
    case "succeeded": {
      const name = jobModelName(job);
      await publishModel(on, job, { name, files: end.adapter, lifetime: "expires_after" });
      const resultId = randomId("file-");
      await on.query(
        `insert into files (id, tenant, purpose, filename, bytes, digest, status)
         values ($1, $2, 'fine-tune-results', $3, $4, $5, 'processed')`,
        [resultId, job.tenant, "step_metrics.csv", end.results.bytes, end.results.digest],
      );
      await on.query(
        `update jobs set status = 'succeeded', slice = slice + 1, run = null, step = $2, steps = $3,
           trained_tokens = $4, seconds = seconds + $5, worker = null, wanted = null, fine_tuned_model = $6,
           result_file = $7, finished_at = now() where id = $1`,
        [job.id, end.step, end.steps, end.trainedTokens, end.seconds, name, resultId],
      );
      await addEvents(on, job.id, [
        { name: "model", message: `New fine-tuned model created: ${name}` },
        { name: "ended", message: "The job has successfully completed" },
      ]);
      return announceEnd(on, job, "succeeded");
    }
    case "restarted":
      return restartJob(on, job, end.message);
    case "failed":
      return failJob(on, job, end);
    case "interrupted": {
      const failures = job.failures + 1;
      if (failures > maxFailures) {
        const message = `the worker failed ${failures} times in a row: ${end.message}`;
        return failJob(on, job, { code: "server_error", message });
      }
      await on.query(
        `update jobs set status = $3, worker = null, wanted = null, failures = $2,
           slice = slice + case when $3 = 'paused' then 1 else 0 end where id = $1`,
        [job.id, failures, isPaused ? "paused" : "queued"],
      );
      // the longer, the more often it failed
      if (!isPaused) await queueSlice(on, job, { delay: Math.min(60, (failures - 1) ** 2) });
    }
  }
}

/** `job` is its row from before. */
async function keepRun(on: Queryable, job: JobRow, { run, ...progress }: KeptRun): Promise<void> {
  const { step, steps, trainedTokens, seconds } = progress;
  await on.query(
    `update jobs set run = $2, step = $3, steps = $4, trained_tokens = $5, seconds = seconds + $6, failures = 0
     where id = $1`,
    [job.id, run, step, steps, trainedTokens, seconds],
  );
  await addTrained(on, job, progress);
}

/** Gives up the run so far. */
async function restartJob(on: Queryable, job: JobRow, reason: string): Promise<void> {
  const isPaused = job.wanted === "pause";
  await on.query(
    `update jobs set status = $2, slice = slice + 1, run = null, step = 0, trained_tokens = 0, worker = null,
       wanted = null, failures = 0, restarts = restarts + 1 where id = $1`,
    [job.id, isPaused ? "paused" : "queued"],
  );
  await forgetCheckpoints(on, job); // they are not on the way to what comes of it
  const message = `The job restarts from its first step: ${reason}`;
  await addEvents(on, job.id, [{ name: `restarted-${job.slice}`, level: "warn", message }]);
  if (!isPaused) await queueSlice(on, job);
}

async function failJob(on: Queryable, job: JobRow, failure: Failure): Promise<void> {
  const { code, message, param = null } = failure;
  await on.query(
    `update jobs set status = 'failed', slice = slice + 1, run = null, worker = null, wanted = null, error = $2,
       finished_at = now() where id = $1`,
    [job.id, { code, message: storable(message), param }],
  );
  await addEvents(on, job.id, [{ name: "ended", level: "error", message: `The job failed: ${message}` }]);
  await announceEnd(on, job, "failed");
}

/** The trainer's error as the client sees it: whose fault it is, and what to do. */
export function toFailedEnd(error: unknown): SliceEnd {
  if (!(error instanceof MosError)) return { type: "interrupted", message: String(error) };
  const { code, message } = error;
  switch (code) {
    case "bad_data":
      return { type: "failed", code: "invalid_training_file", param: "training_file", message };
    case "bad_adapter":
      return { type: "failed", code: "invalid_model", param: "model", message };
    case "bad_option":
    case "bad_config":
    case "unsupported":
      return { type: "failed", code: "invalid_hyperparameters", param: "hyperparameters", message };
    case "memory":
      return { type: "failed", code: "insufficient_memory", message };
    case "no_signal":
      return { type: "failed", code, message };
    case "diverged":
      return { type: "failed", code: "training_diverged", param: "hyperparameters", message };
    default:
      return { type: "interrupted", message };
  }
}
