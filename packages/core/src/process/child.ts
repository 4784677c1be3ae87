// Child processes with typed methods: what may crash, block or take too much memory runs in one. serve-parent.ts is the
// child's side.
import { type ChildProcess, fork } from "node:child_process";
import { existsSync, rmSync } from "node:fs";
import type { Socket } from "node:net";
import { setPriority } from "node:os";
import { fileURLToPath, pathToFileURL } from "node:url";
import { type CallEvents, Caller, type CallOptions, type Methods, MosError, onAbort } from "#common";
import { EXIT, WATCH, type Watch } from "./serve-parent.ts";

const SCRIPT = /^(-e|-p|-pe|--eval|--print|--input-type)(=|$)/;

/** This process's options without a script of its command line, which a child would run instead of its module. */
const inherited = (): readonly string[] =>
  process.execArgv.filter((option, i, all) => {
    const isScript = SCRIPT.test(all[i - 1] ?? "") && !option.startsWith("-") && !all[i - 1]?.includes("=");
    return !isScript && !SCRIPT.test(option);
  });

const isSource = (path: string): boolean => /\.m?ts$/.test(path);

/** Node's options for a child process that runs the module `entry`: from source it needs the loader of this process. */
export function childOptions(entry: string): readonly string[] {
  const options = inherited();
  if (!isSource(entry) || options.some((option) => option.includes("tsx"))) return options;
  return ["--conditions=source", "--import", "tsx"];
}

/** The file of a module beside this one, for a child process: a source where this is a source, else what was built. */
export const moduleBeside = (url: string, name: string): string =>
  fileURLToPath(new URL(`./${name}${isSource(url) ? ".ts" : ".js"}`, url));

const SERVE_PARENT = moduleBeside(import.meta.url, "serve-parent");

/** Loads the child's side first, unless it is in a bundle with the entry, or a source whose loader this entry does without. */
const preload = (entry: string): readonly string[] =>
  existsSync(SERVE_PARENT) && (isSource(entry) || !isSource(SERVE_PARENT))
    ? ["--import", pathToFileURL(SERVE_PARENT).href]
    : [];

/** Options of a child process. */
interface StartOptions extends Partial<Watch> {
  /** Error of calls whose process has ended: `how` is a signal, or "exit code 7"; `output` the end of a kept `stderr`. */
  readonly exitError: (how: string, output: string) => Error;
  readonly heapMegabytes?: number | undefined;
  /** The system gives it less processor time than others. */
  readonly isBackground?: boolean;
  /** Destination of its error output: this process's ("inherit"), none, or `exitError` ("pipe"). */
  readonly stderr?: "inherit" | "ignore" | "pipe";
}

/** Options of a call to a process. */
interface ChildCallOptions extends CallOptions {
  /** Seconds that the call has to end in when the signal is aborted; then the process is killed, for the signal's reason. */
  readonly killAfter?: number;
  /** Seconds that the call may take; then the process is killed. */
  readonly timeout?: number;
}

/** Milliseconds that a process has to end in when it is asked to, and when it was killed. */
const [EXIT_TIME, KILL_TIME] = [5000, 2000];
/** Characters of error output that are kept. */
const MAX_OUTPUT = 2000;

/**
 * Starts a child process, which ends when this one is gone. It keeps this process running only while a call does.
 *
 * @throws MosError from calls: `device` where it could not be started.
 */
export function startChild<M extends Methods>(
  entry: string,
  { exitError, heapMegabytes, isBackground = false, stderr = "inherit", ...watch }: StartOptions,
): Child<M> {
  const { temporaryFolder: folder } = watch;
  const child = fork(entry, [`${WATCH}${JSON.stringify(watch)}`], {
    env: { ...process.env, ...(folder === undefined ? {} : { TMPDIR: folder, TEMP: folder, TMP: folder }) },
    execArgv: [
      ...childOptions(entry),
      ...preload(entry),
      ...(heapMegabytes === undefined ? [] : [`--max-old-space-size=${heapMegabytes}`]),
    ],
    serialization: "advanced",
    stdio: ["ignore", "ignore", stderr, "ipc", "pipe"],
  });
  if (isBackground && child.pid !== undefined) setPriority(child.pid, 10);
  const started = new Child<M>(child, exitError);
  if (folder !== undefined) removeWithChild(started, folder);
  return started;
}

