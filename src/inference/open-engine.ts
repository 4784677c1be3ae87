// An engine in a process of its own: its steps never hold up the one that talks to clients, nor does its end end that.
import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { childOptions, MosError } from "#core";
import { EventStream } from "./event-stream.ts";
import type { OpenProgress } from "./local-engine.ts";
import type { FromEngine, Questions, SentError, ToEngine } from "./messages.ts";
import type { EngineSettings } from "./settings.ts";
import type { AdapterInfo, Engine, EngineEvent, EngineModel, EngineRequest, EngineStats } from "./types.ts";

/** What is served, and how opening is watched and stopped. */
export interface OpenEngineOptions extends EngineSettings {
  readonly onProgress?: (progress: OpenProgress) => void;
  /** Stops opening; an open engine is closed by disposing it. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Opens a model with the adapters of a folder.
 *
 * @throws MosError what loading a model throws, `bad_option`, `not_found` for an adapters' folder that is not there.
 * @example
 * await using engine = await openEngine({ model: "assets/tiny-english" });
 * for await (const event of engine.submit({ prompt: [1, 2, 3] })) if (event.type === "token") process.stdout.write(event.text);
 */
export async function openEngine({ onProgress, signal, ...settings }: OpenEngineOptions): Promise<Engine> {
  if (signal?.aborted === true) throw stopped(signal);
  const child = startProcess();
  const stop = (): void => void child.kill("SIGKILL");
  signal?.addEventListener("abort", stop, { once: true });
  try {
    return await new Promise<RemoteEngine>((resolve, reject) => {
      child.on("message", (message: FromEngine) => {
        if (message.type === "progress") onProgress?.(message.progress);
        else if (message.type === "open") resolve(new RemoteEngine(child, message));
        else if (message.type === "refused") reject(received(message.error));
      });
      child.once("error", (cause) => reject(broken(cause.message)));
      child.once("exit", (code, by) =>
        reject(signal?.aborted === true ? stopped(signal) : broken(`it ended with ${by ?? code}`)),
      );
      child.send({ type: "open", settings } satisfies ToEngine);
    });
  } catch (error) {
    stop();
    throw error;
  } finally {
    signal?.removeEventListener("abort", stop);
  }
}

type Opened = Extract<FromEngine, { type: "open" }>;

/** The process reads the same files as this one: sources where this is a source, else what was built. */
function startProcess(): ChildProcess {
  const isSource = import.meta.url.endsWith(".ts");
  const entry = fileURLToPath(
    new URL(isSource ? "./engine-process.ts" : "./engine-process.js", import.meta.url),
  );
  return fork(entry, [], {
    execArgv: [...childOptions(entry)],
    // JSON has no infinite numbers
    serialization: "advanced",
  });
}

const received = ({ code, message }: SentError): MosError => new MosError(code, message);
const stopped = (signal: AbortSignal): MosError =>
  new MosError("cancelled", "opening the engine was stopped", { cause: signal.reason });
const broken = (cause: unknown): MosError =>
  new MosError(
    "device",
    `the engine's process broke: ${cause instanceof Error ? cause.message : String(cause)}`,
    { cause },
  );

interface Running {
  readonly stream: EventStream<EngineEvent>;
  /** Lets go of the request's signal. */
  readonly unlisten: () => void;
}

interface Asked {
  readonly resolve: (value: never) => void;
  readonly reject: (error: MosError) => void;
}

class RemoteEngine implements Engine {
  readonly model: EngineModel;
  readonly closed: Promise<MosError | undefined>;
  readonly #child: ChildProcess;
  readonly #running = new Map<number, Running>();
  readonly #asked = new Map<number, Asked>();
  #adapters: readonly AdapterInfo[];
  #nextId = 1;
  #failure: MosError | undefined;
  #isDisposed = false;
  #close: (failure: MosError | undefined) => void = () => undefined;

  constructor(child: ChildProcess, { model, adapters }: Opened) {
    this.model = model;
    this.closed = new Promise((resolve) => {
      this.#close = resolve;
    });
    this.#child = child;
    this.#adapters = adapters;
    child.on("message", (message: FromEngine) => this.#receive(message));
    child.on("error", (cause) => {
      this.#break(broken(cause.message));
      // whoever cannot be talked to is of no use
      child.kill("SIGKILL");
    });
    child.on("exit", (code, signal) => this.#break(broken(`it ended with ${signal ?? code}`)));
  }

  submit({ signal, ...request }: EngineRequest): AsyncIterable<EngineEvent> {
    if (this.#failure !== undefined) throw this.#failure;
    const id = this.#nextId++;
    const stream = new EventStream<EngineEvent>();
    const cancel = (): void => this.#tell({ type: "cancel", id });
    this.#running.set(id, { stream, unlisten: () => signal?.removeEventListener("abort", cancel) });
    this.#tell({ type: "submit", id, request });
    if (signal?.aborted === true) cancel();
    signal?.addEventListener("abort", cancel, { once: true });
    return this.#events(id, stream);
  }

  adapters(): readonly AdapterInfo[] {
    return this.#adapters;
  }

  async refreshAdapters(): Promise<readonly AdapterInfo[]> {
    this.#adapters = await this.#ask("refresh");
    return this.#adapters;
  }

  stats(): Promise<EngineStats> {
    return this.#ask("stats");
  }

  async drain(): Promise<void> {
    await this.#ask("drain");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#failure !== undefined) return;
    this.#isDisposed = true;
    const exited = new Promise((resolve) => this.#child.once("exit", resolve));
    // a process that breaks meanwhile is closed too
    await this.#ask("close").catch(() => undefined);
    this.#failure ??= new MosError("busy", "the engine was closed");
    await exited;
  }

  async *#events(id: number, stream: EventStream<EngineEvent>): AsyncGenerator<EngineEvent, void> {
    try {
      yield* stream.read();
    } finally {
      if (this.#end(id)) this.#tell({ type: "cancel", id });
    }
  }

  /** False where it has ended already. */
  #end(id: number, failure?: MosError): boolean {
    const running = this.#running.get(id);
    running?.unlisten();
    running?.stream.close(failure);
    return this.#running.delete(id);
  }

  #ask<Q extends keyof Questions>(question: Q): Promise<Questions[Q]> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const id = this.#nextId++;
    return new Promise<Questions[Q]>((resolve, reject) => {
      this.#asked.set(id, { resolve, reject });
      this.#tell({ type: "ask", id, question });
    });
  }

  #tell(message: ToEngine): void {
    if (this.#failure === undefined && this.#child.connected) this.#child.send(message);
  }

  #receive(message: FromEngine): void {
    if (message.type === "adapters") this.#adapters = message.adapters;
    else if (message.type === "events") this.#running.get(message.id)?.stream.push(...message.events);
    else if (message.type === "ended") this.#end(message.id, message.error && received(message.error));
    else if (message.type === "answer") this.#take(message.id)?.resolve(message.value as never);
    else if (message.type === "noAnswer") this.#take(message.id)?.reject(received(message.error));
  }

  #take(id: number): Asked | undefined {
    const asked = this.#asked.get(id);
    this.#asked.delete(id);
    return asked;
  }

  /** Everybody who waits hears of it. */
  #break(error: MosError): void {
    this.#failure ??= error;
    // first of all, so that whoever hears of a failure can know that it is the end
    this.#close(this.#isDisposed ? undefined : this.#failure);
    for (const id of [...this.#running.keys()]) this.#end(id, this.#failure);
    for (const { reject } of this.#asked.values()) reject(this.#failure);
    this.#asked.clear();
  }
}
