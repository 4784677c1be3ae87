// A service, wired together: its resources, the models that it publishes, local workers, and what a server gets of it.

import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { runCheck } from "mixture-of-shards";
import type { OpenServeAddOn } from "mixture-of-shards/kit";
import type { ServerApp, ServerLog } from "mixture-of-shards/server";
import { makePrivateFolder, writeFolderAtomic } from "mixture-of-shards-core/files";
import type { ServiceEnv } from "#api";
import { openUpkeep } from "#database";
import { isBucket, type ObjectStore } from "#objects";
import { openOutbox, openSlices, openStores, openWatch, type Stores } from "#store";
import { deliverWebhooks } from "#webhooks";
import { createFileChecker, createGrading, createPreviewer } from "#worker";
import { createExtension, type Expired, openExpired } from "./extension.ts";
import type { ServiceOptions } from "./options.ts";
import { openPeftFolder } from "./peft-folder.ts";
import { openPublisher, type Publisher } from "./publish.ts";
import { openResources, type ServiceResources, work, workerName } from "./resources.ts";

/** Seconds between looks at models that other servers have published or removed. */
const SYNC_SECONDS = 5;
/** Seconds of requests that a killed server has not counted. */
const USAGE_SECONDS = 5;
/** Seconds between looks at what nobody needs any more. */
const COLLECT_SECONDS = 2;
/** Seconds between looks at what PGlite has to clean up. */
const UPKEEP_SECONDS = 5;
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
  const { database, objects, folder, metrics } = resources;
  const { log } = options;
  const adapters = join(folder, "adapters");
  const stores = openStores(database);
  // nobody else has this database
  if (database.kind === "pglite") await takeOver(stores, resources, log);
  const published = await openPublished(adapters, {
    ...{ stores, objects, log },
    isOnDemand: isBucket(options.storage ?? ""),
  });
  const grading = createGrading();
  const tools = { checkFile: createFileChecker(), preview: choosePreviewer(options), grading };
  const stopping = new AbortController();
  let running: readonly Promise<void>[] = [];
  let app: ServerApp | undefined;
  const ask = (request: Request) => app?.fetch(request) ?? Response.error();
  const localModels = options.workers === 0 ? undefined : await openLocalModels(ask);
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
      const { models } = stores;
      const others = await openOthers(options, { models, objects, signal, modelName: model.name });
      const everywhere = others === undefined ? [published.publisher] : [published.publisher, others];
      const unpublish = async (name: string): Promise<void> => {
        for (const place of everywhere) await place.remove(name);
      };
      const context = { ...options, ...published, stores, resources, others, modelName: model.name, signal };
      running = startBackground({ ...context, serverUrl: localModels?.url });
      const watch = openWatch(database);
      const extension = createExtension({
        ...published,
        model,
        checkRun: await runCheck(model.path),
        unpublish,
        service: { ...stores, ...tools, objects, webhookPorts: options.webhookPorts },
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
      await grading[Symbol.asyncDispose]();
      await stores.usage
        .write()
        .catch((error: unknown) => log.error({ reason: String(error) }, "lost usage of the last requests"));
      await resources[Symbol.asyncDispose]();
    },
  };
}

/** Ends what a killed server has left: uploads, and leases of its workers. */
async function takeOver(
  { contents }: Stores,
  { database, objects }: ServiceResources,
  log: ServerLog,
): Promise<void> {
  await contents.endForgotten(objects.discard, 0);
  await openSlices(database)
    .recover({ isAlone: true })
    .catch((error: unknown) => log.warn({ reason: String(error) }, "service error; retrying"));
}

/** A folder of models for other programs, if the options ask for one. */
const openOthers = async (
  { peft, ...options }: ServiceOptions,
  context: Pick<Parameters<typeof openPeftFolder>[0], "models" | "objects" | "signal" | "modelName">,
): Promise<Pick<Publisher, "sync" | "remove"> | undefined> =>
  peft && (await openPeftFolder({ ...options, ...peft, ...context }));

function describeService({ workers, state }: ServiceOptions): string {
  const trained = workers === 0 ? "trained by mos worker" : `${workers} at a time`;
  return `fine-tuning jobs, ${trained}; state in ${state ?? "PostgreSQL"}`;
}

function choosePreviewer({ model, threads }: ServiceOptions): ServiceEnv["preview"] {
  const preview = createPreviewer();
  return (order, client) => preview({ ...order, model, threads }, client);
}

interface Published {
  readonly publisher: Publisher;
  readonly expired: Expired;
}

interface PublishedOptions {
  readonly stores: Stores;
  readonly objects: ObjectStore;
  readonly log: ServerLog;
  /** Brings models from a bucket when they are needed. */
  readonly isOnDemand: boolean;
}