/** Removes a folder when its process has ended, and both when this one ends: a child that was stopped would stay for ever. */
function removeWithChild(child: Pick<Child<never>, "exited" | "kill">, folder: string): void {
  const clear = (): void => rmSync(folder, { recursive: true, force: true });
  const leave = (): void => {
    child.kill();
    clear();
  };
  process.once("exit", leave);
  void child.exited.then(() => {
    process.off("exit", leave);
    clear();
  });
}

function send(child: ChildProcess, message: unknown): void {
  if (child.connected) child.send(message as string | object, () => undefined);
}

/** A child process. Disposing it ends it: at once where a call is running. */
export class Child<M extends Methods> extends Caller<M, ChildCallOptions> implements AsyncDisposable {
  readonly pid: number | undefined;
  /** Resolves when the process has ended. */
  readonly exited: Promise<void>;
  /** Called with each beat: whether the process has computed since the last one. */
  onHeartbeat: (isComputing: boolean) => void = () => undefined;
  readonly #process: ChildProcess;
  /** Calls that run. */
  #running = 0;
  #end: (error: Error) => void = () => undefined;
  #failure: unknown;
  #killReason: unknown;
  #detaching: NodeJS.Timeout | undefined;

  constructor(child: ChildProcess, exitError: StartOptions["exitError"]) {
    super({
      send: (message) => send(child, message),
      receive: (listener) => void child.on("message", listener),
    });
    this.#process = child;
    this.pid = child.pid;
    this.exited = new Promise((resolve) => {
      this.#end = (error) => {
        clearTimeout(this.#detaching);
        this.#failure ??= this.#killReason ?? error;
        this.fail(this.#failure);
        resolve();
      };
    });
    // where no more files can be opened, a child that was not started has no pipes at all; neither of these two keeps this
    // process
    const [, , errors, , heartbeat] = (child.stdio ?? []) as readonly (Socket | null | undefined)[];
    let output = "";
    errors
      ?.on("data", (chunk) => {
        output = `${output}${chunk}`.slice(-MAX_OUTPUT);
      })
      .unref();
    // read even where nobody listens, since a full pipe would stop the beats
    heartbeat?.on("data", (beats: Buffer) => this.onHeartbeat(beats.includes("+"))).unref();
    // after the last message
    child.once("close", (code, signal) => this.#end(exitError(signal ?? `exit code ${code}`, output.trim())));
    child.on("error", (cause) => {
      if (child.pid !== undefined) return this.kill(cause);
      this.#end(new MosError("device", `${child.spawnfile} cannot be started: ${cause.message}`, { cause }));
    });
    this.#count(0);
  }

  /** False once it was killed, and when it has ended. */
  get isAlive(): boolean {
    return this.#process.connected && !this.#process.killed;
  }

  override async *stream<N extends keyof M & string>(
    method: N,
    argument: Parameters<M[N]>[0],
    { signal, killAfter, timeout }: ChildCallOptions = {},
  ): CallEvents<M[N]> {
    let timer = timeout === undefined ? undefined : setTimeout(() => this.kill(), timeout * 1000);
    using _signal = onAbort(signal, () => {
      if (killAfter === undefined) return;
      clearTimeout(timer);
      timer = setTimeout(() => this.kill(signal?.reason), killAfter * 1000);
    });
    this.#count(1);
    try {
      return yield* super.stream(method, argument, { signal });
    } finally {
      clearTimeout(timer);
      this.#count(-1);
    }
  }

  /** Ends the process at once. Its calls throw the reason; without one, the error of `StartOptions.exitError`. */
  kill(reason?: unknown): void {
    if (this.#failure !== undefined) return;
    this.#killReason ??= reason;
    this.#process.kill("SIGKILL");
    // one that a disk holds, which hangs, must not hold this process
    this.#detaching ??= setTimeout(() => {
      this.#end(new MosError("device", "a killed process does not exit"));
      for (const stream of this.#process.stdio) stream?.destroy();
    }, KILL_TIME);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#running > 0) this.kill();
    else send(this.#process, EXIT);
    const kill = setTimeout(() => this.kill(), EXIT_TIME);
    await this.exited;
    clearTimeout(kill);
  }

  /** This process goes on while calls run. */
  #count(change: number): void {
    this.#running += change;
    const hold = this.#running > 0 ? "ref" : "unref";
    this.#process[hold]();
    this.#process.channel?.[hold]();
  }
}
