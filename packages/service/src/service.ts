// A service, wired together: its resources, the models that it publishes, local workers, and what a server gets of it.

import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { runCheck } from "mixture-of-shards";
import type { OpenServeAddOn } from "mixture-of-shards/kit";
import { listen, type ServerApp } from "mixture-of-shards/server";
import { makePrivateFolder, writeFolderAtomic } from "mixture-of-shards-core/files";
import { openUpkeep, rewrite } from "#database";
import { isBucket } from "#objects";
import { openOutbox, openSlices, openStores, openWatch, type Stores } from "#store";
import { deliverWebhooks } from "#webhooks";
import {
  createFileChecker,
  createGrading,
  createPreviewer,
  type PreviewRequest,
  type TurnClient,
} from "#worker";
import { createExtension, openExpired } from "./extension.ts";
import type { ServiceOptions } from "./options.ts";
import { openPeftFolder, openPublisher, type Publisher } from "./publish.ts";
import { openResources, type ServiceResources, work, workerName } from "./resources.ts";

/** Seconds between looks at models that other servers have published or removed. */
const SYNC_SECONDS = 5;
/** Seconds of requests that a killed server has not counted. */
const USAGE_SECONDS = 5;
/** Seconds between looks at what nobody needs any more. */
const COLLECT_SECONDS = 2;
/** Seconds between looks at what PGlite has to clean up, and at deleted lessons that its files still have. */
const [UPKEEP_SECONDS, ERASE_SECONDS] = [5, 30];
/** Tables with what lessons say. */
const LESSON_TABLES = ["feedback", "lessons"];
/** Seconds between searches for contents that no row has ever named, and their age. */
const [SWEEP_SECONDS, SWEEP_AGE] = [1200, 7200];

/**
 * Opens a service for one server: OpenAI's files and fine-tuning jobs, with local workers.
 *
 * @throws MosError as `openResources`.
 * @example
 * await using service = await openService({ state: "state", workers: 1, model: "assets/tiny-english", ...rest });
 * const server = await serve({ model, adapters: service.adapters, extension: (served) => service.start(served), log });
 */
export async function openService(options: ServiceOptions): Promise<OpenServeAddOn> {
  const resources = await openResources(options, options);
  const { database, objects, metrics } = resources;
  const { log, peft, workers } = options;
  const adapters = join(resources.folder, "adapters");
  const stores = openStores(database);
  const service: Service = { ...options, resources, stores };
  // nobody else has this database
  if (database.kind === "pglite") await takeOver(service);
  const published = await openPublished(adapters, service);
  const tools = openTools(options);
  const stopping = new AbortController();
  let running: readonly Promise<void>[] = [];
  let app: ServerApp | undefined;
  const ask = (request: Request) => app?.fetch(request) ?? Response.error();
  const localModels = workers === 0 ? undefined : await openLocalModels(ask);
  const stopWorkers = async (): Promise<void> => {
    stopping.abort();
    await Promise.all(running);
  };
  let isOver = false;
  return {
    adapters,
    summary: describeService(options),
    start: async (model) => {
      const { signal } = stopping;
      const serving = { ...published, signal, modelName: model.name, serverUrl: localModels?.url };
      const context = { ...options, models: stores.models, objects, ...serving };
      const others = peft && (await openPeftFolder({ ...context, ...peft }));
      running = startBackground(service, { ...serving, others });
      const watch = openWatch(database);
      const extension = createExtension({
        ...published,
        model,
        checkRun: await runCheck(model.path),
        unpublish: async (name) => {
          await published.publisher.remove(name);
          await others?.remove(name);
        },
        service: { ...stores, ...tools, objects },
      });
      return {
        ...extension,
        routes: (served) => {
          app = served;
          extension.routes(served);
        },
        health: { check: () => resources.check().then(published.publisher.check), training: watch.training },
        metrics: {
          ...extension.metrics,
          render: () => metrics.render({ read: watch.state, model: model.name }),
        },
      };
    },
    stop: stopWorkers,
    [Symbol.asyncDispose]: async () => {
      if (isOver) return;
      isOver = true;
      await stopWorkers();
      await localModels?.[Symbol.asyncDispose]();
      await tools.grading[Symbol.asyncDispose]();
      await stores.usage
        .write()
        .catch((error: unknown) => log.error({ reason: String(error) }, "lost usage of the last requests"));
      await resources[Symbol.asyncDispose]();
    },
  };
}

/** Work for requests in processes of their own. */
function openTools({ model, threads, webhookPorts, trackers }: ServiceOptions) {
  const preview = createPreviewer();
  return {
    webhookPorts,
    trackers,
    grading: createGrading(),
    checkFile: createFileChecker(),
    preview: (order: Omit<PreviewRequest, "model" | "threads">, client: TurnClient) =>
      preview({ ...order, model, threads }, client),
  };
}

/** What a service is made of. */
interface Service extends ServiceOptions {
  readonly resources: ServiceResources;
  readonly stores: Stores;
}

/** Ends what a killed server has left: uploads, and leases of its workers. */
async function takeOver({ stores, resources: { database, objects }, log }: Service): Promise<void> {
  await stores.contents.endForgotten(objects.discard, 0);
  await openSlices(database)
    .recover({ isAlone: true })
    .catch((error: unknown) => log.warn({ reason: String(error) }, "service error; retrying"));
}

