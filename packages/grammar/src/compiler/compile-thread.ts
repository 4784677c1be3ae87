import { readFileSync } from "node:fs";
import { deserialize } from "node:v8";
import { Worker } from "node:worker_threads";
import { GrammarError } from "#grammar";
import type { PreparedGrammar } from "#matcher";
import type { FromWorker } from "./compile-worker.ts";

/** Limits of one compilation. */
export interface CompileLimits {
  /** Seconds of the thread's CPU that it may take. */
  readonly seconds: number;
  /** Megabytes of memory that it may take. */
  readonly megabytes: number;
}

/** A grammar as the thread sends it. To read it takes time, which callers that only pass it on do not need. */
export class SerializedGrammar {
  readonly bytes: Uint8Array;
  #grammar: PreparedGrammar | undefined;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  get grammar(): PreparedGrammar {
    this.#grammar ??= deserialize(this.bytes) as PreparedGrammar;
    return this.#grammar;
  }
}

/** What came of one compilation. */
type Result =
  | { readonly compiled: SerializedGrammar }
  /** `isLasting`: another try would not end better, while the machine may be busy where time ran out. */
  | { readonly error: Error; readonly isLasting: boolean };

/** What came of one compilation, and the seconds that it took. */
export type CompileOutcome = Result & { readonly seconds: number };

/** Node reads TypeScript with a loader, which a thread does not inherit. */
const FROM_SOURCE = `import("tsx/esm/api").then(({ register }) => {
  register();
  return import(require("node:worker_threads").workerData);
});`;

/** Megabytes of young objects, beside the limit. */
const YOUNG_MEGABYTES = 16;

function startWorker(megabytes: number): Worker {
  const isSource = import.meta.url.endsWith(".ts");
  const entry = new URL(`./compile-worker${isSource ? ".ts" : ".js"}`, import.meta.url);
  const resourceLimits = { maxOldGenerationSizeMb: megabytes, maxYoungGenerationSizeMb: YOUNG_MEGABYTES };
  return isSource
    ? new Worker(FROM_SOURCE, {
        eval: true,
        execArgv: ["--conditions=source"],
        workerData: entry.href,
        resourceLimits,
      })
    : new Worker(entry, { execArgv: [], resourceLimits });
}

const count = (amount: number, noun: string): string =>
  `${amount.toLocaleString("en")} ${noun}${amount === 1 ? "" : "s"}`;

/** Where the system does not tell a thread's CPU time, so many times its seconds may pass: the machine may be busy. */
const PATIENCE = 5;
/** Seconds between looks at a thread that gets little of the processor. */
const LOOK_SECONDS = 0.01;

/** Seconds of CPU that a thread has taken so far, where the system tells; `thread` as /proc/thread-self names it. */
export function threadSeconds(thread: string | undefined): number | undefined {
  if (thread === undefined) return undefined;
  try {
    const [nanoseconds] = readFileSync(`/proc/${thread}/schedstat`, "utf8").split(" ");
    // kernels that do not count write zeros
    return Number(nanoseconds) > 0 ? Number(nanoseconds) / 1e9 : undefined;
  } catch {
    return undefined;
  }
}

/** A worker thread that compiles one source at a time, and keeps the process running only while it does. */
export class CompileThread {
  readonly #worker: Worker;
  readonly #limits: CompileLimits;
  readonly #readSeconds: typeof threadSeconds;
  readonly #ready: Promise<void>;
  #thread: string | undefined;
  #isAlive = true;
  /** Called with a message of the thread, or with the error that ended it. */
  #onAnswer: (answer: FromWorker | Error) => void = () => undefined;

  constructor(limits: CompileLimits, readSeconds = threadSeconds) {
    this.#limits = limits;
    this.#readSeconds = readSeconds;
    this.#worker = startWorker(limits.megabytes);
    this.#ready = new Promise((resolve, reject) => {
      this.#onAnswer = (answer) => {
        if (answer instanceof Error) return reject(answer);
        if (answer.type === "ready") this.#thread = answer.thread;
        resolve();
      };
    });
    // read by `run`
    this.#ready.catch(() => undefined);
    this.#worker.on("message", (message: FromWorker) => this.#onAnswer(message));
    this.#worker.on("error", (error: Error) => this.#end(error));
    this.#worker.on("exit", (code) => this.#end(new Error(`its thread ended with code ${code}`)));
    this.#worker.unref();
  }

  /** False once it has died or was ended: another thread is needed. */
  get isAlive(): boolean {
    return this.#isAlive;
  }

  /** Compiles a source, as JSON. `what` names it in messages. */
  async run(source: string, what: string): Promise<CompileOutcome> {
    this.#worker.ref();
    try {
      await this.#ready;
    } catch (cause) {
      const error = new Error(`the grammar compiler cannot start: ${(cause as Error).message}`, { cause });
      return { error, isLasting: false, seconds: 0 };
    }
    const start = performance.now();
    const result = await this.#compile(source, what);
    if (this.#isAlive) this.#worker.unref();
    return { ...result, seconds: (performance.now() - start) / 1000 };
  }

  async end(): Promise<void> {
    this.#end(new Error("the grammar compiler was closed"));
    await this.#worker.terminate();
  }

  async #compile(source: string, what: string): Promise<Result> {
    const { seconds, megabytes } = this.#limits;
    const size = count(source.length, "character");
    const spent = this.#stopwatch();
    let isLate = false;
    let next: NodeJS.Timeout | undefined;
    const look = (): void => {
      const left = seconds - spent();
      if (left > 0) {
        next = setTimeout(look, Math.max(left, LOOK_SECONDS) * 1000);
        return;
      }
      isLate = true;
      this.#end(
        new GrammarError(
          "limit",
          `${what} of ${size} takes more than ${count(seconds, "second")} to compile`,
        ),
      );
      void this.#worker.terminate();
    };
    look();
    const answer = await new Promise<FromWorker | Error>((resolve) => {
      this.#onAnswer = resolve;
      this.#worker.postMessage(source);
    });
    clearTimeout(next);
    if (answer instanceof Error) {
      const isTooLarge = (answer as NodeJS.ErrnoException).code === "ERR_WORKER_OUT_OF_MEMORY";
      const error = isTooLarge
        ? new GrammarError("limit", `${what} of ${size} needs more than ${megabytes} MB of memory to compile`)
        : answer;
      return { error, isLasting: !isLate };
    }
    switch (answer.type) {
      case "grammar":
        return { compiled: new SerializedGrammar(answer.bytes) };
      case "refusal":
        return { error: new GrammarError(answer.code, answer.message, answer), isLasting: true };
      case "failure":
        return { error: new Error(`a grammar could not be compiled: ${answer.message}`), isLasting: true };
      case "ready":
        throw new Error("the grammar compiler's thread started twice");
    }
  }

  /** Seconds of the thread's CPU since now. */
  #stopwatch(): () => number {
    const start = performance.now();
    const before = this.#readSeconds(this.#thread);
    return () => {
      const after = this.#readSeconds(this.#thread);
      return before === undefined || after === undefined
        ? (performance.now() - start) / 1000 / PATIENCE
        : after - before;
    };
  }

  #end(error: Error): void {
    if (!this.#isAlive) return;
    this.#isAlive = false;
    this.#onAnswer(error);
  }
}
