// Supervision of a slice while it trains: its events become notes for the owner, checkpoints become models, and its turn, the
// limits of its key and a stop of the worker end it at a checkpoint.
import { setTimeout as sleep } from "node:timers/promises";
import { type ErrorCode, type FinetuneEvent, MosError } from "mixture-of-shards";
import { ADAPTER_FILES } from "mixture-of-shards-core/adapters";
import { errorText } from "mixture-of-shards-core/common";
import { pickChosen } from "mixture-of-shards-core/training";
import type { ObjectStore } from "#objects";
import { type Arrival, type JobRow, type NewEvent, type SliceEnd, type Slices, toFailedEnd } from "#store";
import { isAfterStep, metricsAt, toJobEvent } from "./job-report.ts";
import { type Trainer, TrainerStalled, type TrainReport, type TrainRequest } from "./trainer.ts";

/** Context of running slices. */
export interface SliceContext {
  readonly slices: Slices;
  readonly objects: ObjectStore;
  readonly trainer: Trainer;
  /** Base URL of a server whose models graders ask. */
  readonly serverUrl?: string | undefined;
  /** The folder or file of the base. */
  readonly model: string;
  /** A folder of this machine for runs in the making. */
  readonly scratch: string;
  /** Duration of a slice's training. */
  readonly sliceSeconds: number;
  /** Least interval between checkpoints that are stored within a slice (25). */
  readonly keepSeconds?: number;
  /** Interval of lease renewals. */
  readonly renewSeconds: number;
  readonly threads: number;
  /** Trackers that jobs may write to (none). */
  readonly trackers?: readonly string[] | undefined;
  /** Ends the slice at a checkpoint. */
  readonly signal: AbortSignal;
  /** Timeout of stopping; then the slice is given back unchanged. */
  readonly stopSeconds: number;
  /** The database or the storage is away, and is waited for. */
  readonly onWait: (error: unknown) => void;
  /** The trainer was killed because it made no progress. */
  readonly onStall: (job: JobRow, message: string) => void;
}

/** Fetching the run, training with the start of the trainer, and storing what came of it. */
export type SliceTimes = { -readonly [Part in "fetchSeconds" | "trainSeconds" | "storeSeconds"]?: number };

/** A slice whose lease is held. */
export interface LeasedContext extends SliceContext {
  /** Its folder on this machine. */
  readonly folder: string;
  readonly times: SliceTimes;
  /** Keeps what the slice stores. */
  readonly arrival: Arrival;
  readonly isLost: () => boolean;
  readonly wait: RetryOptions;
}

/** What a slice does with its checkpoints. */
interface WatchContext extends LeasedContext {
  /** Puts the run as it is now into the storage, if that was not done just before. */
  readonly keep: (steps: number | undefined) => Promise<void>;
}

/** Seconds between attempts, and of all attempts. */
const [AGAIN, MAX_PAUSE] = [1, 600];

/** Options of a retry. */
interface RetryOptions {
  /** Tests whether to stop waiting. */
  readonly isOver: () => boolean;
  readonly onWait: (error: unknown) => void;
}

/** A database that cannot be reached, or a storage folder that is full or gone, may be back in a while. */
const isTransient = (error: unknown): boolean =>
  error instanceof MosError && ["network", "storage"].includes(error.code);

/** Tries again what failed for a reason that may pass; for ten minutes. */
export async function retryTransient<T>(
  work: () => Promise<T>,
  { isOver, onWait }: RetryOptions,
): Promise<T> {
  const until = performance.now() + MAX_PAUSE * 1000;
  for (let attempt = 0; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (!isTransient(error) || isOver() || performance.now() > until) throw error;
      if (attempt === 0) onWait(error);
      await sleep(AGAIN * 1000);
    }
  }
}

/** A run that the trainer has left, complete or at a checkpoint. */
interface LeftRun {
  readonly isComplete: boolean;
  readonly steps: number | undefined;
  /** Tokens of a step that is not complete. */
  readonly unfinishedTokens: number;
}

