// Base models that a browser keeps: a folder for each, with a last file that says it is complete.
import { z } from "zod";
import { AsyncQueue, MosError } from "#common";
import { fromFileName, listFolder, pathExists, readJson, toFileName, writeFileAtomic } from "#files";
import { connect, findModelFiles, type HubOptions } from "#hub";
import { openModel } from "#models";
import { basename, extname, join, mkdir, open, rm } from "#platform";
import { type DownloadOptions, download } from "./download.ts";

/** Where they are. */
const MODELS = "/models";

/** The name of the file that completes a model. */
const COMPLETE = ".complete.json";
const recordSchema = z.object({
  bytes: z.number(),
  gguf: z.string().optional(),
  origin: z.string().optional(),
});

/** A model that is kept. */
export interface StoredModel {
  readonly name: string;
  readonly bytes: number;
}

/** A File of a page, as far as it is used. */
export interface PageFile extends Blob {
  readonly name: string;
  readonly webkitRelativePath?: string;
}

/** Where a model comes from. */
export type ModelSource =
  | { readonly stored: string }
  | { readonly files: readonly PageFile[] }
  /** A .gguf file, or a folder whose address ends with /. */
  | { readonly url: string }
  /** A model of the Hub, as Node names it: org/name[@revision][:file.gguf]. */
  | { readonly hub: string };

/** Options of loading a model. */
export interface LoadModelOptions {
  /** Its name here; by default that of the file or folder, or of the repository. */
  readonly name?: string | undefined;
  /** Loads again what is kept of the same address or repository (false). */
  readonly reload?: boolean | undefined;
  /** Files of a folder on the web, with the SHA-256 of each in hexadecimal digits where it is to be checked. */
  readonly files?: Readonly<Record<string, string | undefined>> | undefined;
  /** The address of the Hub or of a mirror, and a token for models that need a login. */
  readonly hub?: Pick<HubOptions, "endpoint" | "token"> | undefined;
}

/** The files that were written so far. */
export interface LoadEvent {
  readonly type: "model";
  readonly file: string;
  readonly doneBytes: number;
  /** Undefined where the server does not say. */
  readonly totalBytes: number | undefined;
}

/** The files of a folder on the web; those that are false need not be there. */
const FOLDER_FILES: Readonly<Record<string, boolean>> = {
  "config.json": true,
  "tokenizer.json": true,
  "tokenizer_config.json": false,
  "generation_config.json": false,
  "chat_template.jinja": false,
  "model.safetensors": true,
};

/** Bytes between two events. */
const STEP = 1 << 20;

const folderOf = (name: string): string => join(MODELS, toFileName(name));

/** What is recorded of the model in a folder; undefined where it is not complete. */
async function readRecord(folder: string): Promise<z.output<typeof recordSchema> | undefined> {
  const path = join(folder, COMPLETE);
  return (await pathExists(path)) ? readJson(path, recordSchema, { code: "storage" }) : undefined;
}

/** The same of a model by its name. Throws MosError `not_found`. */
async function findRecord(name: string): Promise<z.output<typeof recordSchema>> {
  const record = await readRecord(folderOf(name));
  if (record !== undefined) return record;
  throw new MosError("not_found", `the model ${name} is not kept in this browser; load it with loadModel`);
}

/** The path of a kept model: its folder, or its .gguf file. Throws `not_found`. */
export async function modelPath(name: string): Promise<string> {
  const { gguf } = await findRecord(name);
  return gguf === undefined ? folderOf(name) : join(folderOf(name), gguf);
}

/** The models that are kept, by name. */
export async function listModels(): Promise<readonly StoredModel[]> {
  await mkdir(MODELS, { recursive: true });
  const found: StoredModel[] = [];
  for (const file of [...(await listFolder(MODELS))].sort()) {
    const record = await readRecord(join(MODELS, file));
    if (record !== undefined) found.push({ name: fromFileName(file), bytes: record.bytes });
  }
  return found;
}

/** Removes a model, or what was loaded of it. */
export async function removeModel(name: string): Promise<void> {
  // first, so that a worker that is ended leaves no model without some of its files
  await rm(join(folderOf(name), COMPLETE), { force: true });
  await rm(folderOf(name), { recursive: true, force: true });
}

/**
 * Keeps a model, and checks that it can be read. One that is kept of the same address or repository stays as it is. Files of an
 * interrupted download stay, and are continued.
 *
 * @throws MosError `not_found`, `network`, `storage`, `bad_model`, `unsupported`, `cancelled`.
 */
