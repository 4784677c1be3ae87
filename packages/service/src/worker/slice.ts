// One slice of a job: its run is fetched from the storage, trained for a while, and put back; what happens is noted as it
// comes. Everything that a client will see is in the storage before a row names it.

import { rm } from "node:fs/promises";
import { join } from "node:path";
import { type ErrorCode, type FinetuneEvent, MosError } from "mixture-of-shards";
import { errorText, makeFolder, pathExists, readJsonLines } from "mixture-of-shards/cli";
import type { Files, ObjectStore } from "#objects";
import {
  type Arrival,
  type JobRow,
  type NewEvent,
  type Progress,
  type SliceEnd,
  type Slices,
  toFailedEnd,
} from "#store";
import { type RetryOptions, retryTransient } from "./retry.ts";
import { formatResults, isAfterStep, metricsAt, toJobEvent } from "./step-metrics.ts";
import { type Trainer, TrainerStalled, type TrainReport, type TrainRequest } from "./trainer.ts";

/** Context of running slices. */
export interface SliceContext {
  readonly slices: Slices;
  readonly objects: ObjectStore;
  readonly trainer: Trainer;
  /** Paths of bases by the names of models. */
  readonly models: ReadonlyMap<string, string>;
  /** A folder of this machine for runs in the making. */
  readonly scratch: string;
  /** Duration of a slice's training. */
  readonly sliceSeconds: number;
  /** Interval of lease renewals. */
  readonly renewSeconds: number;
  readonly threads: number;
  /** Ends the slice at a checkpoint. */
  readonly signal: AbortSignal;
  /** Timeout of stopping; then the slice is given back unchanged. */
  readonly stopSeconds: number;
  /** The database or the storage is away, and is waited for. */
  readonly onWait: (error: unknown) => void;
  /** The trainer was killed because it made no progress. */
  readonly onStall: (job: JobRow, message: string) => void;
}

/** Report on a slice, for operators. */
export interface SliceReport {
  /** "lost" where another worker has it by now. */
  readonly result: SliceEnd["type"] | "lost";
  /** Position of the job, and what the slice has added to it, as far as it was kept. */
  readonly toStep?: number;
  readonly steps?: number;
  readonly trainedTokens?: number;
  /** Reason why it did not get further. */
  readonly reason?: string;
  /** Seconds of each part, of those that it came to. */
  readonly times: SliceTimes;
}

/** Fetching the run, training with the start of the trainer, and storing what came of it. */
type SliceTimes = { -readonly [Part in "fetchSeconds" | "trainSeconds" | "storeSeconds"]?: number };

/** Trains a slice that was claimed. */
export async function runSlice(job: JobRow, context: SliceContext): Promise<SliceReport> {
  const times: SliceTimes = {};
  const folder = join(context.scratch, `${job.id}-${job.slice}-${job.lease}`);
  const lease = holdLease(job, context);
  const arrival = context.slices.arrive(job);
  const isOver = (): boolean => lease.isLost() || context.signal.aborted;
  const wait = { isOver, onWait: context.onWait };
  const deadline = startDeadline(context);
  try {
    const held = { ...context, arrival, isLost: lease.isLost, wait, times };
    const trained = trainSlice(job, folder, held).catch(
      (error: unknown): SliceEnd => ({ type: "interrupted", message: readable(error, folder) }),
    );
    const end = await Promise.race([trained, deadline.passed]);
    if (end === "lost" || lease.isLost()) return { result: "lost", times };
    const isEnded = await retryTransient(() => context.slices.end(job, end, arrival.id), wait);
    return isEnded ? { ...toReport(job, end), times } : { result: "lost", times };
  } finally {
    deadline.end();
    lease.end();
    await arrival.end().catch(() => undefined); // of a database that is away: it is forgotten after a while
    await rm(folder, { recursive: true, force: true });
  }
}

/** Kills the trainer some seconds after the worker was asked to end, and gives up whatever else the slice waits for. */
function startDeadline({ signal, trainer, stopSeconds }: SliceContext) {
  let timer: NodeJS.Timeout | undefined;
  const stopping = new AbortController();
  const passed = new Promise<SliceEnd>((resolve) => {
    const start = (): void => {
      timer = setTimeout(() => {
        trainer.kill();
        const message = `the worker stopped, and the slice did not end within ${stopSeconds} s`;
        resolve({ type: "interrupted", message });
      }, stopSeconds * 1000);
    };
    if (signal.aborted) start();
    else signal.addEventListener("abort", start, { once: true, signal: stopping.signal });
  });
  const end = (): void => {
    stopping.abort();
    clearTimeout(timer);
  };
  return { passed, end };
}

