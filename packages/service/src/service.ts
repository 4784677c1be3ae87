// A service, wired together: the database with its queue, the storage, local workers, and what a server gets of it.
import { randomInt } from "node:crypto";
import { rm } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { ServedModel } from "mixture-of-shards";
import { budget, parseAdapterConfig } from "mixture-of-shards/adapters";
import type { Service, ServiceOptions } from "mixture-of-shards/cli";
import { MosError } from "mixture-of-shards/core";
import type { ApiKey, ModelNotes, ServerExtension, ServerLog } from "mixture-of-shards/server";
import { makeTemporaryFolder, writeFolderAtomic } from "mixture-of-shards/storage";
import { addServiceRoutes, found, type ServiceEnv, seconds } from "#api";
import { type Database, migrate, openPglite, openPostgres, watchFailures } from "#database";
import {
  defaultSliceOptions,
  type Jobs,
  MAX_ALIASES,
  openJobs,
  openOutbox,
  openQueue,
  openSlices,
  openWatch,
  type SliceOptions,
  type TrainingPlan,
  tenantOfModel,
} from "#jobs";
import { openObjects } from "#objects";
import { createMetrics, deliverWebhooks, type ServiceMetrics, startHeart } from "#signals";
import { createPreviewer, runWorker } from "#worker";
import { type Expired, openExpired } from "./expired.ts";
import { openPeftFolder } from "./peft-folder.ts";
import { openPublisher, type Publisher } from "./publish.ts";

/** Where a service's state is. */
export type ServicePlace = Pick<ServiceOptions, "state" | "databaseUrl" | "storage">;

/** What every process of a service opens. */
export interface ServiceParts extends AsyncDisposable {
  readonly database: Database;
  readonly queue: Awaited<ReturnType<typeof openQueue>>;
  readonly objects: Awaited<ReturnType<typeof openObjects>>;
  /** The folder of files, checkpoints and models. */
  readonly storage: string;
  /** Counts of this process. */
  readonly metrics: ServiceMetrics;
}

/**
 * Opens database, queue and storage, and brings the tables up to date.
 *
 * @throws MosError `bad_option`, `network`, `storage`, `unsupported`.
 */
