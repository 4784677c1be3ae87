// A core in a process of its own: its steps block nothing here, and if it crashes this process survives. This is the
// caller's side; engine-process.ts is the other one.
import { type ChildProcess, fork } from "node:child_process";
import { rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { childOptions, type ErrorCode, MosError } from "#core";
import { makeTemporaryFolder } from "#storage";
import type { FrontLimits } from "./engine.ts";
import type { CoreListener, EngineCore } from "./engine-core.ts";
import type { CoreSettings, OpenedCore, OpenProgress } from "./open-core.ts";
import type { FullRequest } from "./request.ts";
import type { SequenceUpdate } from "./sequence.ts";
import type { AdapterInfo, EngineModel, EngineStats } from "./types.ts";

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
  | { readonly type: "open"; readonly settings: CoreSettings }
  | { readonly type: "submit"; readonly id: number; readonly request: FullRequest }
  | { readonly type: "cancel"; readonly id: number }
  | { readonly type: "call"; readonly id: number; readonly name: keyof CoreCalls };

export type FromCore =
  | { readonly type: "progress"; readonly progress: OpenProgress }
  | {
      readonly type: "open";
      readonly model: EngineModel;
      readonly limits: FrontLimits;
      readonly adapters: readonly AdapterInfo[];
    }
  | { readonly type: "notOpened"; readonly error: SentError }
  /** One for each step, with what happened to all requests. */
  | { readonly type: "output"; readonly updates: readonly SentUpdate[] }
  | { readonly type: "adapters"; readonly adapters: readonly AdapterInfo[] }
  | { readonly type: "result"; readonly id: number; readonly value: CoreCalls[keyof CoreCalls] }
  | { readonly type: "failure"; readonly id: number; readonly error: SentError };

export type SentUpdate = Omit<SequenceUpdate, "error"> & { readonly error?: SentError };

const received = ({ code, message }: SentError): MosError => new MosError(code, message);
const stopped = (signal: AbortSignal): MosError =>
  new MosError("cancelled", "opening the engine was stopped", { cause: signal.reason });
const broken = (how: string): MosError => new MosError("device", `the engine's process broke: ${how}`);

export interface OpenCoreProcessOptions {
  readonly onProgress: (progress: OpenProgress) => void;
  readonly signal: AbortSignal | undefined;
}

/** Opens a core in a new process. Throws what opening throws, `device`, `cancelled`. */
export async function openCoreProcess(
  settings: CoreSettings,
  { onProgress, signal }: OpenCoreProcessOptions,
): Promise<OpenedCore> {
  if (signal?.aborted === true) throw stopped(signal);
  // what the process writes while it opens may be as large as the model, and must not stay when it is killed
  const folder = await makeTemporaryFolder(TEMPORARY);
  const child = startProcess(folder);
  // at once: this process may end as soon as the other one has
  child.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  const stop = (): void => void child.kill("SIGKILL");
  signal?.addEventListener("abort", stop, { once: true });
  try {
    return await new Promise<OpenedCore>((resolve, reject) => {
      child.on("message", (message: FromCore) => {
        if (message.type === "progress") onProgress(message.progress);
        else if (message.type === "open") {
          const { model, limits, adapters } = message;
          resolve({ core: new RemoteCore(child), model, limits, adapters });
        } else if (message.type === "notOpened") reject(received(message.error));
      });
      child.once("error", (cause) => reject(broken(cause.message)));
      child.once("exit", (code, by) =>
        reject(signal?.aborted === true ? stopped(signal) : broken(`it ended with ${by ?? code}`)),
      );
      child.send({ type: "open", settings } satisfies ToCore);
    });
  } catch (error) {
    stop();
    throw error;
  } finally {
    signal?.removeEventListener("abort", stop);
  }
}

/** How the name of the temporary folder of an engine's process begins. */
export const TEMPORARY = "mos-engine-";

/** The process runs the same files as this one: sources where this is a source, else what was built. */
function startProcess(temporary: string): ChildProcess {
  const isSource = import.meta.url.endsWith(".ts");
  const entry = fileURLToPath(
    new URL(isSource ? "./engine-process.ts" : "./engine-process.js", import.meta.url),
  );
  return fork(entry, [], {
    execArgv: [...childOptions(entry)],
    env: { ...process.env, TMPDIR: temporary, TEMP: temporary, TMP: temporary },
    // JSON has no infinite numbers
    serialization: "advanced",
  });
}

interface Call {
  readonly resolve: (value: never) => void;
  readonly reject: (error: MosError) => void;
}

class RemoteCore implements EngineCore {
  readonly closed: Promise<MosError | undefined>;
  readonly #child: ChildProcess;
  readonly #calls = new Map<number, Call>();
  #listener: CoreListener | undefined;
  #nextCall = 1;
  #failure: MosError | undefined;
  #isDisposed = false;
  #close: (failure: MosError | undefined) => void = () => undefined;

  constructor(child: ChildProcess) {
    this.#child = child;
    this.closed = new Promise((resolve) => {
      this.#close = resolve;
    });
    child.on("message", (message: FromCore) => this.#receive(message));
    child.on("error", (cause) => {
      this.#break(broken(cause.message));
      // a process without a channel is useless
      child.kill("SIGKILL");
    });
    child.on("exit", (code, signal) => this.#break(broken(`it ended with ${signal ?? code}`)));
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
    if (this.#failure !== undefined) return;
    this.#isDisposed = true;
    const exited = new Promise((resolve) => this.#child.once("exit", resolve));
    // a process that breaks meanwhile is closed too
    await this.#call("close").catch(() => undefined);
    await exited;
  }

  #call<N extends keyof CoreCalls>(name: N): Promise<CoreCalls[N]> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
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
    if (message.type === "output")
      this.#listener?.onOutput(
        message.updates.map(({ error, ...update }) =>
          error === undefined ? update : { ...update, error: received(error) },
        ),
      );
    else if (message.type === "adapters") this.#listener?.onAdapters(message.adapters);
    else if (message.type === "result") this.#take(message.id)?.resolve(message.value as never);
    else if (message.type === "failure") this.#take(message.id)?.reject(received(message.error));
  }

  #take(id: number): Call | undefined {
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    return call;
  }

  #break(error: MosError): void {
    this.#failure ??= this.#isDisposed ? new MosError("busy", "the engine was closed") : error;
    this.#close(this.#isDisposed ? undefined : this.#failure);
    for (const { reject } of this.#calls.values()) reject(this.#failure);
    this.#calls.clear();
  }
}
