// Brings the files of one commit into the cache: what is cached already, what is downloaded, and where it is linked.
import { dirname, join } from "node:path";
import { assertSpace, makeFolder } from "#files";
import { type CacheEntry, fileSize, placeInSnapshot, writeRef } from "./cache.ts";
import type { Connection } from "./connection.ts";
import { download } from "./download.ts";
import { cancelled, fileUrl, type Resource } from "./failure.ts";
import type { HubFile } from "./listing.ts";
import type { ListedFile } from "./select.ts";

/** Events of a transfer. `doneBytes` counts what is on this machine, cached files included. */
export type TransferEvent =
  | {
      readonly type: "listing";
      readonly repository: string;
      readonly commit: string;
      readonly files: readonly ListedFile[];
      readonly totalBytes: number;
      /** Bytes that are on this machine already. */
      readonly doneBytes: number;
    }
  | {
      readonly type: "file";
      readonly path: string;
      readonly size: number;
      readonly state: "cached" | "started" | "complete";
    }
  | {
      readonly type: "progress";
      readonly path: string;
      /** Bytes of this file. */
      readonly fileDoneBytes: number;
      readonly fileTotalBytes: number;
      /** Bytes of all files. */
      readonly doneBytes: number;
      readonly totalBytes: number;
    }
  | {
      readonly type: "retry";
      readonly path: string;
      readonly attempt: number;
      /** Pause before it. */
      readonly seconds: number;
      readonly message: string;
    };

/** The files of one commit that have to be in the cache. */
interface TransferRequest {
  readonly resource: Resource;
  readonly entry: CacheEntry;
  readonly commit: string;
  readonly files: readonly HubFile[];
  /** Free bytes on the disk of a folder. */
  readonly freeBytes?: ((folder: string) => Promise<number>) | undefined;
}

/**
 * Brings files into the cache, resuming an interrupted run, and records which commit the revision stands for.
 *
 * @throws MosError `not_found`, `network`, `storage`, `cancelled`.
 */
export async function* transfer(
  connection: Connection,
  request: TransferRequest,
): AsyncGenerator<TransferEvent, void> {
  const { resource, entry, commit } = request;
  const plan = await planTransfer(request);
  yield {
    type: "listing",
    repository: resource.name,
    commit,
    files: plan.listed,
    totalBytes: plan.bytes,
    doneBytes: plan.received,
  };
  await assertSpace(entry.root, {
    what: "the rest of the download",
    bytes: plan.bytes - plan.received,
    freeBytes: request.freeBytes,
  });
  yield* fetchAll(connection, plan);
  await writeRef(entry, resource.revision, commit);
}

type Plan = Awaited<ReturnType<typeof planTransfer>>;

async function planTransfer(request: TransferRequest) {
  const { entry, commit, files } = request;
  const planned = [];
  for (const file of files) {
    const blob = entry.blob(file.digest.hex);
    const name = join(entry.snapshot(commit), file.path);
    // bytes that are on this machine already
    const received = await countReceived(file, [blob, name]);
    planned.push({ file, blob, name, received });
  }
  return {
    ...request,
    planned,
    listed: files.map(({ path, size }) => ({ path, size })),
    bytes: files.reduce((sum, { size }) => sum + size, 0),
    received: planned.reduce((sum, { received }) => sum + received, 0),
  };
}

/** A whole file under one of these names, or else what a `.partial` holds. Empty files are always written again. */
async function countReceived({ size }: HubFile, [blob, name]: readonly [string, string]): Promise<number> {
  if ((await fileSize(blob)) === size || (await fileSize(name)) === size) return size;
  const partial = (await fileSize(`${blob}.partial`)) ?? 0;
  return partial < size ? partial : 0;
}

async function* fetchAll(connection: Connection, plan: Plan): AsyncGenerator<TransferEvent, void> {
  let received = plan.received;
  for (const planned of plan.planned) {
    const { path, size } = planned.file;
    let counted = planned.received;
    for await (const event of fetchOne(connection, plan, planned)) {
      if (event.type !== "received") {
        yield event;
        continue;
      }
      received += event.bytes - counted;
      counted = event.bytes;
      const file = { fileDoneBytes: counted, fileTotalBytes: size };
      yield { type: "progress", path, ...file, doneBytes: received, totalBytes: plan.bytes };
    }
  }
}

async function* fetchOne(
  connection: Connection,
  plan: Plan,
  planned: Plan["planned"][number],
): AsyncGenerator<
  Extract<TransferEvent, { type: "file" | "retry" }> | { readonly type: "received"; readonly bytes: number },
  void
> {
  const { file, blob, name } = planned;
  const { path, size } = file;
  const { commit } = plan;
  const { signal } = connection;
  const resource: Resource = { ...plan.resource, path };
  if (signal?.aborted) throw cancelled(resource, signal.reason);
  const blobIsWhole = (await fileSize(blob)) === size;
  if (blobIsWhole || (await fileSize(name)) === size) {
    if ((await fileSize(name)) !== size) await placeInSnapshot(blob, name);
    yield { type: "file", path, size, state: "cached" };
    return;
  }
  yield { type: "file", path, size, state: "started" };
  await makeFolder(dirname(blob));
  const url = fileUrl(resource, commit, path);
  for await (const event of download(connection, { url, target: blob, file, resource })) {
    yield event.type === "retry" ? { ...event, path } : event;
  }
  await placeInSnapshot(blob, name);
  yield { type: "file", path, size, state: "complete" };
}