function toReport(job: JobRow, end: SliceEnd): Omit<SliceReport, "times"> {
  if (!("step" in end)) return { result: end.type, reason: end.message };
  const trainedTokens = end.trainedTokens - (job.trained_tokens ?? 0);
  return { result: end.type, toStep: end.step, steps: end.steps, trainedTokens };
}

/** Takes the time of a part, also of one that fails. */
async function timed<T>(times: SliceTimes, part: keyof SliceTimes, work: () => Promise<T>): Promise<T> {
  const started = performance.now();
  try {
    return await work();
  } finally {
    times[part] = Math.round(performance.now() - started) / 1000;
  }
}

/** A slice whose lease is held. */
interface LeasedContext extends SliceContext {
  readonly times: SliceTimes;
  /** Keeps what the slice stores. */
  readonly arrival: Arrival;
  readonly isLost: () => boolean;
  readonly wait: RetryOptions;
}

async function trainSlice(job: JobRow, folder: string, context: LeasedContext): Promise<SliceEnd | "lost"> {
  const { objects, models, threads, times, arrival } = context;
  const model = models.get(job.model);
  if (model === undefined)
    return { type: "interrupted", message: `this worker does not have the model ${job.model}` };
  const started = performance.now();
  const out = join(folder, "run");
  let order: TrainRequest;
  try {
    const fetched = await timed(times, "fetchSeconds", () =>
      retryTransient(() => fetchRun(job, { folder, out, objects }), context.wait),
    );
    order = { ...fetched, model, threads };
  } catch (error) {
    return { type: "interrupted", message: readable(error, folder) };
  }
  if (context.signal.aborted) return { type: "interrupted", message: "the worker stopped" };
  const watched = await timed(times, "trainSeconds", () => watchSlice(job, order, context));
  if (watched.type === "lost") return "lost";
  if (watched.type === "limited") return watched.end;
  if (watched.type === "failed") return failureIn(order, watched, toFailedEnd(toError(watched, folder)));
  if (watched.type === "died") return { type: "interrupted", message: watched.message };
  const { steps = job.steps ?? 0, unfinishedTokens } = watched;
  const computed = await readProgress(out, { steps, unfinishedTokens });
  // a slice that was stopped before it trained says nothing of the step that an earlier one began
  const progress = { ...computed, trainedTokens: Math.max(computed.trainedTokens, job.trained_tokens ?? 0) };
  const seconds = (performance.now() - started) / 1000;
  const kept = async (): Promise<SliceEnd> => {
    if (!watched.isComplete)
      return { type: "stopped", run: await runFiles(out, objects, arrival), ...progress, seconds };
    const adapter = await objects.putFolder(out, (path) => !ADAPTER_FILES.has(path), arrival);
    const results = await objects.put(formatResults(join(out, METRICS)), arrival);
    return { type: "succeeded", adapter, results, ...progress, seconds };
  };
  try {
    return await timed(times, "storeSeconds", () => retryTransient(kept, context.wait));
  } catch (error) {
    return { type: "interrupted", message: readable(error, folder) };
  }
}

const ADAPTER_FILES: ReadonlySet<string> = new Set(["adapter_config.json", "adapter_model.safetensors"]);
const METRICS = "metrics.jsonl";
const RECORD = "run.json";
/** Beside the run: the adapter that it starts from. */
const INITIAL = "initial";

interface RunPlace {
  readonly folder: string;
  readonly out: string;
  readonly objects: ObjectStore;
}

