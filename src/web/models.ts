// Base models that a browser keeps: a folder for each, with a last file that says it is complete.
import { z } from "zod";
import { AsyncQueue, MosError } from "#core";
import { fromFileName, listFolder, pathExists, readJson, toFileName, writeFileAtomic } from "#files";
import { openModel } from "#models";
import { basename, extname, join, mkdir, open, rm } from "#platform";
import { download } from "./download.ts";

/** Where they are. */
const MODELS = "/models";

/** The name of the file that completes a model. */
const COMPLETE = ".complete.json";
const recordSchema = z.object({ bytes: z.number(), gguf: z.string().optional() });

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
  | { readonly url: string };

/** Options of loading a model. */
export interface LoadModelOptions {
  /** Its name here; by default that of the file or folder. */
  readonly name?: string | undefined;
  /** Files of a folder on the web, with the SHA-256 of each in hexadecimal digits where it is to be checked. */
  readonly files?: Readonly<Record<string, string | undefined>> | undefined;
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

/**
 * The path of a kept model: its folder, or its .gguf file.
 *
 * @throws MosError `not_found`.
 */
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
export const removeModel = (name: string): Promise<void> =>
  rm(folderOf(name), { recursive: true, force: true });

/**
 * Keeps a model, and checks that it can be read. Files of an interrupted download stay, and are continued.
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
  if (!("stored" in source)) {
    await mkdir(folder, { recursive: true });
    await rm(join(folder, COMPLETE), { force: true });
    const parts =
      "url" in source
        ? fetchModel(source.url, folder, { ...options, signal })
        : copyFiles(source.files, folder, signal);
    const bytes = yield* parts;
    const gguf = (await listFolder(folder)).find((file) => extname(file) === ".gguf");
    const path = gguf === undefined ? folder : join(folder, gguf);
    await using _ = await openModel(path);
    await writeFileAtomic(join(folder, COMPLETE), JSON.stringify({ bytes, gguf }));
  }
  return { name, bytes: (await findRecord(name)).bytes };
}

function nameOf(source: ModelSource): string {
  if ("stored" in source) return source.stored;
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
  let bytes = 0;
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
  return bytes;
}

interface FetchOptions extends LoadModelOptions {
  readonly signal: AbortSignal;
}

async function* fetchModel(
  url: string,
  folder: string,
  { files, signal }: FetchOptions,
): AsyncGenerator<LoadEvent, number> {
  const isFolder = url.endsWith("/");
  const one = decodeURIComponent(basename(new URL(url).pathname));
  const names = Object.keys(files ?? (isFolder ? FOLDER_FILES : { [one]: undefined }));
  let bytes = 0;
  for (const file of names) {
    let size = 0;
    const events = eventsOf<LoadEvent, boolean>((emit) => {
      let shown = -STEP;
      return download(isFolder ? new URL(file, url).href : url, join(folder, toFileName(file)), {
        signal,
        sha256: files?.[file],
        onBytes(doneBytes, totalBytes) {
          size = doneBytes;
          if (doneBytes < shown + STEP && doneBytes !== totalBytes) return;
          shown = doneBytes;
          emit({ type: "model", file, doneBytes, totalBytes });
        },
      });
    });
    const isThere = yield* events;
    const isNeeded = files !== undefined || !isFolder || FOLDER_FILES[file] === true;
    if (!isThere && isNeeded) throw new MosError("not_found", `${url}: there is no ${file}`);
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
