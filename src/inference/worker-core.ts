// A core in a process of its own: its steps block nothing here, and if it crashes this process survives. This is the
// caller's side; engine-worker.ts is the other one.
import { type ChildProcess, fork } from "node:child_process";
import { rmSync } from "node:fs";
import { childOptions, type ErrorCode, MosError, moduleBeside } from "#core";
import { makeTemporaryFolder } from "#files";
import { openModel } from "#models";
import type { AdmissionLimits } from "./engine-client.ts";
import type { CoreListener, EngineCore } from "./engine-core.ts";
import type { CoreOptions, OpenProgress } from "./engine-options.ts";
import type { OpenedCore } from "./open-core.ts";
import type { SequenceUpdate } from "./sequence.ts";
import type {
  AdapterInfo,
  EngineEvent,
  EngineModel,
  EngineStats,
  FullRequest,
  RefusedAdapter,
} from "./types.ts";
import { removeUnfinished } from "./weight-cache.ts";

/** An error on its way between processes. */
export interface SentError {
  readonly code: ErrorCode;
  readonly message: string;
}

export const sentError = (cause: unknown): SentError =>
  cause instanceof MosError
    ? { code: cause.code, message: cause.message }
    : {
        code: "device",
        message: `the engine failed: ${cause instanceof Error ? cause.stack : String(cause)}`,
      };

/** Calls with one answer. */
export interface CoreCalls {
  readonly stats: EngineStats;
  readonly refresh: readonly AdapterInfo[];
  readonly close: null;
}

export type ToCore =
  | { readonly type: "open"; readonly settings: CoreOptions }
  /** Ends opening. */
  | { readonly type: "stop" }
  | { readonly type: "submit"; readonly id: number; readonly request: FullRequest }
  | { readonly type: "cancel"; readonly id: number }
  | { readonly type: "call"; readonly id: number; readonly name: keyof CoreCalls };

export type FromCore =
  | { readonly type: "progress"; readonly progress: OpenProgress }
  | {
      readonly type: "open";
      readonly model: EngineModel;
      readonly limits: AdmissionLimits;
      readonly adapters: readonly AdapterInfo[];
      readonly refused: readonly RefusedAdapter[];
    }
  | { readonly type: "notOpened"; readonly error: SentError }
  /** One for each step, with what happened to all requests. */
  | { readonly type: "output"; readonly updates: readonly SequenceUpdate[] }
  | {
      readonly type: "adapters";
      readonly adapters: readonly AdapterInfo[];
      readonly refused: readonly RefusedAdapter[];
    }
  | { readonly type: "result"; readonly id: number; readonly value: CoreCalls[keyof CoreCalls] }
  | { readonly type: "failure"; readonly id: number; readonly error: SentError };

const received = ({ code, message }: SentError): MosError => new MosError(code, message);

/** Arrays of their own: those that were received keep the whole message in memory. */
const withOwnArrays = (events: readonly EngineEvent[]): readonly EngineEvent[] =>
  events.map((event) =>
    (event.type === "token" || event.type === "prompt") && event.logprobs !== undefined
      ? { ...event, logprobs: event.logprobs.slice() }
      : event,
  );

const stopped = (signal: AbortSignal): MosError =>
  new MosError("cancelled", "opening the engine was interrupted", { cause: signal.reason });
const broken = (how: string): MosError => new MosError("device", `the engine's process broke: ${how}`);

export interface OpenWorkerOptions {
  readonly onProgress: (progress: OpenProgress) => void;
  readonly signal: AbortSignal | undefined;
  /** See `EngineOptions`. */
  readonly silentSeconds: number;
}

