// This end of a process that runs programs one after another: it watches time and memory from outside.
import { type ChildProcess, fork } from "node:child_process";
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type CheckReason, cancelled, type Limits, SandboxError } from "./checker.ts";
import type { FromJail, Outcome, ToJail } from "./jail/emscripten.ts";

/** Seconds after the time limit, which the process itself keeps, until it is killed. */
const GRACE_SECONDS = 1;
/** Seconds that loading may take on a busy machine. */
const LOADING = 120;
/** Node's heap, in MiB: Python's memory is not in it. */
const HEAP = 256;
/** V8's stack, in KiB, and the bytes that the main thread must have for that. */
const STACK = 4800;
const STACK_LIMIT = 8_000_000;

export class JailedWorker {
  readonly exited: Promise<void>;
  readonly #child: ChildProcess;
  readonly #settings: Limits;
  /** Bytes that the process has when no program runs. */
  #baseline = 0;

  /** Starts the process in `folder`, which is empty; it can be killed at once, and used when it is ready. */
  constructor(folder: string, settings: Limits) {
    this.#settings = settings;
    this.#child = startJail(folder, settings.memory);
    this.exited = new Promise((resolve) => {
      this.#child.once("exit", () => resolve());
      // one that could not be started does not exit
      this.#child.once("error", () => resolve());
    });
  }

  /** Resolves when Python is loaded, which takes seconds. */
  async ready(): Promise<void> {
    try {
      await this.#loaded();
    } catch (error) {
      this.kill();
      throw error;
    }
    this.#baseline = (await residentMemory(this.#child.pid ?? 0)) ?? 0;
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }

  /** Runs one program. If the outcome says so, or on an error, this worker must not be used again. */
  async run(program: string, signal: AbortSignal | undefined): Promise<Outcome> {
    const { seconds, memory } = this.#settings;
    // known to JavaScript alone: no program can answer in its own name
    const id = randomUUID();
    const unwatch: (() => void)[] = [];
    try {
      return await new Promise<Outcome>((resolve, reject) => {
        const end = (reason: CheckReason): void => {
          this.kill();
          resolve({ passed: false, reason, reusable: false });
        };
        if (this.#child.exitCode !== null || this.#child.signalCode !== null)
          return end("failed: the process is gone");
        const onExit = (): void => end("failed: the program ended its process");
        const onMessage = (message: FromJail): void => {
          if (message.type === "outcome" && message.id === id) resolve(message);
        };
        const onAbort = (): void => {
          this.kill();
          reject(cancelled(signal));
        };
        this.#child.on("message", onMessage);
        signal?.addEventListener("abort", onAbort, { once: true });
        // not by `exited`, which would hold every program as long as this worker lives
        this.#child.once("exit", onExit);
        const timer = setTimeout(() => end("timed out"), (seconds + GRACE_SECONDS) * 1000);
        unwatch.push(
          watchMemory(this.#child.pid ?? 0, this.#baseline + memory, () => end("failed: out of memory")),
          () => clearTimeout(timer),
          () => signal?.removeEventListener("abort", onAbort),
          () => this.#child.off("message", onMessage),
          () => this.#child.off("exit", onExit),
        );
        this.#child.send({ type: "run", id, program, seconds } satisfies ToJail, (cause) => {
          if (cause !== null) end("failed: the process is gone");
        });
      });
    } finally {
      for (const stop of unwatch) stop();
    }
  }

  async #loaded(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve, reject) => {
      timer = setTimeout(() => reject(unusable(`it did not load within ${LOADING} s`)), LOADING * 1000);
      this.#child.once("message", (answer: FromJail) => {
        if (answer.type === "ready") resolve();
        else if (answer.type === "outcome") reject(unusable("it answered out of turn"));
        else reject(unusable(answer.message, errorFrom(answer)));
      });
      this.#child.once("error", (cause) => reject(unusable(cause.message, cause)));
      this.#child.once("exit", (code, by) => reject(unusable(`it ended with ${by ?? code}`)));
    }).finally(() => clearTimeout(timer));
  }
}

/** An error of the process, with the stack that it had there. */
const errorFrom = ({ message, stack }: Extract<FromJail, { readonly type: "refused" }>): Error =>
  Object.assign(new Error(message), { stack });

const unusable = (reason: string, cause?: Error): SandboxError =>
  new SandboxError("device", `the process that runs programs in Pyodide cannot be started: ${reason}`, {
    cause,
  });

/**
 * Starts the process in which programs run: with no environment, in `folder`, allowed by Node to read Pyodide and its own few
 * files, and neither to write any nor to start processes or threads. Its output is dropped. The core's `startChild` would need
 * more: an environment, more readable files, and a thread that watches the parent.
 */
function startJail(folder: string, memory: number): ChildProcess {
  const pyodide = findPyodide();
  // as it stands, whether this is the source or was built: a loader would need more permissions
  const jail = fileURLToPath(new URL("./jail", import.meta.url));
  const permission = process.allowedNodeEnvironmentFlags.has("--permission")
    ? "--permission"
    : "--experimental-permission";
  return fork(join(jail, "main.js"), [pyodide, String(memory)], {
    cwd: folder,
    env: {},
    execArgv: [
      permission,
      ...[pyodide, jail].map((readable) => `--allow-fs-read=${join(readable, "*")}`),
      "--disallow-code-generation-from-strings",
      `--max-old-space-size=${HEAP}`,
      ...stackOptions(),
    ],
    stdio: ["ignore", "ignore", "ignore", "ipc"],
  });
}

/** Pyodide's folder. The packages that need it bring it; with this one alone it is installed by whoever wants it. */
function findPyodide(): string {
  try {
    return dirname(createRequire(import.meta.url).resolve("pyodide/package.json"));
  } catch (cause) {
    const missing =
      "Python programs run in the package pyodide, which is not installed; npm install pyodide@314.0.7";
    throw new SandboxError("not_found", missing, { cause });
  }
}

/**
 * Each call from Python into C and back takes much more of V8's stack than of CPython's: this allows as many. V8 must stay
 * well within the stack that the system gives, so where that is smaller or not known, its own limit stays.
 */
function stackOptions(): readonly string[] {
  try {
    const [, bytes] = /^Max stack size +(\w+)/m.exec(readFileSync("/proc/self/limits", "utf8")) ?? [];
    return bytes === "unlimited" || Number(bytes) >= STACK_LIMIT ? [`--stack-size=${STACK}`] : [];
  } catch {
    return process.platform === "darwin" ? [`--stack-size=${STACK}`] : []; // it has 8 MiB
  }
}

/** Bytes of memory that a process has now; undefined where the system does not tell. */
async function residentMemory(pid: number): Promise<number | undefined> {
  try {
    const [, kibibytes] = /^VmRSS:\s+(\d+) kB$/m.exec(await readFile(`/proc/${pid}/status`, "utf8")) ?? [];
    return kibibytes === undefined ? undefined : Number(kibibytes) * 1024;
  } catch {
    return undefined;
  }
}

/** Calls `onExcess` once if a process has more than `limit` bytes. Returns what ends the watch. */
function watchMemory(pid: number, limit: number, onExcess: () => void): () => void {
  const timer = setInterval(async () => {
    if (((await residentMemory(pid)) ?? 0) <= limit) return;
    clearInterval(timer);
    onExcess();
  }, 100);
  return () => clearInterval(timer);
}
