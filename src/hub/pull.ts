import { statfs } from "node:fs/promises";
import { dirname, join } from "node:path";
import { MosError } from "#core";
import { makeFolder } from "#formats";
import {
  type CacheEntry,
  cacheEntry,
  describeModel,
  fileSize,
  type PulledModel,
  placeInSnapshot,
  writeRef,
} from "./cache.ts";
import { type Connection, defaultSleep, type Sleep } from "./connection.ts";
import { download } from "./download.ts";
import { cancelled, failureOf, type Subject } from "./failure.ts";
import { type HubFile, listRepository } from "./listing.ts";
import { parseRepository, type Repository } from "./repository.ts";
import { type ListedFile, type Selection, selectFiles } from "./select.ts";
import { checkToken } from "./settings.ts";
import { describeBytes } from "./size.ts";

/** What happens during a pull. Sizes are in bytes; `received` counts what is on this machine, cached files included. */
export type PullEvent =
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
    }
  | { readonly type: "done"; readonly model: PulledModel };

export interface PullOptions {
  /** The hub cache, as Python lays it out: see `hubSettings`. */
  readonly cacheFolder: string;
  readonly endpoint?: string;
  /** Sent to the endpoint's own origin only. */
  readonly token?: string;
  /** Where the repository is written without `@revision`. */
  readonly revision?: string;
  /** File names to take instead of the default choice; `*` stands for anything but a slash. */
  readonly include?: readonly string[];
  readonly signal?: AbortSignal;
  readonly fetch?: typeof fetch;
  readonly sleep?: Sleep;
  /** How often a broken transfer is tried again without getting further. */
  readonly retries?: number;
  readonly stallMilliseconds?: number;
  /** Free bytes on the disk of a folder. */
  readonly freeBytes?: (folder: string) => Promise<number>;
}

/**
 * Downloads a model of the Hugging Face Hub into the cache: only settings, safetensors and GGUF, each checked
 * against the hub's digest. What an interrupted run has downloaded is used; `break` and the signal stop it.
 *
 * @param repository `org/name[@revision][:file.gguf]`.
 * @throws MosError `bad_option`, `not_found`, `unsupported`, `bad_model`, `network`, `storage`, `cancelled`.
 * @example
 * const settings = await hubSettings(process.env, os.homedir());
 * for await (const event of pull("HuggingFaceTB/SmolLM2-135M-Instruct", settings)) {
 *   if (event.type === "done") console.log(event.model.path);
 * }
 */
export async function* pull(
  repository: string,
  options: PullOptions,
): AsyncGenerator<PullEvent, PulledModel> {
  const wanted = parseRepository(repository, options.revision);
  const connection = connect(options);
  const subject: Subject = {
    ...wanted,
    endpoint: connection.endpoint,
    hasToken: connection.token !== undefined,
  };
  const { commit, files: listed } = await listRepository(connection, wanted);
  const selection = selectFiles(listed, wanted, options.include);
  const entry = cacheEntry(options.cacheFolder, wanted.name);
  try {
    const plan = await planPull({ entry, commit, wanted, selection });
    yield {
      type: "listing",
      repository: wanted.name,
      commit,
      files: plan.listed,
      bytes: plan.bytes,
      received: plan.received,
    };
    await expectSpace(plan.bytes - plan.received, entry.root, options.freeBytes);
    yield* fetchAll(connection, plan);
    await writeRef(entry, wanted.revision, commit);
    const model = describeModel(wanted, { entry, commit, selection });
    yield { type: "done", model };
    return model;
  } catch (error) {
    throw failureOf(error, subject, connection.signal).error;
  }
}