/** Opens a core in a new process. Throws what opening throws, `device`, `cancelled`. */
export async function openWorkerCore(
  settings: CoreOptions,
  { onProgress, signal, silentSeconds }: OpenWorkerOptions,
): Promise<OpenedCore> {
  const isAborted = (): boolean => signal?.aborted === true;
  if (signal !== undefined && isAborted()) throw stopped(signal);
  // files that the process writes while it opens may be as large as the model, and must not stay when it is killed
  const folder = await makeTemporaryFolder(TEMPORARY);
  const child = startProcess(folder, silentSeconds);
  const kill = (): void => void child.kill("SIGKILL");
  const clear = (): void => rmSync(folder, { recursive: true, force: true });
  // a process that was stopped would stay for ever
  const leave = (): void => {
    kill();
    clear();
  };
  let killing: NodeJS.Timeout | undefined;
  // between two weights it ends by itself, and takes away what it was writing; while programs are compiled it hears nothing
  const stop = (): void => {
    if (child.connected) child.send({ type: "stop" } satisfies ToCore, () => undefined);
    killing = setTimeout(kill, OPEN_STOP_SECONDS * 1000);
  };
  process.once("exit", leave);
  child.once("exit", () => {
    process.off("exit", leave);
    clear(); // at once: this process may end as soon as the other one has
  });
  signal?.addEventListener("abort", stop, { once: true });
  if (isAborted()) stop(); // while the folder was made
  try {
    return await new Promise<OpenedCore>((resolve, reject) => {
      child.on("message", (message: FromCore) => {
        if (message.type === "progress") onProgress(message.progress);
        else if (signal?.aborted === true) reject(stopped(signal));
        else if (message.type === "open") {
          const { model, limits, adapters, refused } = message;
          resolve({ core: new WorkerCore(child, silentSeconds), model, limits, adapters, refused });
        } else if (message.type === "notOpened") reject(received(message.error));
      });
      child.once("error", (cause) => reject(broken(cause.message)));
      child.once("exit", (code, by) =>
        reject(signal?.aborted === true ? stopped(signal) : broken(`it ended with ${by ?? code}`)),
      );
      child.send({ type: "open", settings } satisfies ToCore);
    });
  } catch (error) {
    kill();
    await ended(child);
    if (child.exitCode !== 0) await removeUnfinishedCache(settings);
    throw error;
  } finally {
    clearTimeout(killing);
    signal?.removeEventListener("abort", stop);
  }
}

/** Seconds that opening has to end in when it is stopped. */
const OPEN_STOP_SECONDS = 2;

/** Waits for the end of a process; one that could not be started has none. */
async function ended(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  await new Promise((resolve) => child.once("exit", resolve));
}

/** A killed process leaves half of the packed weights that it was keeping. */
async function removeUnfinishedCache({ model, cacheFolder }: CoreOptions): Promise<void> {
  try {
    await using files = await openModel(model);
    await removeUnfinished(files, cacheFolder);
  } catch {} // a model that cannot be opened has none
}

/** How the name of the temporary folder of an engine's process begins. */
export const TEMPORARY = "mos-engine-";

/** The file descriptor of the process that it writes a byte to, again and again. */
export const HEARTBEAT_INTERVAL = 4;

/** Seconds between two beats: often enough to notice that some are missing. */
const startHeartbeat = (silentSeconds: number): number => Math.min(5, silentSeconds / 4);

function startProcess(temporary: string, silentSeconds: number): ChildProcess {
  const entry = moduleBeside(import.meta.url, "engine-worker");
  return fork(entry, [`${startHeartbeat(silentSeconds)}`], {
    stdio: ["inherit", "inherit", "inherit", "ipc", "pipe"],
    execArgv: [...childOptions(entry)],
    env: { ...process.env, TMPDIR: temporary, TEMP: temporary, TMP: temporary },
    // JSON has no infinite numbers
    serialization: "advanced",
  });
}

/** Seconds that the process has to end in when it is asked to, and where it does not answer anyway. */
const STOP_SECONDS = { responding: 10, silent: 1 };

const silent = (): MosError => new MosError("device", "the engine process does not respond");

interface Call {
  readonly resolve: (value: never) => void;
  readonly reject: (error: MosError) => void;
}

class WorkerCore implements EngineCore {
  readonly closed: Promise<MosError | undefined>;
  readonly #child: ChildProcess;
  readonly #calls = new Map<number, Call>();
  #listener: CoreListener | undefined;
  #nextCall = 1;
  #failure: MosError | undefined;
  #disposal: Promise<void> | undefined;
  /** What it was killed for in the end. */
  #killed: MosError | undefined;
  #heartbeat: NodeJS.Timeout | undefined;
  #isResponding = true;
  /** Beats that are missing. Not a time: this process may have been stopped itself. */
  #missing = 0;
  #resolveClosed: (failure: MosError | undefined) => void = () => undefined;