function describeService({ workers, state }: ServiceOptions): string {
  const trained = workers === 0 ? "trained by mos worker" : `${workers} at a time`;
  return `fine-tuning jobs, ${trained}; state in ${state ?? "PostgreSQL"}`;
}

/** The models of tenants in their folder, as far as the storage is there. */
async function openPublished(adapters: string, { stores, resources, log, storage = "" }: Service) {
  const { objects } = resources;
  await makePrivateFolder(adapters);
  const publisher = await openPublisher(adapters, {
    models: stores.models,
    // models come from a bucket when they are needed
    onDemand: isBucket(storage) ? { fits: objects.trim } : undefined,
    write: (files, path) =>
      writeFolderAtomic(path, (to) => objects.restore(files, to, { link: true }), { mode: 0o700 }),
    onError: (model, error) => log.warn({ model, reason: String(error) }, "publishing failed; retrying"),
  });
  const expired = openExpired(stores.models);
  const sync = async (): Promise<void> => {
    await expired.refresh();
    await publisher.sync();
  };
  await sync().catch((error: unknown) => log.warn({ reason: String(error) }, "publishing failed; retrying"));
  return { publisher, expired, sync };
}

interface Serving {
  readonly sync: () => Promise<void>;
  readonly modelName: string;
  readonly serverUrl: string | undefined;
  /** Other folders of models. */
  readonly others: Pick<Publisher, "sync"> | undefined;
  readonly signal: AbortSignal;
}

/** Work with the seconds between its repetitions. */
type Chore = readonly [seconds: number, work: () => Promise<unknown>];

/** Background work of a server, until the signal is aborted. */
function startBackground(service: Service, serving: Serving): readonly Promise<void>[] {
  const { stores, resources, log, webhookPorts: ports } = service;
  const { sync, others, signal } = serving;
  const { database, objects, metrics } = resources;
  const outbox = openOutbox(database);
  const slices = openSlices(database, service);
  const collect = async (): Promise<void> => {
    await stores.files.removeExpired();
    await stores.models.removeExpired();
    await stores.responses.removeExpired();
    await stores.lessons.removeExpired();
    await stores.contents.endForgotten(objects.discard);
    await stores.contents.collect(objects.remove);
  };
  const erase = (): Promise<void> =>
    stores.lessons.erase(async () => {
      if (database.kind === "pglite") await rewrite(database, LESSON_TABLES);
    });
  const sweep = async (): Promise<void> => {
    await outbox.removeOld();
    const unused = await objects.sweep(stores.contents.used, SWEEP_AGE);
    await stores.contents.release(unused);
    if (unused.length > 0) log.info({ files: unused.length }, "removed unused files");
  };
  const chores: readonly Chore[] = [
    [SYNC_SECONDS, sync],
    ...(others === undefined ? [] : [[SYNC_SECONDS, others.sync] as const]),
    [USAGE_SECONDS, stores.usage.write],
    // also where workers are on other machines, and all of them are gone
    [service.leaseSeconds, () => slices.recover()],
    [COLLECT_SECONDS, collect],
    [SWEEP_SECONDS, sweep],
    [ERASE_SECONDS, erase],
    ...(database.kind === "pglite" ? [[UPKEEP_SECONDS, openUpkeep(database)] as const] : []),
  ];
  const onEnd = (error: unknown): void =>
    log.error({ reason: String(error) }, "a worker of this server exited");
  return [
    ...chores.map((chore) => repeat(chore, { log, signal })),
    deliverWebhooks({ outbox, log, signal, ports, onAttempt: metrics.webhookAttempted }),
    ...Array.from({ length: service.workers }, (_, i) =>
      work({ ...service, ...serving, name: workerName(i) }).catch(onEnd),
    ),
  ];
}

async function repeat([seconds, once]: Chore, { log, signal }: Pick<Service & Serving, "log" | "signal">) {
  while (!signal.aborted) {
    await sleep(seconds * 1000, undefined, { signal, ref: false }).catch(() => undefined);
    if (signal.aborted) return;
    await once().catch((error: unknown) => log.warn({ reason: String(error) }, "service error; retrying"));
  }
}

/**
 * The models of a server for the trainers of its own workers: on a port of this machine alone, whatever the server listens on. Passes
 * chat completions on to the server's API, which checks their keys. `url` is the base URL.
 */
export async function openLocalModels(ask: (request: Request) => Response | Promise<Response>) {
  const pass = ({ url, headers, body, signal }: Request) => {
    const sent = ["authorization", "content-type"].map((name) => [name, headers.get(name) ?? ""] as const);
    const init = { method: "POST", headers: Object.fromEntries(sent), body, duplex: "half", signal } as const;
    // by the name that it was called by, which the server checks
    return ask(new Request(new URL("/v1/chat/completions", url), init));
  };
  const { address, ...listening } = await listen({ app: { fetch: pass } }, { host: "127.0.0.1", port: 0 });
  return { url: `${address}/v1`, [Symbol.asyncDispose]: listening[Symbol.asyncDispose] };
}
