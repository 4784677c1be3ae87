// Resources that every process of a service opens: the database and the storage; and the workers on them.
import { readdir, rm } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { MosError } from "mixture-of-shards";
import { makePrivateFolder, makeTemporaryFolder } from "mixture-of-shards-core/files";
import { compact, migrate, openPglite, openPostgres, watchFailures } from "#database";
import { folderHas, isBucket, type ObjectStore, openBucketObjects, openObjects } from "#objects";
import { openContents, openSlices, openWatch, startHeartbeat } from "#store";
import { runWorker } from "#worker";
import { createMetrics } from "./metrics.ts";
import type { ServiceOptions } from "./options.ts";

/** Resources that every process of a service opens. */
export type ServiceResources = Awaited<ReturnType<typeof openResources>>;

/** Seconds between removals of local copies that nobody needs. */
const TRIM_SECONDS = 60;
/** Entries that a service makes in --state and --storage. */
const OWN_ENTRIES = ["database", "database.lock", "storage", "incoming", "objects", "adapters", "cache"];

/** Refuses a storage with no content that the database names, such as the empty folder of a missing mount. */
async function assertSameStorage(
  storage: string,
  { contents, has }: { readonly contents: Contents; readonly has: ObjectStore["has"] },
): Promise<void> {
  const digests = await contents.sample();
  for (const digest of digests) if (await has(digest)) return;
  // what was removed meanwhile need not be there
  if ((await contents.used(digests)).size === 0) return;
  throw new MosError(
    "storage",
    `${storage}: the storage has none of the files that the database names; mount it, or pass the one that belongs to the database`,
  );
}

type Contents = ReturnType<typeof openContents>;

/**
 * A folder, or a bucket with copies in a folder of this process or of its state. `folder` is the one beside whose files models are
 * published.
 */
async function openStorage(storage: string, options: StorageOptions & { readonly contents: Contents }) {
  const { state, storageEndpoint: endpoint, storageCache: bytes, contents } = options;
  if (!isBucket(storage)) {
    // first, so that nothing is made in the place of a mount
    await assertSameStorage(storage, { contents, has: (digest) => folderHas(storage, digest) });
    await makePrivateFolder(storage, { ownEntries: OWN_ENTRIES });
    return { objects: await openObjects(storage), folder: storage, [Symbol.asyncDispose]: async () => {} };
  }
  leftovers ??= removeLeftovers();
  await leftovers;
  const folder =
    state === undefined ? await makeTemporaryFolder(`${SCRATCH}${process.pid}-`) : join(state, "cache");
  const close = async (): Promise<void> => {
    if (state === undefined) await rm(folder, { recursive: true, force: true });
  };
  try {
    const objects = await openBucketObjects(storage, { cache: { folder, bytes }, endpoint });
    await assertSameStorage(storage, { contents, has: objects.has });
    return { objects, folder, [Symbol.asyncDispose]: close };
  } catch (error) {
    await close();
    throw error;
  }
}

type StorageOptions = Pick<
  ServiceOptions,
  "state" | "databaseUrl" | "storage" | "storageEndpoint" | "storageCache"
>;

/**
 * Opens database and storage, and brings the tables up to date.
 *
 * @throws MosError `bad_option`, `network`, `storage`, `unsupported`.
 */
export async function openResources(options: StorageOptions, { log }: Pick<ServiceOptions, "log">) {
  const { state, databaseUrl } = options;
  const storage = options.storage ?? (state === undefined ? undefined : join(state, "storage"));
  if (storage === undefined)
    throw new MosError(
      "bad_option",
      "--database-url requires --storage, a folder shared by all machines or s3://bucket/prefix",
    );
  if (state !== undefined) await makePrivateFolder(state, { ownEntries: OWN_ENTRIES });
  const metrics = createMetrics();
  const opened: AsyncDisposable[] = [];
  const close = async (): Promise<void> => {
    for (const part of opened.reverse()) await part[Symbol.asyncDispose]();
  };
  try {
    const database = watchFailures(
      databaseUrl === undefined
        ? await openPglite(join(state ?? storage, "database"))
        : await openPostgres(databaseUrl),
      metrics.databaseFailed,
    );
    opened.push(database);
    await migrate(database);
    if (database.kind === "pglite")
      await compact(database).catch((error: unknown) =>
        log.warn({ reason: String(error) }, "the database was not compacted"),
      );
    const contents = openContents(database);
    const place = await openStorage(storage, { ...options, contents });
    opened.push(place);
    const { objects } = place;
    const trim = setInterval(
      () => void objects.trim(contents.used).catch(() => undefined),
      TRIM_SECONDS * 1000,
    );
    opened.push({ [Symbol.asyncDispose]: async () => clearInterval(trim) });
    /** Looks whether database and storage are there and can be written. @throws MosError `storage`. */
    const check = async (): Promise<void> => {
      await database.check();
      await objects.check();
    };
    return { database, ...place, metrics, check, [Symbol.asyncDispose]: close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Prefix by machine or container: others may share the same folder for temporary files. */
const SCRATCH = `mos-jobs-${hostname()}-`;
/** Once in a process, before it has such folders of its own. */
let leftovers: Promise<void> | undefined;

/** Removes runs and copies, with their tenants' data, that killed processes of this machine left. */
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

type WorkOptions = Omit<
  Parameters<typeof runWorker>[0],
  "slices" | "objects" | "scratch" | "onSlice" | "onStall"
>;

/** One worker, until the signal is aborted. */
export async function work({
  resources,
  ...options
}: WorkOptions & { readonly resources: ServiceResources }): Promise<void> {
  leftovers ??= removeLeftovers();
  await leftovers;
  const scratch = await makeTemporaryFolder(`${SCRATCH}${process.pid}-`);
  const { database, objects, metrics } = resources;
  const { name, modelName } = options;
  const heartbeat = startHeartbeat(openWatch(database), { name, models: [modelName] });
  try {
    await runWorker({
      ...options,
      objects,
      scratch,
      onSlice: metrics.sliceEnded,
      onStall: metrics.trainerStalled,
      slices: openSlices(database, options),
    });
  } finally {
    await heartbeat[Symbol.asyncDispose]();
    await rm(scratch, { recursive: true, force: true });
  }
}
