// Opens an engine. Its core may have a process of its own: its steps block nothing here, and if it crashes this process survives.
// This is the caller's side; engine-worker.ts is the other one.
import { checkDevice } from "mixture-of-shards-graph";
import { checkCall, MosError, onAbort, withProgress } from "#common";
import { makeTemporaryFolder } from "#files";
import { loadModelText, locatedPath, openModel } from "#models";
import { type Child, moduleBeside, startChild } from "#process";
import { type LoadedText, withVariables } from "#text";
import type { CoreStats } from "./core-stats.ts";
import { EngineClient } from "./engine-client.ts";
import type { CoreListener, EngineCore } from "./engine-core.ts";
import {
  answerDefaults,
  type CoreOptions,
  type EngineOptions,
  engineKinds,
  type ModelWithText,
} from "./engine-options.ts";
import type { EngineMethods } from "./engine-worker.ts";
import { type OpenedCore, openCore } from "./open-core.ts";
import type { AdapterInfo, Engine, EngineEvent, FullRequest } from "./types.ts";
import { removeUnfinished } from "./weight-cache.ts";

/**
 * Opens a model, with adapters if there are any.
 *
 * @throws MosError what loading a model throws, `bad_option`, `not_found` for an adapters' folder that is not there,
 * `bad_adapter` for a merged adapter that cannot be used, `cancelled`, `device`.
 * @example
 * await using engine = await openEngine({ model: "assets/tiny-english" });
 * for await (const event of engine.complete("Once upon a time")) if (event.type === "token") process.stdout.write(event.text);
 */
export async function openEngine(options: EngineOptions): Promise<Engine> {
  checkCall<EngineOptions>("openEngine", options, engineKinds);
  checkDevice(options.device);
  const {
    model,
    inProcess = false,
    defaults: given = {},
    chatTemplateKwargs,
    silentSeconds = 30,
    onProgress = () => undefined,
    signal,
    now,
    hub,
    onDownload,
    ...settings
  } = options;
  const path = typeof model === "string" ? await locatedPath(model, { hub, onDownload, signal }) : undefined;
  const read = async () => {
    const text = path === undefined ? (model as ModelWithText).text : await loadText(path, now);
    const template = withVariables(text.template, chatTemplateKwargs);
    return { text: { ...text, template }, defaults: answerDefaults(given, text.generation) };
  };
  if (inProcess || path === undefined) {
    const textAndDefaults = await read();
    const opened = await openCore({ ...settings, model: path ?? model }, { onProgress, signal });
    return new EngineClient({ ...opened, ...textAndDefaults });
  }
  // this process reads tokenizer and defaults while the other one opens the core, and ends that if it cannot
  const stop = new AbortController();
  // AbortSignal.any of Node 20 loses signals of AbortSignal.timeout
  const following = onAbort(signal, () => stop.abort(signal?.reason));
  const calls = { onProgress, signal: stop.signal, silentSeconds };
  const opening = openWorkerCore({ ...settings, model: path }, calls);
  // it may fail before it is waited for
  void opening.catch(() => undefined).finally(() => following[Symbol.dispose]());
  const textAndDefaults = await read().catch(async (cause: unknown) => {
    stop.abort(cause);
    await opening.then(
      ({ core }) => core[Symbol.asyncDispose](), // it was open just before
      () => undefined,
    );
    throw cause;
  });
  const engine = new EngineClient({ ...(await opening), ...textAndDefaults });
  if (signal?.aborted !== true) return engine;
  await engine[Symbol.asyncDispose]();
  throw new MosError("cancelled", "opening the engine was interrupted", { cause: signal.reason });
}

async function loadText(path: string, now: Date | undefined): Promise<LoadedText> {
  await using files = await openModel(path);
  return await loadModelText(files.source, { now }); // before the file is closed
}

/** Arrays of their own: those that were received keep the whole message in memory. */
const withOwnArrays = (events: readonly EngineEvent[]): readonly EngineEvent[] =>
  events.map((event) => {
    if (event.type === "embedding") return { ...event, vector: event.vector.slice() };
    return (event.type === "token" || event.type === "prompt") && event.logprobs !== undefined
      ? { ...event, logprobs: event.logprobs.slice() }
      : event;
  });

const toMosError = (error: unknown): MosError =>
  error instanceof MosError
    ? error
    : new MosError("device", `the engine failed: ${error instanceof Error ? error.stack : String(error)}`);

const silent = (): MosError => new MosError("device", "the engine process does not respond");

/** Seconds that opening has to end in when it is stopped. */
const OPEN_STOP_SECONDS = 2;
/** Seconds that the process has to end in when it is asked to, and where it does not answer anyway. */
const STOP_SECONDS = { responding: 10, silent: 1 };

/** Seconds between two beats: often enough to notice that some are missing. */
const heartbeatInterval = (silentSeconds: number): number =>
  silentSeconds > 0 ? Math.min(5, silentSeconds / 4) : 5;