  constructor(child: ChildProcess, silentSeconds: number) {
    this.#child = child;
    if (silentSeconds > 0) this.#listenForSilence(silentSeconds);
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    child.on("message", (message: FromCore) => this.#receive(message));
    child.on("error", (cause) => {
      this.#break(broken(cause.message));
      // a process without a channel is useless
      child.kill("SIGKILL");
    });
    child.on("exit", (code, signal) => this.#break(broken(`it ended with ${signal ?? code}`)));
  }

  get isResponding(): boolean {
    return this.#isResponding;
  }

  start(listener: CoreListener): void {
    this.#listener = listener;
  }

  submit(id: number, request: FullRequest): void {
    this.#send({ type: "submit", id, request });
  }

  cancel(id: number): void {
    this.#send({ type: "cancel", id });
  }

  refreshAdapters(): Promise<readonly AdapterInfo[]> {
    return this.#call("refresh");
  }

  stats(): Promise<EngineStats> {
    return this.#call("stats");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#failure === undefined) this.#disposal ??= this.#close();
    await this.#disposal;
  }

  async #close(): Promise<void> {
    const exited = new Promise((resolve) => this.#child.once("exit", resolve));
    // a process that breaks meanwhile is closed too
    void this.#call("close").catch(() => undefined);
    const seconds = this.#isResponding ? STOP_SECONDS.responding : STOP_SECONDS.silent;
    const kill = setTimeout(() => {
      this.#killed = new MosError(
        "device",
        `the engine process did not exit within ${seconds} s and was killed`,
      );
      this.#child.kill("SIGKILL");
    }, seconds * 1000);
    await exited;
    clearTimeout(kill);
  }

  #listenForSilence(seconds: number): void {
    const every = startHeartbeat(seconds);
    this.#child.stdio[HEARTBEAT_INTERVAL]?.on("data", () => this.#hear());
    this.#heartbeat = setInterval(() => {
      this.#missing++;
      if (this.#missing * every > seconds) this.#fallSilent();
    }, every * 1000);
    this.#heartbeat.unref();
  }

  #hear(): void {
    this.#missing = 0;
    this.#isResponding = true;
  }

  #fallSilent(): void {
    this.#isResponding = false;
    this.#rejectCalls(silent());
  }

  #call<N extends keyof CoreCalls>(name: N): Promise<CoreCalls[N]> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (!this.#isResponding && name !== "close") return Promise.reject(silent());
    const id = this.#nextCall++;
    return new Promise<CoreCalls[N]>((resolve, reject) => {
      this.#calls.set(id, { resolve, reject });
      this.#send({ type: "call", id, name });
    });
  }

  #send(message: ToCore): void {
    if (this.#failure === undefined && this.#child.connected) this.#child.send(message);
  }

  #receive(message: FromCore): void {
    this.#hear();
    if (message.type === "output") {
      const updates = message.updates.map((update) => ({ ...update, events: withOwnArrays(update.events) }));
      this.#listener?.onOutput(updates);
    } else if (message.type === "adapters") this.#listener?.onAdapters(message.adapters, message.refused);
    else if (message.type === "result") this.#take(message.id)?.resolve(message.value as never);
    else if (message.type === "failure") this.#take(message.id)?.reject(received(message.error));
  }

  #take(id: number): Call | undefined {
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    return call;
  }

  #break(error: MosError): void {
    clearInterval(this.#heartbeat);
    const isDisposed = this.#disposal !== undefined;
    this.#failure ??= this.#killed ?? (isDisposed ? new MosError("busy", "the engine was closed") : error);
    this.#resolveClosed(isDisposed ? this.#killed : this.#failure);
    this.#rejectCalls(this.#failure);
  }

  #rejectCalls(error: MosError): void {
    for (const { reject } of this.#calls.values()) reject(error);
    this.#calls.clear();
  }
}
