// Adapters of cells trained as jobs of a service, by its queue and on its workers. What comes back is what a run on this machine
// leaves, so that the cell goes on here.
import { createWriteStream, openAsBlob } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { ReadableStream } from "node:stream/web";
import { setTimeout as sleep } from "node:timers/promises";
import { type AdapterConfig, MosError } from "mixture-of-shards";
import { ADAPTER_CONFIG, ADAPTER_TENSORS, RUN_FILES } from "mixture-of-shards-core/adapters";
import { errorText, omitUndefined, snakeCase } from "mixture-of-shards-core/common";
import { writeFileAtomic } from "mixture-of-shards-core/files";
import { retryAdvice } from "mixture-of-shards-core/hub";
import { z } from "zod";
import { runPath, type TrialEvent, type TrialSpec, writeFailure, writeRecord } from "./cell.ts";
import { fileDigest } from "./digest.ts";

/** A service, and the key of a tenant. */
export interface ServiceAccess {
  /** Its address, such as `http://127.0.0.1:8080`. */
  readonly url: string;
  readonly key?: string | undefined;
}

interface TrainOptions {
  readonly service: ServiceAccess;
  /** Another attempt is another job. */
  readonly attempt: number;
  readonly signal: AbortSignal;
  readonly emit: (event: Exclude<TrialEvent, { readonly type: "finished" | "stopped" }>) => void;
}

/** A cell that trains. */
export type TrainedSpec = TrialSpec & { readonly adapter: AdapterConfig };

const [ATTEMPTS, MAX_WAIT, POLL_SECONDS] = [6, 60, 2];
/** Jobs of a cell that failed in earlier runs, after which there is another one. */
const MAX_FAILED = 100;
/** The code of a job's error that another attempt would meet again. */
const DIVERGED = "training_diverged";
/** Seconds after which the service removes the model. */
const KEPT_SECONDS = 7 * 86_400;

const listOf = <T>(item: z.ZodType<T>) =>
  z.object({ data: z.array(item), has_more: z.boolean().default(false) });
const modelSchema = z.object({ id: z.string() });
const fileSchema = z.object({ id: z.string(), filename: z.string(), status: z.string() });
const jobSchema = z.object({
  id: z.string(),
  status: z.string(),
  fine_tuned_model: z.string().nullable(),
  error: z.object({ code: z.string(), message: z.string() }).nullable(),
});
const eventSchema = z.object({ id: z.string(), data: z.unknown().optional() });
/** The measurement of a step, in an event. */
const stepSchema = z.object({
  ...{ step: z.int(), total_steps: z.int(), train_loss: z.number(), train_mean_token_accuracy: z.number() },
  ...{ learning_rate: z.number(), gradient_norm: z.number(), tokens: z.number(), seconds: z.number() },
});
const errorSchema = z.object({ error: z.object({ message: z.string() }) });

/** The response, or why there is none and whether another attempt may help. */
async function trySend(
  { service, signal }: TrainOptions,
  path: string,
  init: RequestInit,
): Promise<Response | { reason: string; transient: boolean; isBusy: boolean; waitSeconds?: number }> {
  const { url, key } = service;
  const headers = new Headers(init.headers);
  if (key !== undefined) headers.set("authorization", `Bearer ${key}`);
  try {
    const response = await fetch(`${url.replace(/(?<!\/)\/+$/, "").replace(/(\/v1)?$/, "/v1")}/${path}`, {
      ...{ ...init, headers, signal, redirect: "error" },
    });
    if (response.ok) return response;
    const { data } = errorSchema.safeParse(await response.json().catch(() => undefined));
    const reason = `answered ${response.status}: ${data?.error.message ?? "no reason given"}`;
    return { reason, isBusy: response.status === 429, ...retryAdvice(response, MAX_WAIT) };
  } catch (error) {
    return { reason: `does not answer (${errorText(error)})`, transient: true, isBusy: false };
  }
}

async function request(options: TrainOptions, path: string, init: RequestInit = {}): Promise<Response> {
  const { service, signal } = options;
  for (let attempt = 1; ; attempt++) {
    const found = await trySend(options, path, init);
    if (signal.aborted) throw new MosError("cancelled", "stopped waiting for the service, whose jobs go on");
    if (found instanceof Response) return found;
    // a service that is busy has its queue full: there is room when other jobs have ended
    if (!found.transient || (attempt >= ATTEMPTS && !found.isBusy))
      throw new MosError("network", `${service.url}: the service ${found.reason} (${path})`);
    const backoff = found.isBusy ? Math.min(2 ** attempt, MAX_WAIT) : 0;
    const seconds = Math.max(found.waitSeconds ?? 2 ** attempt, backoff);
    await sleep(seconds * 1000, undefined, { signal }).catch(() => undefined);
  }
}

async function ask<T>(schema: z.ZodType<T>, ...call: Parameters<typeof request>): Promise<T> {
  const { data, error } = schema.safeParse(await (await request(...call)).json());
  if (error === undefined) return data;
  throw new MosError("network", `${call[1]}: this is no answer of a service (${z.prettifyError(error)})`);
}

/** The id of a training file, which is uploaded where the service has none of this content. */
async function upload(path: string, options: TrainOptions): Promise<string> {
  const filename = `${(await fileDigest(path)).slice(-24)}-${basename(path)}`;
  const { data } = await ask(listOf(fileSchema), options, "files?purpose=fine-tune");
  const known = data.find((file) => file.filename === filename && file.status === "processed");
  if (known !== undefined) return known.id;
  const body = new FormData();
  body.set("purpose", "fine-tune");
  body.set("file", await openAsBlob(path), filename);
  return (await ask(fileSchema, options, "files", { method: "POST", body })).id;
}