/** Opens a core in a new process. Throws what opening throws, `device`, `cancelled`. */
export async function openWorkerCore(
  settings: CoreOptions,
  {
    onProgress,
    signal,
    silentSeconds,
  }: Pick<EngineOptions, "signal"> & Required<Pick<EngineOptions, "onProgress" | "silentSeconds">>,
): Promise<OpenedCore> {
  const throwIfAborted = (): void => {
    if (signal?.aborted === true)
      throw new MosError("cancelled", "opening the engine was interrupted", { cause: signal.reason });
  };
  throwIfAborted();
  // files that the process writes while it opens may be as large as the model, and must not stay when it is killed
  const folder = await makeTemporaryFolder("mos-engine-");
  const child = startChild<EngineMethods>(moduleBeside(import.meta.url, "engine-worker"), {
    temporaryFolder: folder,
    heartbeatSeconds: heartbeatInterval(silentSeconds),
    exitError: (how) => new MosError("device", `the engine process failed: it ended with ${how}`),
  });
  try {
    // between two weights it stops by itself, and removes what it was writing; while programs are compiled it receives nothing
    const opening = child.stream("open", settings, { signal, killAfter: OPEN_STOP_SECONDS });
    const facts = await withProgress(opening, onProgress);
    throwIfAborted();
    return { core: new WorkerCore(child, silentSeconds), ...facts };
  } catch (error) {
    await child[Symbol.asyncDispose]();
    await removeUnfinishedCache(settings);
    throwIfAborted();
    throw toMosError(error);
  }
}

/** A killed process leaves half of the packed weights that it was keeping. */
async function removeUnfinishedCache({ model, cacheFolder }: CoreOptions): Promise<void> {
  try {
    await using files = await openModel(model);
    await removeUnfinished(files, cacheFolder);
  } catch {} // a model that cannot be opened has none
}

class WorkerCore implements EngineCore {
  readonly closed: Promise<MosError | undefined>;
  readonly #child: Child<EngineMethods>;
  readonly #rejectCalls = new Set<(error: MosError) => void>();
  #resolveClosed: (failure: MosError | undefined) => void = () => undefined;
  /** The loop, where it was started. */
  #running: Promise<void> = Promise.resolve();
  #disposal: Promise<void> | undefined;
  /** Reason of killing it in the end. */
  #overdue: MosError | undefined;
  #isResponding = true;

  constructor(child: Child<EngineMethods>, silentSeconds: number) {
    this.#child = child;
    if (silentSeconds > 0) this.#listenForSilence(silentSeconds);
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
  }

  get isResponding(): boolean {
    return this.#isResponding;
  }

  start(listener: CoreListener): void {
    this.#running = this.#run(listener).then(
      () => this.#resolveClosed(undefined),
      (error) => this.#resolveClosed(this.#disposal === undefined ? toMosError(error) : this.#overdue),
    );
  }

  setGrammar(digest: string, grammar: Uint8Array | undefined): void {
    this.#child.notify("setGrammar", { digest, grammar });
  }

  submit(id: number, request: FullRequest): void {
    this.#child.notify("submit", { id, request });
  }

  cancel(id: number): void {
    this.#child.notify("cancel", id);
  }

  refreshAdapters(): Promise<readonly AdapterInfo[]> {
    return this.#call("refresh");
  }

  stats(): Promise<CoreStats> {
    return this.#call("stats");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposal ??= this.#close();
    await this.#disposal;
  }

  async #run(listener: CoreListener): Promise<void> {
    for await (const report of this.#child.stream("run", undefined)) {
      if ("adapters" in report) {
        listener.onAdapters(...report.adapters);
        continue;
      }
      const [updates] = report.output;
      listener.onOutput(updates.map((update) => ({ ...update, events: withOwnArrays(update.events) })));
    }
  }

  async #close(): Promise<void> {
    // a process that breaks meanwhile is closed too
    const closing = this.#child.call("close", undefined).catch(() => undefined);
    const seconds = this.#isResponding ? STOP_SECONDS.responding : STOP_SECONDS.silent;
    const kill = setTimeout(() => {
      this.#overdue = new MosError(
        "device",
        `the engine process did not exit within ${seconds} s and was killed`,
      );
      this.#child.kill();
    }, seconds * 1000);
    await Promise.all([closing, this.#running]);
    clearTimeout(kill);
    await this.#child[Symbol.asyncDispose]();
    this.#resolveClosed(this.#overdue); // of a core that was not started
  }

  #listenForSilence(seconds: number): void {
    const every = heartbeatInterval(seconds);
    let missing = 0;
    this.#child.onHeartbeat = () => {
      missing = 0;
      this.#isResponding = true;
    };
    // counted, not timed: this process may have been stopped itself
    const timer = setInterval(() => {
      missing++;
      if (missing * every <= seconds) return;
      this.#isResponding = false;
      for (const reject of this.#rejectCalls) reject(silent());
    }, every * 1000);
    timer.unref();
    void this.#child.exited.then(() => clearInterval(timer));
  }

  #call<N extends "stats" | "refresh">(name: N): Promise<Awaited<ReturnType<EngineMethods[N]>>> {
    if (!this.#isResponding) return Promise.reject(silent());
    return new Promise((resolve, reject) => {
      this.#rejectCalls.add(reject);
      const settle = (): void => void this.#rejectCalls.delete(reject);
      void this.#child
        .call(name, undefined)
        .then(resolve, (error) => reject(toMosError(error)))
        .finally(settle);
    });
  }
}
