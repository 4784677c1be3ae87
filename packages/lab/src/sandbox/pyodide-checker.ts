// Programs in Pyodide: some processes that have loaded it, each used until a program spoils it.
import { rm } from "node:fs/promises";
import { MosError } from "mixture-of-shards";
import { makeTemporaryFolder } from "mixture-of-shards/cli";
import { JailedWorker } from "./jailed-worker.ts";
import { type CheckResult, cancelled, type ProgramChecker, type Settings } from "./types.ts";

/** Processes that may fail to load in a row, as on a machine that is short of memory for a while. */
const STARTS = 3;

interface Waiting {
  readonly resolve: (worker: JailedWorker) => void;
  readonly reject: (error: unknown) => void;
}

export class PyodideChecker implements ProgramChecker {
  readonly #folder: string;
  readonly #settings: Settings;
  readonly #all = new Set<JailedWorker>();
  readonly #idle: JailedWorker[] = [];
  readonly #waiting = new Set<Waiting>();
  #failedStarts = 0;
  /** Reason why no more processes are started. */
  #failure: MosError | undefined;

  private constructor(settings: Settings, folder: string) {
    this.#settings = settings;
    this.#folder = folder;
  }

  /** Resolves when a first program can run; the other processes continue to load. */
  static async open(settings: Settings, signal: AbortSignal | undefined): Promise<PyodideChecker> {
    const folder = await makeTemporaryFolder("mos-sandbox-");
    const checker = new PyodideChecker(settings, folder);
    try {
      // alone, the first loads sooner
      checker.#start();
      checker.#give(await checker.#take(signal));
      // in all one more than run at a time: it stands in for one that was spoiled
      for (let i = 0; i < settings.workers; i++) checker.#start();
      return checker;
    } catch (error) {
      await checker[Symbol.asyncDispose]();
      throw error;
    }
  }

  async check(program: string, signal?: AbortSignal): Promise<CheckResult> {
    const worker = await this.#take(signal);
    try {
      const { passed, reason, reusable } = await worker.run(program, signal);
      if (this.#failure !== undefined) throw this.#failure;
      if (reusable) this.#give(worker);
      else this.#replace(worker);
      return { passed, reason };
    } catch (error) {
      this.#replace(worker);
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#fail(new MosError("cancelled", "the program checker was closed"));
    const all = [...this.#all];
    for (const worker of all) worker.kill();
    await Promise.all(all.map((worker) => worker.exited));
    await rm(this.#folder, { recursive: true, force: true });
  }

  #start(): void {
    if (this.#failure !== undefined) return;
    const { seconds, memory } = this.#settings;
    const worker = new JailedWorker({ folder: this.#folder, seconds, memory });
    this.#track(worker);
    worker.ready().then(
      () => {
        this.#failedStarts = 0;
        this.#give(worker);
      },
      (error: unknown) => {
        this.#failedStarts++;
        if (this.#failedStarts < STARTS) this.#start();
        else this.#fail(error);
      },
    );
  }

  /** Knows of it as long as it lives. */
  #track(worker: JailedWorker): void {
    this.#all.add(worker);
    void worker.exited.then(() => {
      this.#all.delete(worker);
      const at = this.#idle.indexOf(worker);
      if (at < 0) return;
      this.#idle.splice(at, 1);
      this.#start();
    });
  }

  #replace(worker: JailedWorker): void {
    worker.kill();
    this.#start();
  }

  #give(worker: JailedWorker): void {
    const [next] = this.#waiting;
    if (next === undefined) this.#idle.push(worker);
    else {
      this.#waiting.delete(next);
      next.resolve(worker);
    }
  }

  async #take(signal: AbortSignal | undefined): Promise<JailedWorker> {
    if (this.#failure !== undefined) throw this.#failure;
    if (signal?.aborted === true) throw cancelled(signal);
    const idle = this.#idle.shift();
    if (idle !== undefined) return idle;
    return new Promise((resolve, reject) => {
      const leave = (): void => waiting.reject(cancelled(signal));
      const done = (): void => {
        this.#waiting.delete(waiting);
        signal?.removeEventListener("abort", leave);
      };
      const waiting: Waiting = {
        resolve: (worker) => {
          done();
          resolve(worker);
        },
        reject: (error) => {
          done();
          reject(error);
        },
      };
      this.#waiting.add(waiting);
      signal?.addEventListener("abort", leave, { once: true });
    });
  }

  #fail(error: unknown): void {
    this.#failure ??=
      error instanceof MosError ? error : new MosError("device", "the sandbox broke", { cause: error });
    for (const waiting of [...this.#waiting]) waiting.reject(this.#failure);
  }
}
