// Fine-tuning and chat in a page: the names of the package, answered by a worker.
import { Caller, MosError, withProgress } from "#common";
import type { ChatRequest, EngineEvent, Prompt } from "#inference";
import type { FinetuneEvent } from "#training";
import type { ImportedAdapter, StoredAdapter } from "./adapters.ts";
import { type Port, portChannel } from "./channel.ts";
import type { WebData, WebFinetune, WebGenerate } from "./host.ts";
import type { LoadEvent, LoadModelOptions, ModelSource, PageFile, StoredModel } from "./models.ts";
import type { WebDevice, WorkerMethods } from "./worker.ts";

export type { LoadEvent, PageFile, StoredAdapter, StoredModel, WebData, WebDevice };

/** Options of `openWeb`. */
export interface WebOptions {
  /** "wasm" computes on the CPU of every browser, "webgpu" on its GPU; "auto" on a GPU where there is one ("auto"). */
  readonly device?: WebDevice | "auto" | undefined;
  /** Threads of WebAssembly: as many as cores, at most 4; 1 in a page that is not isolated from other origins. */
  readonly threads?: number | undefined;
  /**
   * The address of a folder with the files of onnxruntime-web/dist. A page that is built needs none: its bundler finds the package
   * onnxruntime-web.
   */
  readonly runtime?: string | URL | undefined;
  /** The worker, for a page that starts it in another way than from worker.js beside this module. */
  readonly worker?: PageWorker | undefined;
}

/** A Worker of a page, as far as it is used. */
export interface PageWorker extends Port {
  /** As of every Worker: its errors, among others. */
  addEventListener(type: string, listener: (event: never) => void): void;
  /** Ends it at once. */
  terminate(): void;
}

/**
 * What a model can be loaded from: one file (GGUF), the files of a folder, an address, a model of the Hub, or the name of one that
 * is kept. Text of the form `org/name[@revision][:file.gguf]` is a model of the Hub, other text with a slash is an address.
 */
export type WebModelSource = PageFile | ArrayLike<PageFile> | URL | string;