/** Fields of a job that say what a cell trains. Throws `unsupported` for a setting that jobs do not have. */
function jobFields(
  adapter: AdapterConfig,
  settings: TrialSpec["settings"],
): Readonly<Record<string, unknown>> {
  const { seed: _, validationSplit: __, maxExamples, ...training } = settings;
  if (maxExamples !== undefined)
    throw new MosError("unsupported", "--max-examples cannot be used with --service; shorten --train");
  const { method, targets, seed: ___, ...own } = adapter;
  const fields = omitUndefined({ ...training, ...own, keep: 0, reword: 0, expiresAfter: KEPT_SECONDS });
  return {
    ...Object.fromEntries(Object.entries(fields).map(([name, value]) => [snakeCase(name), value])),
    adapter: method,
    target_modules: targets,
  };
}

/** The measurements of a job, the last ones first. */
async function* jobSteps(job: string, options: TrainOptions, limit: number) {
  for (let after = ""; ; ) {
    const path = `fine_tuning/jobs/${job}/events?limit=${limit}${after}`;
    const { data, has_more } = await ask(listOf(eventSchema), options, path);
    yield* data.flatMap((event) => stepSchema.safeParse(event.data).data ?? []);
    if (!has_more) return;
    after = `&after=${data.at(-1)?.id}`;
  }
}

const hasFailed = ({ status, error }: z.output<typeof jobSchema>): boolean =>
  ["failed", "cancelled"].includes(status) && error?.code !== DIVERGED;

/** The job of a cell when it has ended; one that was asked for before is found again, unless it had failed. */
async function runJob(
  { identity, seed, adapter, settings }: TrainedSpec,
  training_file: string,
  options: TrainOptions,
) {
  const { attempt, signal, emit } = options;
  const mos = jobFields(adapter, settings);
  const [base] = (await ask(listOf(modelSchema), options, "models")).data; // adapters come behind it
  const body = JSON.stringify({ model: base?.id, training_file, seed, mos });
  const create = (key: string) =>
    ask(jobSchema, options, "fine_tuning/jobs", {
      ...{ method: "POST", body },
      headers: { "content-type": "application/json", "idempotency-key": key },
    });
  const key = `${identity}-${attempt}-${training_file}`;
  let job = await create(key);
  for (let after = 0; hasFailed(job) && after < MAX_FAILED; after++) job = await create(`${key}-${job.id}`);
  while (!["succeeded", "failed", "cancelled"].includes(job.status)) {
    for await (const { step, total_steps: steps, train_loss: loss } of jobSteps(job.id, options, 1)) {
      emit({ type: "progress", step, steps, loss });
      break;
    }
    await sleep(POLL_SECONDS * 1000, undefined, { signal }).catch(() => undefined);
    job = await ask(jobSchema, options, `fine_tuning/jobs/${job.id}`);
  }
  return job;
}

/** Writes what a run on this machine leaves of a cell: its metrics and the adapter. */
async function fetchRun(
  spec: TrialSpec,
  { id, model }: { id: string; model: string },
  options: TrainOptions,
) {
  const run = runPath(spec);
  await rm(run, { recursive: true, force: true });
  await mkdir(run, { recursive: true });
  const lines: string[] = [];
  for await (const { train_loss: loss, train_mean_token_accuracy: accuracy, ...step } of jobSteps(
    ...([id, options, 1000] as const),
  )) {
    const { learning_rate: learningRate, gradient_norm: gradientNorm, total_steps: _, ...rest } = step;
    lines.unshift(JSON.stringify({ type: "step", ...rest, loss, accuracy, learningRate, gradientNorm }));
  }
  await writeFileAtomic(join(run, RUN_FILES.metrics), `${lines.join("\n")}\n`);
  for (const file of [ADAPTER_TENSORS, ADAPTER_CONFIG]) {
    const path = `adapters/${encodeURIComponent(model)}/export?format=mos&file=${file}`;
    const { body } = await request(options, path);
    await pipeline(Readable.fromWeb(body as ReadableStream), createWriteStream(join(run, file)));
  }
  await writeRecord(spec);
}

/** Gives what trains a cell's adapter on a service and puts it in its place. Throws MosError `network`, `diverged`, `cancelled`. */
export function openServiceTrainer(service: ServiceAccess) {
  const uploads = new Map<string, Promise<string>>();
  return async (spec: TrainedSpec, given: Omit<TrainOptions, "service">): Promise<void> => {
    const options = { ...given, service };
    const uploading = uploads.get(spec.train) ?? upload(spec.train, options);
    uploads.set(spec.train, uploading);
    uploading.catch(() => uploads.delete(spec.train)); // the next cell tries again
    options.emit({ type: "phase", phase: "training" });
    const { id, status, error, fine_tuned_model: model } = await runJob(spec, await uploading, options);
    if (model !== null) return fetchRun(spec, { id, model }, options);
    const code = error?.code === DIVERGED ? "diverged" : "network";
    const failure = new MosError(code, error?.message ?? `the job ${id} was ${status}`);
    if (code === "diverged") await writeFailure(spec, failure);
    throw failure;
  };
}