export async function openParts(
  { state, databaseUrl, storage: given }: ServicePlace,
  { log }: { readonly log: ServerLog },
): Promise<ServiceParts> {
  const storage = given ?? (state === undefined ? undefined : join(state, "storage"));
  if (storage === undefined)
    throw new MosError(
      "bad_option",
      "--database-url needs --storage, a folder that all machines of the service have",
    );
  const objects = await openObjects(storage);
  const metrics = createMetrics();
  const opened =
    databaseUrl === undefined
      ? await openPglite(join(state ?? storage, "database"))
      : await openPostgres(databaseUrl);
  const database = watchFailures(opened, metrics.databaseFailed);
  try {
    await migrate(database);
    const onError = (error: Error): void =>
      log.warn({ reason: error.message }, "the queue cannot reach its database");
    const queue = await openQueue(database, { onError });
    const close = async (): Promise<void> => {
      await queue[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    };
    return { database, queue, objects, storage, metrics, [Symbol.asyncDispose]: close };
  } catch (error) {
    await database[Symbol.asyncDispose]();
    throw error;
  }
}

/** Bytes of an uploaded file, as OpenAI's. */
const MAX_FILE_BYTES = 512_000_000;
/** Seconds between looks at models that other servers have published or removed. */
const SYNC_SECONDS = 5;
/** Seconds of requests that a killed server has not counted. */
const USAGE_SECONDS = 5;
/** Seconds between sweeps of the storage, and the age of what they take. */
const [SWEEP_SECONDS, SWEEP_AGE] = [3600, 86_400];

/** A plan that no adapter of the model can have is refused before it is queued. Throws `bad_config`, `bad_option`. */
const checkedAgainst =
  ({ geometry }: ServedModel) =>
  ({ adapter }: TrainingPlan): void => {
    try {
      budget(parseAdapterConfig(adapter, "mos"), geometry);
    } catch (cause) {
      if (!(cause instanceof MosError)) throw cause;
      throw new MosError("bad_option", cause.message, { cause });
    }
  };

/**
 * Opens a service for one server: OpenAI's files and fine-tuning jobs, with local workers.
 *
 * @throws MosError as `openParts`.
 * @example
 * await using service = await openService({ state: "state", workers: 1, model: "assets/tiny-english", ...rest });
 * const server = await serve({ model, adapters: service.adapters, extension: (served) => service.start(served), log });
 */
export async function openService(options: ServiceOptions): Promise<Service> {
  const { workers, log } = options;
  const parts = await openParts(options, options);
  const { database, queue, objects, storage, metrics } = parts;
  const adapters = join(storage, "adapters");
  const jobs = openJobs(database, queue);
  const local = await openPublisher(adapters, {
    jobs,
    write: (files, path) => writeFolderAtomic(path, (to) => objects.restore(files, to, { link: true })),
    onError: (model, error) => log.warn({ model, reason: String(error) }, "a model cannot be published now"),
  });
  const expired = openExpired(jobs);
  const sync = async (): Promise<void> => {
    await expired.look();
    await local.sync();
  };
  await sync().catch((error: unknown) => log.warn({ reason: String(error) }, "models are published later"));
  const slices = openSlices(database, queue, sliceOptions(options));
  const outbox = openOutbox(database);
  const stopping = new AbortController();
  const running: Promise<void>[] = [];
  const stopWorkers = async (): Promise<void> => {
    stopping.abort();
    await Promise.all(running);
  };
  const makePreview = createPreviewer();
  const preview: ServiceEnv["preview"] = (order, signal) =>
    makePreview({ ...order, model: options.model, threads: options.threads }, signal);
  let isOver = false;
  return {
    adapters,
    start: async (model) => {
      const { signal } = stopping;
      running.push(repeat(SYNC_SECONDS, { signal, log, work: sync }));
      running.push(repeat(USAGE_SECONDS, { signal, log, work: () => jobs.writeServed() }));
      const { peft } = options;
      const others =
        peft &&
        (await openPeftFolder({ ...{ ...options, ...peft, jobs, objects, signal }, modelName: model.name }));
      if (others !== undefined) running.push(repeat(SYNC_SECONDS, { signal, log, work: others.sync }));
      const publisher: Publisher = {
        ...local,
        remove: async (name) => {
          await local.remove(name);
          await others?.remove(name);
        },
      };
      // also where workers are on other machines, and all of them are gone
      const recover = async (): Promise<void> => void (await slices.recover());
      running.push(repeat(options.leaseSeconds, { signal, log, work: recover }));
      const sweep = async (): Promise<void> => {
        await jobs.removeExpired();
        await jobs.removeExpiredModels();
        await outbox.removeOld();
        const count = await objects.sweep((digests) => jobs.used(digests), SWEEP_AGE);
        if (count > 0) log.info({ files: count }, "files that nobody uses were removed");
      };
      running.push(repeat(SWEEP_SECONDS, { signal, log, work: sweep }));
      running.push(deliverWebhooks({ outbox, log, signal, onAttempt: metrics.webhookAttempted }));
      const worker = { ...options, modelName: model.name, parts, signal };
      for (let i = 0; i < workers; i++) running.push(work({ ...worker, name: workerName(i) }));
      const state = { read: openWatch(database).state, model: model.name };
      return {
        ...extensionOf({ model, publisher, expired, service: { jobs, objects, preview } }),
        metrics: () => metrics.render(state),
      };
    },
    stopWorkers,
    [Symbol.asyncDispose]: async () => {
      if (isOver) return;
      isOver = true;
      await stopWorkers();
      await jobs
        .writeServed()
        .catch((error: unknown) => log.error({ reason: String(error) }, "the last requests are not counted"));
      await parts[Symbol.asyncDispose]();
    },
  };
}

const sliceOptions = ({ leaseSeconds }: Pick<ServiceOptions, "leaseSeconds">): SliceOptions => ({
  ...defaultSliceOptions,
  leaseSeconds,
});

/** Shown where it is asked who has a job. */
export const workerName = (index: number): string => `${hostname()}-${process.pid}-${index}`;

interface WorkOptions
  extends Pick<ServiceOptions, "model" | "sliceSeconds" | "leaseSeconds" | "threads" | "log"> {
  readonly name: string;
  readonly modelName: string;
  readonly parts: ServiceParts;
  readonly signal: AbortSignal;
}

/** One worker, until the signal is aborted. */
export async function work({ parts, model, modelName, ...options }: WorkOptions): Promise<void> {
  const scratch = await makeTemporaryFolder("mos-jobs-");
  const { database, queue, objects, metrics } = parts;
  const heart = startHeart(openWatch(database), { name: options.name, models: [modelName] });
  try {
    await runWorker({
      ...{ ...options, queue, objects, scratch, models: new Map([[modelName, model]]) },
      onSlice: metrics.sliceEnded,
      slices: openSlices(database, queue, sliceOptions(options)),
    });
  } finally {
    await heart[Symbol.asyncDispose]();
    await rm(scratch, { recursive: true, force: true });
  }
}

interface RepeatOptions {
  readonly signal: AbortSignal;
  readonly log: ServerLog;
  readonly work: () => Promise<void>;
}

async function repeat(seconds: number, { signal, log, work: once }: RepeatOptions): Promise<void> {
  while (!signal.aborted) {
    await sleep(seconds * 1000, undefined, { signal, ref: false }).catch(() => undefined);
    if (signal.aborted) return;
    await once().catch((error: unknown) => log.warn({ reason: String(error) }, "the service tries again"));
  }
}

interface ExtensionParts {
  readonly model: ServedModel;
  readonly publisher: Publisher;
  readonly expired: Expired;
  readonly service: Pick<ServiceEnv, "jobs" | "objects" | "preview">;
}

/** A fine-tuned model is its tenant's, whatever adapters a key may use beside it. */
export function extensionOf({
  model,
  publisher,
  expired,
  service,
}: ExtensionParts): Omit<ServerExtension, "metrics"> {
  const { jobs } = service;
  return {
    addRoutes: (app) =>
      addServiceRoutes(app, {
        ...service,
        modelName: model.name,
        layers: model.geometry.layers,
        checkPlan: checkedAgainst(model),
        unpublish: (name) => publisher.remove(name),
        lookAtExpiry: () => expired.look(),
        maxFileBytes: MAX_FILE_BYTES,
        nextSeed: () => randomInt(2 ** 31),
      }),
    keyOf: (key) => ({
      ...key,
      mayUse: (name) => {
        const tenant = tenantOfModel(name);
        if (tenant === undefined) return key.mayUse(name);
        return (key.isAdmin || tenant === key.name) && !expired.isOver(name);
      },
    }),
    fetch: (name) => found(publisher.fetch(name), "model"),
    resolve: async (id, { name: tenant }) => {
      const target = await found(jobs.aliased({ tenant, id }), "model");
      if (target !== undefined) expired.hold(target);
      return target;
    },
    describe: (key) => notesOf(jobs, key),
    served: (record, seconds) => {
      const { keyName: tenant, model: name, status, ...tokens } = record;
      if (tenant === undefined || name === undefined || (status >= 400 && tokens.completionTokens === 0))
        return;
      jobs.addServed({
        ...{ tenant, model: name, requests: 1, serving_seconds: seconds, prompt_tokens: tokens.promptTokens },
        ...{ cached_tokens: tokens.cachedTokens, completion_tokens: tokens.completionTokens },
      });
    },
  };
}

/** Without the database aliases cannot be used, so that lists go on without them. */
async function notesOf(jobs: Jobs, { name: tenant, isAdmin }: ApiKey): Promise<ModelNotes> {
  try {
    const { rows } = await jobs.aliases(tenant, { limit: MAX_ALIASES });
    const expiring = await jobs.expiringModels({ tenant, isAdmin });
    return {
      aliases: rows.map(({ id, model, changed_at }) => ({ id, model, changedAt: seconds(changed_at) })),
      expiresAt: new Map(
        expiring.flatMap(({ name, expires_at }) =>
          expires_at === null ? [] : [[name, seconds(expires_at)]],
        ),
      ),
    };
  } catch (error) {
    if (!(error instanceof MosError) || error.code !== "network") throw error;
    return { aliases: [], expiresAt: new Map() };
  }
}
