// This end of a process that runs programs one after another: it watches time and memory from outside.
import type { ChildProcess } from "node:child_process";
import { randomUUID } from "node:crypto";
import { MosError } from "#core";
import { cancelled } from "./cancelled.ts";
import type { FromJail, Outcome, ToJail } from "./jail/types.ts";
import { residentMemory, watchMemory } from "./resident-memory.ts";
import { startJail } from "./start-jail.ts";
import type { CheckReason } from "./types.ts";

/** Seconds after the time limit, which the process itself keeps, until it is killed. */
const GRACE = 1;
/** Seconds that loading may take on a busy machine. */
const LOADING = 120;

export interface WorkerSettings {
  /** Where the process is: an empty folder. */
  readonly folder: string;
  readonly seconds: number;
  readonly memory: number;
}

export class JailedWorker {
  readonly exited: Promise<void>;
  readonly #child: ChildProcess;
  readonly #settings: WorkerSettings;
  /** Bytes that the process has when no program runs. */
  #baseline = 0;

  /** Starts the process; it can be killed at once, and used when it is ready. */
  constructor(settings: WorkerSettings) {
    this.#settings = settings;
    this.#child = startJail(settings.folder, settings.memory);
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
        if (this.#isGone()) return end("failed: the process is gone");
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
        const timer = setTimeout(() => end("timed out"), (seconds + GRACE) * 1000);
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

  /** Whether it has told its exit already. */
  #isGone(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
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

const unusable = (reason: string, cause?: Error): MosError =>
  new MosError("device", `the process that runs programs in Pyodide does not start: ${reason}`, { cause });