/** The models of tenants in their folder, as far as the storage is there. */
async function openPublished(
  adapters: string,
  { stores, objects, log, isOnDemand }: PublishedOptions,
): Promise<Published> {
  await makePrivateFolder(adapters);
  const publisher = await openPublisher(adapters, {
    models: stores.models,
    onDemand: isOnDemand ? { fits: objects.trim } : undefined,
    write: (files, path) =>
      writeFolderAtomic(path, (to) => objects.restore(files, to, { link: true }), { mode: 0o700 }),
    onError: (model, error) => log.warn({ model, reason: String(error) }, "publishing failed; retrying"),
  });
  const published = { publisher, expired: openExpired(stores.models) };
  await syncModels(published).catch((error: unknown) =>
    log.warn({ reason: String(error) }, "publishing failed; retrying"),
  );
  return published;
}

async function syncModels({ expired, publisher }: Published): Promise<void> {
  await expired.refresh();
  await publisher.sync();
}

interface BackgroundOptions
  extends Published,
    Pick<
      ServiceOptions,
      | ("workers" | "model" | "threads" | "log" | "webhookPorts")
      | ("sliceSeconds" | "leaseSeconds" | "stopSeconds" | "stallSeconds")
    > {
  readonly stores: Stores;
  readonly resources: ServiceResources;
  /** Other folders of models. */
  readonly others: Pick<Publisher, "sync"> | undefined;
  readonly modelName: string;
  readonly serverUrl: string | undefined;
  readonly signal: AbortSignal;
}

/** Background work of a server, until the signal is aborted. */
function startBackground({ workers, others, ...options }: BackgroundOptions): readonly Promise<void>[] {
  const { stores, resources, signal, log } = options;
  const { database, objects, metrics } = resources;
  const outbox = openOutbox(database);
  const slices = openSlices(database, options);
  const collect = async (): Promise<void> => {
    await stores.files.removeExpired();
    await stores.models.removeExpired();
    await stores.responses.removeExpired();
    await stores.contents.endForgotten(objects.discard);
    await stores.contents.collect(objects.remove);
  };
  const sweep = async (): Promise<void> => {
    await outbox.removeOld();
    const unused = await objects.sweep(stores.contents.used, SWEEP_AGE);
    await stores.contents.release(unused);
    if (unused.length > 0) log.info({ files: unused.length }, "removed unused files");
  };
  const chores: readonly (readonly [number, () => Promise<unknown>])[] = [
    [SYNC_SECONDS, () => syncModels(options)],
    ...(others === undefined ? [] : [[SYNC_SECONDS, others.sync] as const]),
    [USAGE_SECONDS, stores.usage.write],
    // also where workers are on other machines, and all of them are gone
    [options.leaseSeconds, () => slices.recover()],
    [COLLECT_SECONDS, collect],
    [SWEEP_SECONDS, sweep],
    ...(database.kind === "pglite" ? [[UPKEEP_SECONDS, openUpkeep(database)] as const] : []),
  ];
  const onEnd = (error: unknown): void =>
    log.error({ reason: String(error) }, "a worker of this server exited");
  return [
    ...chores.map(([seconds, chore]) => repeat(seconds, { signal, log, work: chore })),
    deliverWebhooks({
      outbox,
      log,
      signal,
      ports: options.webhookPorts,
      onAttempt: metrics.webhookAttempted,
    }),
    ...Array.from({ length: workers }, (_, i) => work({ ...options, name: workerName(i) }).catch(onEnd)),
  ];
}

async function repeat(
  seconds: number,
  {
    signal,
    log,
    work: once,
  }: { readonly signal: AbortSignal; readonly log: ServerLog; readonly work: () => Promise<unknown> },
): Promise<void> {
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
export async function openLocalModels(fetch: (request: Request) => Response | Promise<Response>) {
  const server = createServer(async (incoming, outgoing) => {
    const left = new AbortController();
    outgoing.once("close", () => left.abort());
    const { authorization = "", "content-type": type = "", host = "" } = incoming.headers;
    try {
      // by the name that it was called by, which the server checks
      const request = new Request(`http://${host}/v1/chat/completions`, {
        method: "POST",
        headers: { authorization, "content-type": type },
        body: Readable.toWeb(incoming),
        duplex: "half",
        signal: left.signal,
      });
      const answer = await fetch(request);
      const body = Buffer.from(await answer.arrayBuffer());
      outgoing.writeHead(answer.status, Object.fromEntries(answer.headers)).end(body);
    } catch {
      outgoing.destroy(); // the client has left
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    [Symbol.asyncDispose]: async () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