/** The run of a job as its last slice left it, with its data. */
async function fetchRun(
  job: JobRow,
  { folder, out, objects }: RunPlace,
): Promise<Omit<TrainRequest, "model" | "threads">> {
  await rm(folder, { recursive: true, force: true }); // of an attempt before
  await makeFolder(folder);
  const restoreData = async (file: string, digest: string): Promise<string> => {
    const name = `${file}.jsonl`;
    if (await pathExists(join(folder, name))) return join(folder, name); // both files may be one
    await objects.restore({ [name]: digest }, folder, { link: true });
    return join(folder, name);
  };
  const { validation_file: file, validation_digest: digest, run, initial } = job;
  if (initial !== null) await objects.restore(initial, join(folder, INITIAL), { link: true });
  if (run !== null) await objects.restore(run, out);
  return {
    data: await restoreData(job.training_file, job.training_digest),
    validationData: file === null || digest === null ? undefined : await restoreData(file, digest),
    out,
    resume: run !== null && Object.hasOwn(run, RECORD),
    maxTokens: job.max_tokens ?? undefined,
    ...(job.plan as unknown as Pick<TrainRequest, "adapter" | "settings">),
    ...(initial === null ? {} : { adapter: { from: join(folder, INITIAL) } }),
  };
}

/** Everything of a run but what only its process needs. */
async function runFiles(out: string, objects: ObjectStore, arrival: Arrival): Promise<Files> {
  if (!(await pathExists(out))) return {};
  return objects.putFolder(
    out,
    (path) => path === "running.json" || path.split("/").some((part) => part.startsWith(".")),
    arrival,
  );
}

/** How far a run has come, by its metrics and the tokens of a step that is not complete. */
async function readProgress(
  out: string,
  { steps, unfinishedTokens }: { readonly steps: number; readonly unfinishedTokens: number },
): Promise<Omit<Progress, "seconds">> {
  let [step, trainedTokens] = [0, unfinishedTokens];
  const path = join(out, METRICS);
  if (await pathExists(path))
    for await (const { value } of readJsonLines(path)) {
      const line = value as { readonly type?: string; readonly step?: number; readonly tokens?: number };
      if (line.type !== "step") continue;
      step = line.step ?? step;
      trainedTokens += line.tokens ?? 0;
    }
  return { step, steps, trainedTokens };
}

type Watched =
  | {
      readonly type: "ended";
      readonly isComplete: boolean;
      readonly steps: number | undefined;
      /** Of a step that is not complete. */
      readonly unfinishedTokens: number;
    }
  | { readonly type: "failed"; readonly code: string; readonly message: string; readonly hasBegun: boolean }
  /** It takes more than its key allows. */
  | { readonly type: "limited"; readonly end: SliceEnd }
  | { readonly type: "died"; readonly message: string }
  | { readonly type: "lost" };

/** Trains, renews the lease meanwhile, notes what happens, and ends the slice when its time has come. */
async function watchSlice(job: JobRow, order: TrainRequest, context: LeasedContext): Promise<Watched> {
  const { slices, trainer, signal, isLost } = context;
  const stop = (): void => trainer.stop();
  signal.addEventListener("abort", stop, { once: true });
  const notes = batchedNotes(job, slices);
  try {
    const watched = await watchTrainer(job, order, { ...context, add: notes.add });
    // before the slice ends: the next one does not say it again
    await retryTransient(notes.flush, context.wait);
    return isLost() ? { type: "lost" } : watched;
  } catch (error) {
    if (isLost()) return { type: "lost" };
    trainer.kill();
    if (error instanceof TrainerStalled) context.onStall(job, error.message);
    return { type: "died", message: errorText(error) };
  } finally {
    signal.removeEventListener("abort", stop);
    notes.end();
  }
}

type Note = Omit<NewEvent, "job">;

function toEnd(
  report: Exclude<TrainReport, { readonly type: "event" }>,
  { steps, last }: { readonly steps: number | undefined; readonly last: FinetuneEvent | undefined },
): Watched {
  if (report.type === "failed") return { ...report, hasBegun: steps !== undefined };
  const unfinishedTokens = last?.type === "stopped" ? (last.tokens ?? 0) : 0;
  return { ...report, steps, unfinishedTokens };
}

async function watchTrainer(
  job: JobRow,
  order: TrainRequest,
  context: LeasedContext & { readonly add: (note: Note) => void },
): Promise<Watched> {
  const { trainer, add, wait } = context;
  const turn = startTurn(context, () => trainer.stop());
  const limits = watchLimits(job, () => trainer.stop());
  let last: FinetuneEvent | undefined;
  let steps: number | undefined;
  for await (const report of trainer.train(order)) {
    if (report.type !== "event") {
      return limits.exceeded() ?? toEnd(report, { steps, last });
    }
    const { event } = report;
    last = event;
    if (event.type === "ready") ({ steps } = event);
    turn(event);
    limits.check(event);
    const note = toJobEvent(event, steps);
    if (note !== undefined) add(note);
    if (event.type !== "saved" || event.what !== "checkpoint") continue;
    const { out } = order;
    await retryTransient(() => publishCheckpoint(job, event, { ...context, out, steps }), wait);
  }
  return { type: "died", message: `the trainer stopped at ${last?.type ?? "its start"}` };
}