function connect(options: PullOptions): Connection {
  const { endpoint = "https://huggingface.co", token } = options;
  if (!URL.canParse(endpoint) || !/^https?:$/.test(new URL(endpoint).protocol)) {
    throw new MosError(
      "bad_option",
      `${JSON.stringify(endpoint)} cannot be a hub; write its address with https://`,
    );
  }
  if (token !== undefined) checkToken(token);
  return {
    endpoint: endpoint.replace(/\/+$/, ""),
    token,
    fetch: options.fetch ?? fetch,
    sleep: options.sleep ?? defaultSleep,
    signal: options.signal,
    retries: options.retries ?? 5,
    stallMilliseconds: options.stallMilliseconds ?? 60_000,
  };
}

interface Request {
  readonly entry: CacheEntry;
  readonly commit: string;
  readonly wanted: Repository;
  readonly selection: Selection<HubFile>;
}

interface PlannedFile {
  readonly file: HubFile;
  readonly blob: string;
  /** Its name in the snapshot folder. */
  readonly name: string;
  /** Bytes that are already here. */
  readonly received: number;
}

interface Plan extends Request {
  readonly planned: readonly PlannedFile[];
  readonly listed: readonly ListedFile[];
  readonly bytes: number;
  readonly received: number;
}

async function planPull(request: Request): Promise<Plan> {
  const { entry, commit, selection } = request;
  const planned: PlannedFile[] = [];
  for (const file of selection.files) {
    const blob = entry.blob(file.digest.hex);
    const name = join(entry.snapshot(commit), file.path);
    planned.push({ file, blob, name, received: await receivedOf(file, [blob, name]) });
  }
  return {
    ...request,
    planned,
    listed: selection.files.map(({ path, size }) => ({ path, size })),
    bytes: selection.files.reduce((sum, { size }) => sum + size, 0),
    received: planned.reduce((sum, { received }) => sum + received, 0),
  };
}

/** A whole file under one of these names, or else what a `.partial` holds. Empty files are always made anew. */
async function receivedOf({ size }: HubFile, [blob, name]: readonly [string, string]): Promise<number> {
  if ((await fileSize(blob)) === size || (await fileSize(name)) === size) return size;
  const partial = (await fileSize(`${blob}.partial`)) ?? 0;
  return partial < size ? partial : 0;
}

async function* fetchAll(connection: Connection, plan: Plan): AsyncGenerator<PullEvent, void> {
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
  | Extract<PullEvent, { type: "file" | "retry" }>
  | { readonly type: "received"; readonly bytes: number };

async function* fetchOne(
  connection: Connection,
  plan: Plan,
  planned: PlannedFile,
): AsyncGenerator<FileEvent, void> {
  const { file, blob, name } = planned;
  const { path, size } = file;
  const { wanted, commit } = plan;
  const { endpoint, token, signal } = connection;
  const subject: Subject = {
    name: wanted.name,
    revision: wanted.revision,
    endpoint,
    hasToken: token !== undefined,
    path,
  };
  if (signal?.aborted) throw cancelled(subject, signal.reason);
  const blobIsWhole = (await fileSize(blob)) === size;
  if (blobIsWhole || (await fileSize(name)) === size) {
    if ((await fileSize(name)) !== size) await placeInSnapshot(blob, name);
    yield { type: "file", path, size, state: "cached" };
    return;
  }
  yield { type: "file", path, size, state: "started" };
  await makeFolder(dirname(blob));
  const url = `${endpoint}/${wanted.name}/resolve/${commit}/${path.split("/").map(encodeURIComponent).join("/")}`;
  for await (const event of download(connection, { url, target: blob, file, subject })) {
    yield event.type === "retry" ? { ...event, path } : event;
  }
  await placeInSnapshot(blob, name);
  yield { type: "file", path, size, state: "complete" };
}

async function expectSpace(needed: number, folder: string, freeBytes = freeBytesOf): Promise<void> {
  await makeFolder(folder);
  const free = await freeBytes(folder);
  if (free >= needed) return;
  throw new MosError(
    "storage",
    `${describeBytes(needed)} are still to be downloaded, but the disk of ${folder} has ${describeBytes(free)} free; ` +
      "make room, or choose another cache folder",
  );
}

async function freeBytesOf(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}
