// Programs in Pyodide: some processes that have loaded it, each used until a program spoils it.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type CheckResult, type Settings, unlessAborted } from "./checker.ts";
import { JailedWorker } from "./jailed-worker.ts";

/** Processes that may fail to load in a row, as on a machine that is short of memory for a while. */
const STARTS = 3;

export class PyodideChecker implements AsyncDisposable {
  readonly #folder: string;
  readonly #settings: Settings;
  readonly #all = new Set<JailedWorker>();
  /** Processes that no program has, ready or still loading. There are more of them than programs at a time. */
  readonly #free = new Set<Promise<JailedWorker>>();
  #failedStarts = 0;
  #isClosed = false;

  private constructor(settings: Settings, folder: string) {
    this.#settings = settings;
    this.#folder = folder;
  }

  /** Resolves when a first program can run; the other processes continue to load. */
  static async open(settings: Settings, signal: AbortSignal): Promise<PyodideChecker> {
    const folder = await mkdtemp(join(tmpdir(), "mos-sandbox-"));
    const checker = new PyodideChecker(settings, folder);
    try {
      // alone, the first loads sooner
      checker.#start();
      checker.#free.add(Promise.resolve(await checker.#take(signal)));
      // in all one more than run at a time: it stands in for one that was spoiled
      for (let i = 0; i < settings.workers; i++) checker.#start();
      return checker;
    } catch (error) {
      await checker[Symbol.asyncDispose]();
      throw error;
    }
  }

  async check(program: string, signal: AbortSignal): Promise<CheckResult> {
    const worker = await this.#take(signal);
    try {
      const { passed, reason, reusable } = await worker.run(program, signal);
      if (reusable) this.#free.add(Promise.resolve(worker));
      else this.#replace(worker);
      return { passed, reason };
    } catch (error) {
      this.#replace(worker);
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    const all = [...this.#all];
    for (const worker of all) worker.kill();
    await Promise.all(all.map((worker) => worker.exited));
    await rm(this.#folder, { recursive: true, force: true });
  }

  #start(): void {
    if (this.#isClosed) return;
    const worker = this.#load();
    this.#free.add(worker);
    // whoever takes it is told
    worker.catch(() => undefined);
  }

  #replace(worker: JailedWorker): void {
    worker.kill();
    this.#start();
  }

  /** A process that has loaded Pyodide. Where one cannot, others may. */
  async #load(): Promise<JailedWorker> {
    const worker = new JailedWorker(this.#folder, this.#settings);
    this.#all.add(worker);
    void worker.exited.then(() => this.#all.delete(worker));
    try {
      await worker.ready();
    } catch (error) {
      if (this.#isClosed || ++this.#failedStarts >= STARTS) throw error;
      return this.#load();
    }
    this.#failedStarts = 0;
    return worker;
  }

  /** The first free process that is ready. Throws `device` where none can be started. */
  async #take(signal: AbortSignal): Promise<JailedWorker> {
    for (;;) {
      const ready = [...this.#free].map(async (free) => ({ free, worker: await free }));
      const { free, worker } = await unlessAborted(Promise.any(ready), signal);
      // another program may have taken it meanwhile
      if (!this.#free.delete(free)) continue;
      if (this.#all.has(worker)) return worker;
      // it ended while no program had it
      this.#start();
    }
  }
}
