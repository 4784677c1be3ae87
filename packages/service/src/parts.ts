// Parts that every process of a service opens: the database with its queue, and the storage; and the workers on them.
import { readdir, rm } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { MosError } from "mixture-of-shards";
import { makePrivateFolder, makeTemporaryFolder } from "mixture-of-shards/cli";
import type { ServerLog } from "mixture-of-shards/server";
import { type Database, migrate, openPglite, openPostgres, watchFailures } from "#database";
import { type ObjectStore, openObjects } from "#objects";
import { openQueue, openSlices, openWatch, type Queue, startHeartbeat } from "#store";
import { runWorker } from "#worker";
import { createMetrics, type ServiceMetrics } from "./metrics.ts";
import type { ServiceOptions } from "./options.ts";

/** Parts that every process of a service opens. */
export interface ServiceParts extends AsyncDisposable {
  readonly database: Database;
  readonly queue: Queue;
  readonly objects: ObjectStore;
  /** The folder of files, checkpoints and models. */
  readonly storage: string;
  /** Looks whether database and storage are there and can be written. @throws MosError `storage`. */
  check(): Promise<void>;
  /** Counts of this process. */
  readonly metrics: ServiceMetrics;
}

/** Entries that a service makes in --state and --storage. */
const OWN_ENTRIES = ["database", "database.lock", "storage", "incoming", "objects", "adapters"];

/**
 * Opens database, queue and storage, and brings the tables up to date.
 *
 * @throws MosError `bad_option`, `network`, `storage`, `unsupported`.
 */
export async function openParts(
  { state, databaseUrl, storage: given }: Pick<ServiceOptions, "state" | "databaseUrl" | "storage">,
  { log }: { readonly log: ServerLog },
): Promise<ServiceParts> {
  const storage = given ?? (state === undefined ? undefined : join(state, "storage"));
  if (storage === undefined)
    throw new MosError("bad_option", "--database-url requires --storage, a folder shared by all machines");
  for (const folder of new Set([state ?? storage, storage]))
    await makePrivateFolder(folder, { ownEntries: OWN_ENTRIES });
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
      log.warn({ reason: error.message }, "the queue cannot reach the database");
    const queue = await openQueue(database, { onError });
    const close = async (): Promise<void> => {
      await queue[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    };
    const check = async (): Promise<void> => {
      await database.check();
      await objects.check();
    };
    return { database, queue, objects, storage, metrics, check, [Symbol.asyncDispose]: close };
  } catch (error) {
    await database[Symbol.asyncDispose]();
    throw error;
  }
}

/** Prefix by machine or container: others may share the same folder for temporary files. */
const SCRATCH = `mos-jobs-${hostname()}-`;
/** Once in a process, before it has such folders of its own. */
let leftovers: Promise<void> | undefined;

/** Removes runs, with their tenants' data, that killed workers of this machine left. */
async function removeLeftovers(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const pid = name.startsWith(SCRATCH) ? Number.parseInt(name.slice(SCRATCH.length), 10) : Number.NaN;
    if (Number.isNaN(pid) || isAlive(pid)) continue;
    await rm(join(tmpdir(), name), { recursive: true, force: true }).catch(() => undefined);
  }
}

/** Tests whether another process with this id runs. */
function isAlive(pid: number): boolean {
  if (pid === process.pid) return false;
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}

/** The name of a worker of this process in logs and metrics. */
export const workerName = (index: number): string => `${hostname()}-${process.pid}-${index}`;

interface WorkOptions
  extends Pick<
    ServiceOptions,
    "model" | "sliceSeconds" | "leaseSeconds" | "stopSeconds" | "stallSeconds" | "threads" | "log"
  > {
  readonly name: string;
  readonly modelName: string;
  readonly parts: ServiceParts;
  readonly signal: AbortSignal;
}

/** One worker, until the signal is aborted. */
export async function work({ parts, model, modelName, ...options }: WorkOptions): Promise<void> {
  leftovers ??= removeLeftovers();
  await leftovers;
  const scratch = await makeTemporaryFolder(`${SCRATCH}${process.pid}-`);
  const { database, queue, objects, metrics } = parts;
  const heartbeat = startHeartbeat(openWatch(database), { name: options.name, models: [modelName] });
  try {
    await runWorker({
      ...options,
      queue,
      objects,
      scratch,
      models: new Map([[modelName, model]]),
      onSlice: metrics.sliceEnded,
      onStall: metrics.trainerStalled,
      slices: openSlices(database, queue, options),
    });
  } finally {
    await heartbeat[Symbol.asyncDispose]();
    await rm(scratch, { recursive: true, force: true });
  }
}
