// Parts that every process of a service opens: the database with its queue, and the storage.
import { join } from "node:path";
import { MosError } from "mixture-of-shards";
import { makePrivateFolder } from "mixture-of-shards/cli";
import type { ServerLog } from "mixture-of-shards/server";
import { type Database, migrate, openPglite, openPostgres, watchFailures } from "#database";
import { type ObjectStore, openObjects } from "#objects";
import { createMetrics, type ServiceMetrics } from "#operations";
import { openQueue, type Queue } from "#store";
import type { ServiceOptions } from "./options.ts";

/** Location of a service's state. */
export type ServicePlace = Pick<ServiceOptions, "state" | "databaseUrl" | "storage">;

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
  { state, databaseUrl, storage: given }: ServicePlace,
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