/** Trains, renews the lease meanwhile, notes what happens, and ends the slice when its time has come. */
export async function watchSlice(
  job: JobRow,
  order: TrainRequest,
  context: WatchContext,
): Promise<LeftRun | SliceEnd | "lost"> {
  const { slices, trainer, signal, isLost } = context;
  const stop = (): void => trainer.stop();
  signal.addEventListener("abort", stop, { once: true });
  const notes = batchedNotes(job, slices);
  try {
    const watched = await watchTrainer(job, order, { ...context, add: notes.add });
    // before the slice ends: the next one does not say it again
    await retryTransient(notes.flush, context.wait);
    return isLost() ? "lost" : watched;
  } catch (error) {
    if (isLost()) return "lost";
    trainer.kill();
    if (error instanceof TrainerStalled) context.onStall(job, error.message);
    return { type: "interrupted", message: errorText(error) };
  } finally {
    signal.removeEventListener("abort", stop);
    notes.end();
  }
}

/** The context of events that are noted. */
interface Noting extends WatchContext {
  readonly add: (note: NewEvent) => void;
}

/** The message of an error, without the paths of this machine. */
export const readable = (error: unknown, folder: string): string =>
  errorText(error).replaceAll(`${folder}/`, "").replaceAll(folder, "");

/**
 * What a trainer's last report says. That a run which was valid when it began cannot be resumed here is not the owner's fault: its
 * worker had another version, another base or more memory.
 */
function toEnd(
  report: Exclude<TrainReport, { readonly type: "event" }>,
  { folder, resume, steps, last }: RunEnd,
): LeftRun | SliceEnd {
  const unfinishedTokens = last?.type === "stopped" ? (last.tokens ?? 0) : 0;
  if (report.type === "ended") return { isComplete: report.isComplete, steps, unfinishedTokens };
  const { code } = report;
  const message = readable(report.message, folder);
  const end = toFailedEnd(code === "unexpected" ? message : new MosError(code as ErrorCode, message));
  if (!resume || steps !== undefined || end.type !== "failed") return end;
  return { type: code === "memory" ? "interrupted" : "restarted", message };
}

interface RunEnd extends Pick<LeasedContext, "folder">, Pick<TrainRequest, "resume">, Pick<LeftRun, "steps"> {
  readonly last: FinetuneEvent | undefined;
}

async function watchTrainer(job: JobRow, order: TrainRequest, context: Noting): Promise<LeftRun | SliceEnd> {
  const { trainer, add, wait, keep } = context;
  const turn = startTurn(context, () => trainer.stop());
  const limits = watchLimits(job, () => trainer.stop());
  let last: FinetuneEvent | undefined;
  let steps: number | undefined;
  let trained: Extract<FinetuneEvent, { readonly type: "step" }> | undefined;
  for await (const report of trainer.train(order)) {
    if (report.type !== "event")
      return limits.exceeded() ?? toEnd(report, { ...context, resume: order.resume, steps, last });
    const { event } = report;
    last = event;
    if (event.type === "ready") {
      ({ steps } = event);
      await beginRun(job, event, context);
    }
    turn(event);
    limits.check(event);
    const note = toJobEvent(event, { steps, trained });
    if (event.type === "step") trained = event;
    if (note !== undefined) add(note);
    if (event.type !== "saved" || event.what !== "checkpoint") continue;
    const { out } = order;
    await retryTransient(() => publishCheckpoint(job, event, { ...context, out, steps }), wait);
    await keep(steps);
  }
  return { type: "interrupted", message: `the trainer stopped at ${last?.type ?? "its start"}` };
}

/** Keeps what a run is, and says so where it goes on after an interruption. */
async function beginRun(
  job: JobRow,
  event: FinetuneEvent & { readonly type: "ready" },
  { slices, add, wait }: Noting,
): Promise<void> {
  const { step, steps } = event;
  await retryTransient(() => slices.begin(job, { steps, chosen: pickChosen(event) }), wait);
  if (job.failures === 0) return;
  const from = step === 0 ? "its first step" : `the checkpoint at step ${step}`;
  const message = `The job was interrupted, and goes on from ${from}`;
  add({ name: `interrupted-${job.slice}-${job.lease}`, level: "warn", message });
}