/** Options of `loadModel`. */
export interface WebLoadOptions extends LoadModelOptions {
  /** Told the bytes so far. */
  readonly onProgress?: ((event: LoadEvent) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Options of `finetune`: those of Node, with models and adapters by name. */
export interface WebFinetuneOptions extends Omit<WebFinetune, "model"> {
  readonly model: string | StoredModel;
  readonly signal?: AbortSignal | undefined;
}

/** Options of `generate`: an adapter by name, and those of a request. */
export interface WebGenerateOptions
  extends Pick<WebGenerate, "adapter" | "maxLength">,
    Pick<ChatRequest, "maxTokens" | "sampling" | "signal" | "stop"> {}

/** The library in a page. Disposing it ends the worker, whatever it does: a run goes on from its last checkpoint with `resume`. */
export interface Web extends AsyncDisposable {
  /** What it computes on. */
  readonly device: WebDevice;
  /**
   * Keeps a model in this browser, and returns its name. A download that was interrupted is continued.
   *
   * @throws MosError `not_found`, `network`, `storage`, `bad_model`, `unsupported`, `cancelled`.
   * @example
   * const model = await mos.loadModel("HuggingFaceTB/SmolLM2-135M-Instruct", {
   *   onProgress: ({ file, doneBytes, totalBytes }) => show(`${file}: ${doneBytes} of ${totalBytes}`),
   * });
   */
  loadModel(source: WebModelSource, options?: WebLoadOptions): Promise<StoredModel>;
  /**
   * Fine-tunes an adapter, which is kept under the name `out`; events as on Node. Aborting saves and ends.
   *
   * @throws MosError as `finetune` on Node; `storage` where the browser gives no more space.
   * @example
   * for await (const event of mos.finetune({ model, data: [file], out: "notes", resume: true, signal }))
   *   if (event.type === "step") show(event.step, event.loss);
   */
  finetune(options: WebFinetuneOptions): AsyncGenerator<FinetuneEvent, void>;
  /**
   * Answers a prompt.
   *
   * @example
   * for await (const event of mos.generate(model, "Dear diary,", { adapter: "notes", maxTokens: 50 }))
   *   if ("text" in event) write(event.text);
   */
  generate(
    model: string | StoredModel,
    prompt: Prompt,
    options?: WebGenerateOptions,
  ): AsyncGenerator<EngineEvent, void>;
  /**
   * An adapter as one file: a tar of its folder, which Node reads when it is unpacked.
   *
   * @example
   * link.href = URL.createObjectURL(await mos.exportAdapter("notes"));
   * link.download = "notes.tar";
   */
  exportAdapter(name: string): Promise<Blob>;
  /**
   * An adapter as the form that `POST /v1/adapters` of a server takes.
   *
   * @example
   * await fetch("https://example.org/v1/adapters", { method: "POST", body: await mos.adapterForm("notes"), headers });
   */
  adapterForm(name: string): Promise<FormData>;
  /**
   * Keeps an adapter: an archive of `exportAdapter`, or the files of its folder.
   *
   * @throws MosError `bad_adapter`, `storage`, `bad_option` for a name that is taken.
   * @example
   * await mos.importAdapter(input.files, { name: "notes" });
   */
  importAdapter(
    files: Blob | ArrayLike<PageFile>,
    options?: Omit<ImportedAdapter, "files">,
  ): Promise<StoredAdapter>;
  /**
   * What is kept in this browser.
   *
   * @example
   * const { models, adapters } = await mos.list();
   */
  list(): Promise<{ readonly models: readonly StoredModel[]; readonly adapters: readonly StoredAdapter[] }>;
  /** Removes an adapter, with its run. */
  remove(name: string): Promise<void>;
  /** Removes a model; its adapters stay. */
  removeModel(name: string): Promise<void>;
  /** Where models and adapters are kept, and how much of that is free. */
  storage(): Promise<WebStorage>;
}

/** The place of models and adapters. */
export interface WebStorage {
  /** Bytes that this origin uses, and may use. */
  readonly usage: number;
  readonly quota: number;
  /** False where the browser keeps nothing: then all is gone with the page. */
  readonly isKept: boolean;
  /** True where the browser does not remove it when its disk is full. */
  readonly isPersistent: boolean;
}

/** What is used of a page that Node's types do not have. */
interface Page {
  readonly Worker: new (url: URL, options: { readonly type: "module" }) => PageWorker;
  readonly crossOriginIsolated?: boolean;
  readonly location?: { readonly href: string };
  readonly navigator?: {
    readonly hardwareConcurrency?: number;
    readonly storage?: {
      estimate(): Promise<{ readonly usage?: number; readonly quota?: number }>;
      persist(): Promise<boolean>;
      persisted(): Promise<boolean>;
    };
  };
}

declare const Worker: Page["Worker"];
const page = globalThis as unknown as Omit<Page, "Worker">;

/** Threads beyond which WebAssembly gains nothing with models of this size. */
const MAX_THREADS = 4;

/**
 * Starts the worker of a page.
 *
 * @throws MosError `device` where the worker does not start.
 * @example
 * await using mos = await openWeb();
 * const model = await mos.loadModel("/models/tiny-english/");
 * for await (const event of mos.finetune({ model, data: [{ prompt: "Hi", completion: "Ahoy!" }], out: "pirate" }))
 *   if (event.type === "step") show(event.loss);
 * for await (const event of mos.generate(model, [{ role: "user", content: "Hi" }], { adapter: "pirate" }))
 *   if ("text" in event) write(event.text);
 */
export async function openWeb({ device = "auto", threads, runtime, worker }: WebOptions = {}): Promise<Web> {
  const started = worker ?? new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  const caller = new Caller<WorkerMethods>(portChannel(started));
  started.addEventListener("error", ({ message }: { readonly message?: string }) => {
    caller.fail(new MosError("device", `the worker failed: ${message ?? "its script could not be loaded"}`));
  });
  const cores = Math.min(MAX_THREADS, page.navigator?.hardwareConcurrency ?? 1);
  const isIsolated = page.crossOriginIsolated === true;
  const url = runtime === undefined ? undefined : toUrl(runtime);
  const { isKept, ...opened } = await caller.call("open", {
    device,
    threads: isIsolated ? (threads ?? cores) : 1,
    url,
  });
  return {
    ...opened,
    async loadModel(source, { onProgress, signal, ...options } = {}) {
      await page.navigator?.storage?.persist();
      const wanted = { ...options, source: toSource(source) };
      return await withProgress(caller.stream("loadModel", wanted, { signal }), onProgress);
    },
    finetune: ({ model, signal, ...options }) =>
      caller.stream("finetune", { ...options, model: nameOf(model) }, { signal }),
    generate: (model, prompt, { adapter, maxLength, signal, ...request } = {}) =>
      caller.stream("generate", { model: nameOf(model), prompt, adapter, maxLength, request }, { signal }),
    exportAdapter: async (name) => (await caller.call("exportAdapter", { name })).archive,
    async adapterForm(name) {
      const { config, tensors } = await caller.call("exportAdapter", { name });
      const form = new FormData();
      form.set("name", name);
      form.set("adapter_config", config, "adapter_config.json");
      form.set("adapter_model", tensors, "adapter_model.safetensors");
      return form;
    },
    importAdapter: (files, options = {}) =>
      caller.call("importAdapter", {
        ...options,
        files: files instanceof Blob ? [files] : Array.from(files),
      }),
    list: () => caller.call("list", undefined),
    remove: (name) => caller.call("remove", { name }),
    removeModel: (name) => caller.call("removeModel", { name }),
    async storage() {
      const { storage } = page.navigator ?? {};
      const { usage = 0, quota = 0 } = (await storage?.estimate()) ?? {};
      return { usage, quota, isKept, isPersistent: (await storage?.persisted()) ?? false };
    },
    async [Symbol.asyncDispose]() {
      caller.fail(new MosError("cancelled", "the worker was closed"));
      started.terminate();
    },
  };
}

const nameOf = (model: string | StoredModel): string => (typeof model === "string" ? model : model.name);

const toUrl = (address: string | URL): string => new URL(address, page.location?.href).href;

const HUB_MODEL = /^[\w-][\w.-]*\/[\w.-]+(?<!\.gguf)(?:[@:].+)?$/;

/** The name of a model that is kept has no slash, but for one of the Hub. */
function toSource(source: WebModelSource): ModelSource {
  if (typeof source === "string" && !source.includes("/")) return { stored: source };
  if (typeof source === "string" && HUB_MODEL.test(source)) return { hub: source };
  if (typeof source === "string" || source instanceof URL) return { url: toUrl(source) };
  return { files: "length" in source ? Array.from(source) : [source] };
}
