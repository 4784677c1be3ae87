// A worker: takes slices one after the other, those of the base that its trainer has loaded first. The run of a slice is fetched
// from the storage, trained for a while, and put back; everything that a client will see is in the storage before a row names it.
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { MosError } from "mixture-of-shards";
import { completeTracking } from "mixture-of-shards/kit";
import type { ServerLog } from "mixture-of-shards/server";
import { ADAPTER_FILES, RUN_FILES } from "mixture-of-shards-core/adapters";
import { makeFolder, pathExists } from "mixture-of-shards-core/files";
import { readMeasurements } from "mixture-of-shards-core/training";
import type { Files, ObjectStore } from "#objects";
import { type Arrival, type JobRequest, type JobRow, type Progress, type SliceEnd, trackingOf } from "#store";
import { excessLines } from "./check-lines.ts";
import { formatResults } from "./job-report.ts";
import { createTrainer, type Trainer, type TrainRequest } from "./trainer.ts";
import {
  type LeasedContext,
  readable,
  retryTransient,
  type SliceContext,
  type SliceTimes,
  watchSlice,
} from "./watch.ts";

/** Options of a worker: it takes the jobs of one base only, and gives a slice back on the `signal`. */
interface WorkerOptions extends Omit<SliceContext, "trainer" | "renewSeconds" | "onWait" | "onStall"> {
  /** Name of the worker in logs and metrics, and of its base in the API. */
  readonly name: string;
  readonly modelName: string;
  readonly leaseSeconds: number;
  /** Timeout of a trainer without progress; then it is killed. */
  readonly stallSeconds: number;
  readonly log: ServerLog;
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
 * Works until the signal is aborted. Temporary failures are logged and retried.
 *
 * @throws MosError `unsupported` where tables or jobs are those of a newer version: that one has to do the work.
 */
export async function runWorker(options: WorkerOptions): Promise<void> {
  const { slices, signal, log, leaseSeconds } = options;
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
  let recovered = 0;
  while (!signal.aborted) {
    try {
      if (performance.now() >= recovered) {
        recovered = performance.now() + leaseSeconds * 250;
        const count = await slices.recover();
        if (count > 0) log.warn({ slices: count }, "requeued slices of workers without heartbeat");
      }
      const job = await slices.claim(options.modelName, options.name);
      if (job === undefined) await sleep(IDLE * 1000, undefined, { signal }).catch(() => undefined);
      else await work(job, context, options);
    } catch (error) {
      if (error instanceof MosError && error.code === "unsupported") throw error;
      log.error({ reason: String(error) }, "worker error; retrying");
      await sleep(BROKEN * 1000, undefined, { signal }).catch(() => undefined);
    }
  }
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

/** Report on a slice, for operators. */
interface SliceReport {
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

/** Trains a slice that was claimed. */
async function runSlice(job: JobRow, context: SliceContext): Promise<SliceReport> {
  const times: SliceTimes = {};
  const folder = join(context.scratch, `${job.id}-${job.slice}-${job.lease}`);
  const lease = holdLease(job, context);
  const arrival = context.slices.arrive(job);
  const isOver = (): boolean => lease.isLost() || context.signal.aborted;
  const wait = { isOver, onWait: context.onWait };
  const deadline = startDeadline(context);
  try {
    const held = { ...context, folder, arrival, isLost: lease.isLost, wait, times };
    const trained = trainSlice(job, held).catch(
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

async function trainSlice(job: JobRow, context: LeasedContext): Promise<SliceEnd | "lost"> {
  const { folder, objects, model, threads, times, arrival } = context;
  const started = performance.now();
  const out = join(folder, "run");
  const fetched = await timed(times, "fetchSeconds", () =>
    retryTransient(() => fetchRun(job, { folder, out, objects }), context.wait),
  );
  const endpoint = await retryTransient(() => endpointFor(job, context), context.wait);
  const cacheFolder = join(context.scratch, "answers");
  const order: TrainRequest = {
    ...{ ...fetched, model, threads, saveSeconds: SAVE_SECONDS, cacheFolder },
    models: endpoint,
    track: trackerFor(job, context),
  };
  const excess = order.resume ? undefined : await excessLines(job, order);
  if (excess !== undefined) return excess;
  if (context.signal.aborted) return { type: "interrupted", message: "the worker stopped" };
  const keeper = runKeeper(job, out, { ...context, started });
  const watching = { ...context, keep: keeper.keep };
  const watched = await timed(times, "trainSeconds", () => watchSlice(job, order, watching));
  if (watched === "lost" || "type" in watched) return watched;
  const { steps, unfinishedTokens } = watched;
  const progress = { ...(await keeper.progress(steps, unfinishedTokens)), seconds: keeper.seconds() };
  const kept = async (): Promise<SliceEnd> => {
    if (!watched.isComplete)
      return { type: "stopped", run: await runFiles(out, objects, arrival), ...progress };
    const adapter = await objects.putFolder(out, (path) => !ADAPTER_FILES.includes(path), arrival);
    const results = await objects.put(formatResults(out), arrival);
    return { type: "succeeded", adapter, results, ...progress };
  };
  return timed(times, "storeSeconds", () => retryTransient(kept, context.wait));
}

/** Beside the run: the adapter that it starts from. */
const INITIAL = "initial";

/** The run of a job as its last slice left it, with its data. */
async function fetchRun(
  job: JobRow,
  { folder, out, objects }: { readonly folder: string; readonly out: string; readonly objects: ObjectStore },
): Promise<Omit<TrainRequest, "model" | "threads" | "saveSeconds" | "cacheFolder" | "models" | "track">> {
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
    resume: run !== null && Object.hasOwn(run, RUN_FILES.record),
    maxTokens: job.max_tokens ?? undefined,
    ...(job.plan as unknown as Pick<TrainRequest, "adapter" | "settings">),
    ...(initial === null ? {} : { adapter: { from: join(folder, INITIAL) } }),
  };
}

/** Where the graders of a slice ask models, if they do. A worker without a server has no such jobs. */
async function endpointFor(
  job: JobRow,
  { serverUrl, slices }: Pick<SliceContext, "serverUrl" | "slices">,
): Promise<TrainRequest["models"]> {
  const key = job.asks_models && serverUrl !== undefined ? await slices.issueKey(job) : undefined;
  return key === undefined || serverUrl === undefined ? undefined : { url: serverUrl, key };
}

/** The tracker of a job, where this worker may use it. */
function trackerFor({ id, request }: JobRow, { trackers = [] }: LeasedContext): TrainRequest["track"] {
  const asked = trackingOf(request as unknown as JobRequest);
  if (asked === undefined || !trackers.includes(asked.to)) return undefined;
  return { id, name: id, ...asked, ...completeTracking(asked, process.env) };
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

/** Seconds after which a trainer makes a checkpoint. */
const SAVE_SECONDS = 30;
/** Seconds between those that are stored at least: with the ones above, there is one each minute. */
const KEEP_SECONDS = 25;

/** What a slice that trains has come to, and its run in the storage, from which another worker goes on. */
function runKeeper(job: JobRow, out: string, context: LeasedContext & { readonly started: number }) {
  const { slices, objects, wait, keepSeconds = KEEP_SECONDS } = context;
  let since = context.started;
  const read = followProgress(out);
  const seconds = (): number => (performance.now() - since) / 1000;
  const progress = async (
    steps: number = job.steps ?? 0,
    unfinishedTokens = 0,
  ): Promise<Omit<Progress, "seconds">> => {
    const { step, tokens } = await read();
    // a slice that was stopped before it trained says nothing of the step that an earlier one began
    return { step, steps, trainedTokens: Math.max(tokens + unfinishedTokens, job.trained_tokens ?? 0) };
  };
  const keep = async (steps: number | undefined): Promise<void> => {
    if (seconds() < keepSeconds) return;
    // of its own: what the next one replaces is not kept until the slice ends
    const arrival = slices.arrive(job);
    try {
      const run = await runFiles(out, objects, arrival);
      const now = performance.now();
      await slices.keep(job, { run, ...(await progress(steps)), seconds: seconds() }, arrival.id);
      since = now;
    } finally {
      await arrival.end();
    }
  };
  return {
    seconds,
    progress,
    // the slice goes on without it, and at its end the storage is waited for
    keep: (steps: number | undefined) => keep(steps).catch(wait.onWait),
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

/** Follows the progress of a run by its metrics, each of which is read once. */
function followProgress(run: string) {
  let [step, tokens, position] = [0, 0, 0];
  return async (): Promise<{ readonly step: number; readonly tokens: number }> => {
    for await (const { measurement, end } of readMeasurements(run, position)) {
      position = end;
      if (measurement.type === "evaluation") continue;
      ({ step } = measurement);
      tokens += measurement.tokens;
    }
    return { step, tokens };
  };
}
