// A worker: takes slices one after the other, those of the base that its trainer has loaded first.
import { setTimeout as sleep } from "node:timers/promises";
import { MosError } from "mixture-of-shards";
import type { ObjectStore } from "#objects";
import type { JobRow, Queue, SliceMessage, Slices } from "#store";
import { runSlice, type SliceReport } from "./slice.ts";
import { createTrainer, type Trainer } from "./trainer.ts";
import type { SliceContext } from "./watch.ts";

/** Says what happens, for operators. */
export interface WorkerLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** Options of a worker. */
export interface WorkerOptions {
  /** Shown where it is asked who has a job. */
  readonly name: string;
  readonly slices: Slices;
  readonly queue: Queue;
  readonly objects: ObjectStore;
  /** Paths of bases by the names of models: only their jobs are taken. */
  readonly models: ReadonlyMap<string, string>;
  readonly scratch: string;
  readonly sliceSeconds: number;
  readonly leaseSeconds: number;
  /** Timeout of a slice when the worker stops; then its trainer is killed. */
  readonly stopSeconds: number;
  /** Timeout of a trainer without progress; then it is killed. */
  readonly stallSeconds: number;
  readonly threads: number;
  readonly log: WorkerLog;
  /** Ends the worker at the next checkpoint. */
  readonly signal: AbortSignal;
  /** A slice has ended; for metrics. */
  readonly onSlice?: (slice: { readonly model: string; readonly seconds: number } & SliceReport) => void;
  /** A trainer was killed because it made no progress; for metrics. */
  readonly onStall?: (stall: { readonly model: string }) => void;
  /** In place of the trainer that is a process of its own. */
  readonly trainer?: Trainer;
}

/** Seconds between looks at an empty queue. */
const IDLE = 0.5;
/** Seconds after which a database or a storage that failed is tried again. */
const BROKEN = 2;

/**
 * Works until the signal is aborted. What fails for a while is said and tried again.
 *
 * @throws MosError `unsupported` where tables or jobs are those of a newer version: that one has to do the work.
 */
export async function runWorker(options: WorkerOptions): Promise<void> {
  const { queue, slices, signal, log, leaseSeconds } = options;
  await using trainer = options.trainer ?? createTrainer(options);
  const context: SliceContext = {
    ...options,
    trainer,
    renewSeconds: Math.min(5, leaseSeconds / 4),
    onWait: (error) => log.warn({ reason: String(error) }, "waiting for the database or the storage"),
    onStall: ({ id, tenant, model, slice, lease }, reason) => {
      const fields = { job: id, tenant, model, slice, lease, worker: options.name, reason };
      log.warn(fields, "killed a trainer that made no progress");
      options.onStall?.({ model });
    },
  };
  const bases = basesInTurn(options.models);
  let recovered = 0;
  while (!signal.aborted) {
    try {
      if (performance.now() >= recovered) {
        recovered = performance.now() + leaseSeconds * 250;
        const count = await slices.recover();
        if (count > 0) log.warn({ slices: count }, "requeued slices of workers without heartbeat");
      }
      const job = await nextJob();
      if (job === undefined) await sleep(IDLE * 1000, undefined, { signal }).catch(() => undefined);
      else await work(job, context, options);
    } catch (error) {
      if (error instanceof MosError && error.code === "unsupported") throw error;
      log.error({ reason: String(error) }, "worker error; retrying");
      await sleep(BROKEN * 1000, undefined, { signal }).catch(() => undefined);
    }
  }

  async function nextJob(): Promise<JobRow | undefined> {
    for (const wanted of bases.order(trainer.model)) {
      const message = await queue.take(wanted);
      if (message === undefined) continue;
      const due: SliceMessage = { job: message.job, slice: message.slice };
      const job = await slices.claim(due, options.name).catch(async (error: unknown) => {
        await message.giveBack().catch(() => undefined); // it comes back after a while
        throw error;
      });
      await message.acknowledge();
      if (job === undefined) return nextJob();
      bases.took(wanted);
      return job;
    }
    return undefined;
  }
}

/** Slices in a row of the base that is loaded; then those of other bases come first. */
const SLICES_OF_A_BASE = 5;

/**
 * In which order a worker looks for slices: first for those of the base that is loaded, but not for ever, then for those of the
 * base that it has not had for longest.
 */
function basesInTurn(models: ReadonlyMap<string, string>) {
  let longestAgo = [...models.keys()];
  let inRow = 0;
  return {
    order: (loaded: string | undefined): readonly string[] => {
      const first = longestAgo.filter((name) => models.get(name) === loaded);
      const others = longestAgo.filter((name) => models.get(name) !== loaded);
      return inRow < SLICES_OF_A_BASE ? [...first, ...others] : [...others, ...first];
    },
    took: (name: string): void => {
      inRow = models.get(name) === models.get(longestAgo.at(-1) ?? "") ? inRow + 1 : 1;
      longestAgo = [...longestAgo.filter((other) => other !== name), name];
    },
  };
}

async function work(job: JobRow, context: SliceContext, options: WorkerOptions): Promise<void> {
  const { log, name, onSlice } = options;
  const started = performance.now();
  const report = await runSlice(job, context);
  const seconds = Math.round(performance.now() - started) / 1000;
  const { id, tenant, model, slice, lease, step: fromStep } = job;
  const { times, ...how } = report;
  log.info(
    { job: id, tenant, model, slice, lease, worker: name, fromStep, ...how, seconds, ...times },
    "slice",
  );
  onSlice?.({ ...report, model, seconds });
}