/** Ends a job that takes more than its key allows, as soon as its trainer says how much it takes. */
function watchLimits({ max_steps, max_tokens }: JobRow, stop: () => void) {
  let exceeded: SliceEnd | undefined;
  const check = (what: "step" | "token", count: number, most: number | null): void => {
    if (most === null || count <= most) return;
    const message = `the job takes ${count} ${what}s, more than the limit of this key, ${most}`;
    exceeded = { type: "failed", code: `${what}_limit_exceeded`, param: "hyperparameters", message };
    stop();
  };
  return {
    exceeded: () => exceeded,
    check: (event: FinetuneEvent): void => {
      if (event.type === "ready") check("step", event.steps, max_steps);
      // the trainer counts them before each step
      if (event.type === "limited") check("token", event.tokens, max_tokens);
    },
  };
}
/** Checkpoints that a job publishes at most: each is written to the storage, however soon it goes again. */
const MAX_CHECKPOINTS = 1000;

/** Tests for a checkpoint that `save_every` asks for, or the last one, also of a run that ends early. */
export function isAskedFor(
  { plan }: Pick<JobRow, "plan">,
  { step, isLast = false }: Pick<FinetuneEvent & { readonly type: "saved" }, "step" | "isLast">,
  steps = step,
): boolean {
  const asked = Number(plan.settings["saveEvery"] ?? 100);
  const every = asked * Math.ceil(steps / (asked * MAX_CHECKPOINTS));
  // before the first step it would be the adapter that the job starts from
  return step > 0 && (isLast || (every > 0 && step % every === 0));
}

/** Events that say that a batch was computed. */
const ADVANCES: readonly FinetuneEvent["type"][] = ["step", "progress", "evaluation", "evaluating"];

/**
 * Ends a turn after some seconds, in the middle of a step or an evaluation too, but not before a batch was computed: a slice
 * without progress would be repeated for ever.
 */
function startTurn(
  { sliceSeconds, signal }: Pick<SliceContext, "sliceSeconds" | "signal">,
  stop: () => void,
): (event: FinetuneEvent) => void {
  let until = Number.POSITIVE_INFINITY;
  return (event) => {
    if (event.type === "ready") until = performance.now() + sliceSeconds * 1000;
    if (ADVANCES.includes(event.type) && (signal.aborted || performance.now() >= until)) stop();
  };
}

/** Makes the adapter of a checkpoint a model that can be used; one that the time asked for is no business of the owner's. */
async function publishCheckpoint(
  job: JobRow,
  event: FinetuneEvent & { readonly type: "saved" },
  context: Noting & Pick<LeftRun, "steps"> & Pick<TrainRequest, "out">,
): Promise<void> {
  const { slices, objects, arrival, add, out, steps } = context;
  const { step, path } = event;
  // within a step it has the adapter of the one before, which is published already
  if (!isAfterStep(event) || !isAskedFor(job, event, steps)) return;
  const files = await objects.putFolder(path, (name) => !ADAPTER_FILES.includes(name), arrival);
  const metrics = await metricsAt(out, step);
  await slices.publishCheckpoint(job, { step, files, metrics }, arrival.id);
  add({ name: `checkpoint-${step}`, message: `Checkpoint created at step ${step}` });
}

/** Notes go to the database together, about once a second. */
function batchedNotes(job: JobRow, slices: Slices) {
  let waiting: NewEvent[] = [];
  let timer: NodeJS.Timeout | undefined;
  let sending: Promise<void> = Promise.resolve();
  const flush = (): Promise<void> => {
    clearTimeout(timer);
    timer = undefined;
    sending = sending
      .catch(() => undefined)
      .then(async () => {
        const batch = waiting;
        waiting = [];
        try {
          await slices.note(job, batch);
        } catch (error) {
          waiting = [...batch, ...waiting];
          throw error;
        }
      });
    return sending;
  };
  return {
    flush,
    end: () => clearTimeout(timer),
    add: (note: NewEvent): void => {
      waiting.push(note);
      timer ??= setTimeout(() => void flush().catch(() => undefined), 1000);
    },
  };
}
