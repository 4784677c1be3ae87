// What the worker of a page does, by method: the library's own functions, on the files of the browser.

import type { Device } from "mixture-of-shards-graph";
import { chooseRuntime, type RuntimeSource } from "mixture-of-shards-graph/web";
import { type CallContext, MosError, omitUndefined } from "#common";
import { readBytes } from "#files";
import { type Engine, type EngineEvent, openEngine, type Prompt } from "#inference";
import { join, mkdir, open, randomUUID, rm } from "#platform";
import { type FinetuneEvent, type FinetuneOptions, finetune } from "#training";
import {
  adapterFolder,
  exportAdapter,
  type ImportedAdapter,
  importAdapter,
  listStored,
  removeAdapter,
} from "./adapters.ts";
import { emitAll } from "./channel.ts";
import {
  type LoadEvent,
  type LoadModelOptions,
  listModels,
  type ModelSource,
  modelPath,
  type PageFile,
  removeModel,
  storeModel,
} from "./models.ts";

/** Options of a worker. */
export interface HostOptions extends RuntimeSource {
  readonly device: Device;
}

/** Data of a run: examples as lines of a file would have them, or files of a format that Node reads. */
export type WebData = readonly NonNullable<unknown>[] | readonly PageFile[];

/** What `finetune` takes here: models and adapters by name, and nothing that cannot be sent to a worker. */
export interface WebFinetune
  extends Pick<
    FinetuneOptions,
    "settings" | "resume" | "overwrite" | "keepVersions" | "maxTokens" | "tensorboard"
  > {
  readonly model: string;
  readonly data: WebData;
  readonly validationData?: WebData | undefined;
  /** The name of the adapter. */
  readonly out: string;
  /** Settings of a new adapter, or the name of one that is trained further. */
  readonly adapter?: FinetuneOptions["adapter"];
}

/** What `generate` takes here. */
export interface WebGenerate {
  readonly model: string;
  readonly prompt: Prompt;
  readonly adapter?: string | undefined;
  /** The longest sequence, prompt and answer together. */
  readonly maxLength?: number | undefined;
  /** Options of the request. */
  readonly request: object;
}

/** The methods of a worker. */
export function openHost({ device, ...runtime }: HostOptions) {
  chooseRuntime({
    ...runtime,
    device,
    readFile: (path) => readBytes(path, { code: "storage", maximumBytes: 2 ** 32 }),
  });
  // stays open for the next prompt
  let opened: { readonly key: string; readonly engine: Engine } | undefined;
  const close = async (): Promise<void> => {
    const { engine } = opened ?? {};
    opened = undefined;
    await engine?.[Symbol.asyncDispose]();
  };
  const engineFor = async ({ model, adapter, maxLength = 8192 }: WebGenerate): Promise<Engine> => {
    const key = JSON.stringify([model, adapter, maxLength]);
    if (opened?.key === key) return opened.engine;
    await close();
    const engine = await openEngine({
      model: await modelPath(model),
      inProcess: true,
      mergedAdapter: adapter === undefined ? undefined : adapterFolder(adapter),
      weightCache: false,
      maxLength,
      device,
    });
    opened = { key, engine };
    return engine;
  };
  /** Memory is not for two: the engine is closed before a run, and before what it holds is replaced. */
  const alone = async <Result>(work: () => Promise<Result>): Promise<Result> => {
    await close();
    return await work();
  };
  return {
    loadModel: (
      { source, ...options }: { source: ModelSource } & LoadModelOptions,
      context: CallContext<LoadEvent>,
    ) => alone(() => emitAll(storeModel(source, options, context.signal), context)),
    finetune: (options: WebFinetune, context: CallContext<FinetuneEvent>) =>
      alone(() => emitAll(runFinetune(options, { device, signal: context.signal }), context)),
    async generate(options: WebGenerate, context: CallContext<EngineEvent>): Promise<void> {
      const engine = await engineFor(options);
      const { prompt, request } = options;
      const how = { ...request, signal: context.signal };
      const events = typeof prompt === "string" ? engine.complete(prompt, how) : engine.chat(prompt, how);
      await emitAll(events, context);
    },
    exportAdapter: ({ name }: { name: string }) => exportAdapter(name),
    importAdapter: (given: ImportedAdapter) => alone(() => importAdapter(given)),
    list: async () => ({ models: await listModels(), adapters: await listStored() }),
    remove: ({ name }: { name: string }) => alone(() => removeAdapter(name)),
    removeModel: ({ name }: { name: string }) => alone(() => removeModel(name)),
  };
}

async function* runFinetune(
  { model, data, validationData, out, adapter, ...options }: WebFinetune,
  { device, signal }: { readonly device: Device; readonly signal: AbortSignal },
): AsyncGenerator<FinetuneEvent, void> {
  const folder = join("/tmp", `data-${randomUUID()}`);
  await mkdir(folder, { recursive: true });
  const start = adapter !== undefined && "from" in adapter ? { from: adapterFolder(adapter.from) } : adapter;
  try {
    await mkdir("/adapters", { recursive: true });
    yield* finetune({
      ...options,
      model: await modelPath(model),
      data: await dataOf(data, folder),
      ...omitUndefined({
        validationData: validationData && (await dataOf(validationData, folder)),
        adapter: start,
      }),
      out: adapterFolder(out),
      session: { device },
      signal,
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Examples as they are, files by their paths. */
async function dataOf(data: WebData, folder: string): Promise<FinetuneOptions["data"]> {
  const paths: string[] = [];
  for (const one of data) {
    if (!(one instanceof Blob)) return data as FinetuneOptions["data"];
    const name = "name" in one ? String(one.name) : "";
    if (name === "") throw new MosError("bad_option", "finetune: data must be examples or files with names");
    const path = join(folder, name.replaceAll("/", "-"));
    await using file = await open(path, "w");
    await file.writeFile(new Uint8Array(await one.arrayBuffer()));
    paths.push(path);
  }
  return paths;
}
