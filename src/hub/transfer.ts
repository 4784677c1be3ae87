// From a list of files of one commit to files in the cache: what is here already, what is fetched, and where it is put.
import { dirname, join } from "node:path";
import { expectSpace, makeFolder } from "#storage";
import { type CacheEntry, fileSize, placeInSnapshot, writeRef } from "./cache.ts";
import type { Connection } from "./connection.ts";
import { download } from "./download.ts";
import { cancelled, pageOf, type Subject } from "./failure.ts";
import type { HubFile } from "./listing.ts";
import type { ListedFile } from "./select.ts";

/** What happens while files come. Sizes are in bytes; `received` counts what is on this machine, cached files included. */
export type TransferEvent =
  | {
      readonly type: "listing";
      readonly repository: string;
      readonly commit: string;
      readonly files: readonly ListedFile[];
      readonly bytes: number;
      /** What is already here. */
      readonly received: number;
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
      readonly fileReceived: number;
      readonly fileBytes: number;
      readonly received: number;
      readonly bytes: number;
    }
  | {
      readonly type: "retry";
      readonly path: string;
      readonly attempt: number;
      readonly seconds: number;
      readonly reason: string;
    };

/** The files of one commit that have to be in the cache. */
export interface TransferRequest {
  readonly subject: Subject;
  readonly entry: CacheEntry;
  readonly commit: string;
  readonly files: readonly HubFile[];
  /** Free bytes on the disk of a folder. */
  readonly freeBytes?: ((folder: string) => Promise<number>) | undefined;
}

/**
 * Brings files into the cache: uses what an interrupted run left, and remembers which commit the revision meant.
 *
 * @throws MosError `not_found`, `network`, `storage`, `cancelled`.
 */
export async function* transfer(
  connection: Connection,
  request: TransferRequest,
): AsyncGenerator<TransferEvent, void> {
  const { subject, entry, commit } = request;
  const plan = await planTransfer(request);
  yield {
    type: "listing",
    repository: subject.name,
    commit,
    files: plan.listed,
    bytes: plan.bytes,
    received: plan.received,
  };
  await expectSpace(entry.root, {
    what: "what is still to be downloaded",
    bytes: plan.bytes - plan.received,
    freeBytes: request.freeBytes,
  });
  yield* fetchAll(connection, plan);
  await writeRef(entry, subject.revision, commit);
}

interface PlannedFile {
  readonly file: HubFile;
  readonly blob: string;
  /** Its name in the snapshot folder. */
  readonly name: string;
  /** Bytes that are already here. */
  readonly received: number;
}

interface Plan extends TransferRequest {
  readonly planned: readonly PlannedFile[];
  readonly listed: readonly ListedFile[];
  readonly bytes: number;
  readonly received: number;
}

async function planTransfer(request: TransferRequest): Promise<Plan> {
  const { entry, commit, files } = request;
  const planned: PlannedFile[] = [];
  for (const file of files) {
    const blob = entry.blob(file.digest.hex);
    const name = join(entry.snapshot(commit), file.path);
    planned.push({ file, blob, name, received: await receivedOf(file, [blob, name]) });
  }
  return {
    ...request,
    planned,
    listed: files.map(({ path, size }) => ({ path, size })),
    bytes: files.reduce((sum, { size }) => sum + size, 0),
    received: planned.reduce((sum, { received }) => sum + received, 0),
  };
}

/** A whole file under one of these names, or else what a `.partial` holds. Empty files are always made anew. */
async function receivedOf({ size }: HubFile, [blob, name]: readonly [string, string]): Promise<number> {
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
      yield { type: "progress", path, fileReceived: counted, fileBytes: size, received, bytes: plan.bytes };
    }
  }
}

type FileEvent =
  | Extract<TransferEvent, { type: "file" | "retry" }>
  | { readonly type: "received"; readonly bytes: number };

async function* fetchOne(
  connection: Connection,
  plan: Plan,
  planned: PlannedFile,
): AsyncGenerator<FileEvent, void> {
  const { file, blob, name } = planned;
  const { path, size } = file;
  const { commit } = plan;
  const { signal } = connection;
  const subject: Subject = { ...plan.subject, path };
  if (signal?.aborted) throw cancelled(subject, signal.reason);
  const blobIsWhole = (await fileSize(blob)) === size;
  if (blobIsWhole || (await fileSize(name)) === size) {
    if ((await fileSize(name)) !== size) await placeInSnapshot(blob, name);
    yield { type: "file", path, size, state: "cached" };
    return;
  }
  yield { type: "file", path, size, state: "started" };
  await makeFolder(dirname(blob));
  const url = `${pageOf(subject)}/resolve/${commit}/${path.split("/").map(encodeURIComponent).join("/")}`;
  for await (const event of download(connection, { url, target: blob, file, subject })) {
    yield event.type === "retry" ? { ...event, path } : event;
  }
  await placeInSnapshot(blob, name);
  yield { type: "file", path, size, state: "complete" };
}