export async function* storeModel(
  source: ModelSource,
  options: LoadModelOptions,
  signal: AbortSignal,
): AsyncGenerator<LoadEvent, StoredModel> {
  const name = options.name ?? nameOf(source);
  const folder = folderOf(name);
  const origin = originOf(source, options);
  const kept = "stored" in source ? undefined : await readRecord(folder);
  const isThere =
    "stored" in source || (origin !== undefined && kept?.origin === origin && options.reload !== true);
  if (!isThere) {
    // another model, or another state of it; what is left of a download stays
    if (kept !== undefined) await removeModel(name);
    await mkdir(folder, { recursive: true });
    const bytes = yield* "files" in source
      ? copyFiles(source.files, folder, signal)
      : fetchFiles(await listDownloads(source, options, signal), folder, signal);
    const gguf = (await listFolder(folder)).find((file) => extname(file) === ".gguf");
    const path = gguf === undefined ? folder : join(folder, gguf);
    await using _ = await openModel(path);
    await writeFileAtomic(join(folder, COMPLETE), JSON.stringify({ bytes, gguf, origin }));
  }
  return { name, bytes: (await findRecord(name)).bytes };
}

/** What says that two sources are the same; undefined for files, which may have changed. */
function originOf(source: ModelSource, { files }: LoadModelOptions): string | undefined {
  if ("url" in source) return JSON.stringify([source.url, files]);
  return "hub" in source ? source.hub : undefined;
}

function nameOf(source: ModelSource): string {
  if ("stored" in source) return source.stored;
  if ("hub" in source) return source.hub;
  const path =
    "url" in source
      ? new URL(source.url).pathname.replace(/\/(resolve\/[^/]+\/)?$/, "")
      : // of a folder that was chosen, the files know the folder
        (source.files[0]?.webkitRelativePath || source.files[0]?.name || "").replace(/\/.*/, "");
  const name = decodeURIComponent(basename(path)).replace(/\.gguf$/, "");
  if (name === "") throw new MosError("bad_option", "loadModel: give the model a name");
  return name;
}

async function* copyFiles(
  files: readonly PageFile[],
  folder: string,
  signal: AbortSignal,
): AsyncGenerator<LoadEvent, number> {
  let [bytes, isWhole] = [0, false];
  try {
    for (const file of files) {
      await using target = await open(join(folder, toFileName(basename(file.name))), "w");
      for (let at = 0; at < file.size; at += STEP) {
        if (signal.aborted) throw new MosError("cancelled", `${file.name}: copying was interrupted`);
        const part = new Uint8Array(await file.slice(at, at + STEP).arrayBuffer());
        await target.write(part, 0, part.length, at);
        yield { type: "model", file: file.name, doneBytes: at + part.length, totalBytes: file.size };
      }
      bytes += file.size;
    }
    isWhole = true;
  } finally {
    if (!isWhole) await rm(folder, { recursive: true });
  }
  return bytes;
}

/** A file that is to be fetched. */
interface WantedFile extends Pick<DownloadOptions, "digest" | "headers"> {
  readonly file: string;
  readonly url: string;
  readonly isNeeded: boolean;
}

async function listDownloads(
  source: Extract<ModelSource, { readonly url: string } | { readonly hub: string }>,
  { files, hub = {} }: LoadModelOptions,
  signal: AbortSignal,
): Promise<readonly WantedFile[]> {
  if ("hub" in source) {
    const { selection, urlOf } = await findModelFiles(connect({ ...hub, signal }), source.hub);
    const headers = hub.token === undefined ? {} : { authorization: `Bearer ${hub.token}` };
    return selection.files.map(({ path, digest }) => ({
      file: basename(path),
      url: urlOf(path),
      digest,
      headers,
      isNeeded: true,
    }));
  }
  const { url } = source;
  const isFolder = url.endsWith("/");
  const one = decodeURIComponent(basename(new URL(url).pathname));
  return Object.keys(files ?? (isFolder ? FOLDER_FILES : { [one]: undefined })).map((file): WantedFile => {
    const sha256 = files?.[file];
    return {
      file,
      url: isFolder ? new URL(file, url).href : url,
      digest: sha256 === undefined ? undefined : { algorithm: "sha256", hex: sha256 },
      isNeeded: files !== undefined || !isFolder || FOLDER_FILES[file] === true,
    };
  });
}

async function* fetchFiles(
  wanted: readonly WantedFile[],
  folder: string,
  signal: AbortSignal,
): AsyncGenerator<LoadEvent, number> {
  let bytes = 0;
  for (const { file, url, isNeeded, ...how } of wanted) {
    let size = 0;
    const isThere = yield* eventsOf<LoadEvent, boolean>((emit) => {
      let shown = -STEP;
      return download(url, join(folder, toFileName(file)), {
        ...how,
        signal,
        onBytes(doneBytes, totalBytes) {
          size = doneBytes;
          if (doneBytes < shown + STEP && doneBytes !== totalBytes) return;
          shown = doneBytes;
          emit({ type: "model", file, doneBytes, totalBytes });
        },
      });
    });
    if (!isThere && isNeeded) throw new MosError("not_found", `${url}: there is no such file`);
    bytes += size;
  }
  return bytes;
}

/** The events that some work emits while it runs, and its result. */
async function* eventsOf<Event, Result>(
  work: (emit: (event: Event) => void) => Promise<Result>,
): AsyncGenerator<Event, Result> {
  const queue = new AsyncQueue<Event>();
  const running = work((event) => queue.push(event)).finally(() => queue.close());
  running.catch(() => undefined); // it is awaited below
  yield* queue;
  return running;
}