/** Renews the lease on a slice, and kills the trainer where another worker has it by now. */
function holdLease(job: JobRow, { slices, trainer, renewSeconds }: SliceContext) {
  let isLost = false;
  const renew = async (): Promise<void> => {
    // a database that is away for a while ends nothing: the lease says when it is too late
    const renewal = await slices.renew(job).catch(() => "held");
    if (renewal === "pause") trainer.stop();
    if (renewal !== "lost") return;
    isLost = true;
    trainer.kill();
  };
  const timer = setInterval(() => void renew(), renewSeconds * 1000);
  return { isLost: () => isLost, end: () => clearInterval(timer) };
}

/** Ends a job that takes more than its key allows, as soon as its trainer says how much it takes. */
function watchLimits({ max_steps, max_tokens }: JobRow, stop: () => void) {
  let exceeded: Watched | undefined;
  const check = (what: "step" | "token", count: number, most: number | null): void => {
    if (most === null || count <= most) return;
    const message = `the job takes ${count} ${what}s, more than the limit of this key, ${most}`;
    const end = {
      type: "failed",
      code: `${what}_limit_exceeded`,
      param: "hyperparameters",
      message,
    } as const;
    exceeded = { type: "limited", end };
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

/** Whether a checkpoint is one of those that `save_every` asks for, or the last. */
function isAskedFor({ plan }: JobRow, step: number, steps = step): boolean {
  const asked = Number(plan.settings["saveEvery"] ?? 100);
  const every = asked * Math.ceil(steps / (asked * MAX_CHECKPOINTS));
  return step === steps || (every > 0 && step % every === 0);
}

/** Events that say that a batch was computed. */
const ADVANCES: ReadonlySet<FinetuneEvent["type"]> = new Set([
  "step",
  "progress",
  "evaluation",
  "evaluating",
]);

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
    if (ADVANCES.has(event.type) && (signal.aborted || performance.now() >= until)) stop();
  };
}

interface PublishContext extends SliceContext {
  readonly arrival: Arrival;
  /** The folder of the run. */
  readonly out: string;
  readonly steps: number | undefined;
}

/** Makes the adapter of a checkpoint a model that can be used; one at the end of a slice is no business of the owner's. */
async function publishCheckpoint(
  job: JobRow,
  event: FinetuneEvent & { readonly type: "saved" },
  { slices, objects, arrival, out, steps }: PublishContext,
): Promise<void> {
  const { step, path } = event;
  // within a step it has the adapter of the one before, which is published already
  if (!isAfterStep(event) || !isAskedFor(job, step, steps)) return;
  const files = await objects.putFolder(path, (name) => !ADAPTER_FILES.has(name), arrival);
  const metrics = await metricsAt(join(out, METRICS), step);
  await slices.publishCheckpoint(job, { step, files, metrics }, arrival.id);
}

/** Notes go to the database together, about once a second. */
function batchedNotes(job: JobRow, slices: Slices) {
  let waiting: Note[] = [];
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
    add: (note: Note): void => {
      waiting.push(note);
      timer ??= setTimeout(() => void flush().catch(() => undefined), 1000);
    },
  };
}

/** Without the paths of this machine. */
const readable = (error: unknown, folder: string): string =>
  errorText(error).replaceAll(`${folder}/`, "").replaceAll(folder, "");

/**
 * A run that was right when it began, and now cannot be gone on with: its worker had another version or another base than
 * this one, or more memory. That is no fault of its owner's.
 */
function failureIn(
  { resume }: TrainRequest,
  { hasBegun, code, message }: Watched & { readonly type: "failed" },
  failure: SliceEnd,
): SliceEnd {
  if (!resume || hasBegun || failure.type !== "failed") return failure;
  return code === "memory"
    ? { type: "interrupted", message }
    : { type: "restarted", message: failure.message };
}

function toError(report: TrainReport & { readonly type: "failed" }, folder: string): unknown {
  const message = readable(new Error(report.message), folder);
  return report.code === "unexpected" ? message : new MosError(report.code as ErrorCode, message);
}
