// Requests that join and leave between steps. Each turn: drop what was cancelled, give rows to who waits, plan, obey.
import { MosError } from "#core";
import type { Tokenizer } from "#text";
import type { AdapterTiers } from "./adapters/index.ts";
import { checkRequest } from "./check-request.ts";
import { FairQueue } from "./fair-queue.ts";
import { Job } from "./job.ts";
import { planTurn, type RowState, type TurnOptions, type TurnPlan } from "./plan.ts";
import { Rows, type RowsOptions } from "./rows.ts";
import { Sequence } from "./sequence.ts";
import type { StepProgram } from "./step-program.ts";
import type { AdapterInfo, Engine, EngineEvent, EngineModel, EngineRequest, EngineStats } from "./types.ts";

/** Bounds of an engine; all of them are arguments of whoever opens it. */
export interface EngineLimits extends TurnOptions, Pick<RowsOptions, "maxRows" | "cacheLimit" | "slotLimit"> {
  /** Requests of one tenant that may wait. */
  readonly maxWaiting: number;
}

/** What an engine is made of. It disposes the program and the tiers. */
export interface EngineParts {
  readonly program: StepProgram;
  readonly tiers: AdapterTiers;
  readonly tokenizer: Tokenizer;
  readonly model: EngineModel;
  readonly limits: EngineLimits;
  /** Milliseconds from any start. */
  readonly now: () => number;
}

/** Waiting requests that are looked at in a turn. */
const LOOK_AT = 1000;

/** Turns between looks at memory that could be given back. */
const TRIM_EVERY = 64;

const asError = (cause: unknown): MosError =>
  cause instanceof MosError
    ? cause
    : new MosError("device", `the engine failed: ${String(cause)}`, { cause });

/** Runs the requests on the thread that calls it. */
export function createEngine(parts: EngineParts): Engine {
  return new LocalEngine(parts);
}

class LocalEngine implements Engine {
  readonly #parts: EngineParts;
  readonly #rows: Rows<Job>;
  readonly #queue = new FairQueue<Job>();
  readonly #loop: Promise<void>;
  #wake: (() => void) | undefined;
  #isStirred = false;
  #drained: (() => void) | undefined;
  #isDraining = false;
  #isClosed = false;
  #nextOrder = 1;
  /** Adapters that are being loaded. */
  #loads = 0;
  /** Adapters found no memory; nothing was given back since. */
  #isMemoryTaken = false;
  #counts = { steps: 0, decodedRows: 0, promptTokens: 0, completionTokens: 0 };

  constructor(parts: EngineParts) {
    this.#parts = parts;
    this.#rows = new Rows(parts.program, parts.limits);
    this.#loop = this.#run();
  }

  get model(): EngineModel {
    return this.#parts.model;
  }

  submit(request: EngineRequest): AsyncIterable<EngineEvent> {
    const { tokenizer, model, now } = this.#parts;
    const job = new Job(new Sequence(request, { tokenizer, endTokens: model.endTokens, now }));
    try {
      this.#check(request);
      this.#queue.push(request.tenant, job);
    } catch (error) {
      job.fail(asError(error));
    }
    this.#stir();
    return this.#events(job);
  }

  adapters(): readonly AdapterInfo[] {
    return this.#parts.tiers.list();
  }

  refreshAdapters(): Promise<readonly AdapterInfo[]> {
    return this.#parts.tiers.refresh();
  }

  async stats(): Promise<EngineStats> {
    const { tiers, program, limits } = this.#parts;
    const running = this.#rows.entries().map(([, job]) => job);
    const { slots } = program;
    const active = new Set(running.flatMap(({ lease }) => (lease === undefined ? [] : [lease.digest])));
    return {
      waiting: this.#queue.size,
      running: running.length,
      waitingAdapters: countAdapters(this.#queue),
      runningAdapters: countAdapters(running),
      maxBatch: limits.maxRows,
      ...this.#counts,
      adapters: { ...tiers.stats(), active: active.size, activeBytes: slots.bytes },
    };
  }

  async drain(): Promise<void> {
    this.#isDraining = true;
    const ended = new Promise<void>((resolve) => {
      this.#drained = resolve;
    });
    this.#stir();
    await ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#isDraining = true;
    this.#stir();
    await this.#loop;
    await this.#parts.program[Symbol.asyncDispose]();
    await this.#parts.tiers[Symbol.asyncDispose]();
  }

  #check(request: EngineRequest): void {
    const { model, limits, program } = this.#parts;
    if (this.#isDraining)
      throw new MosError("busy", "the engine is shutting down and takes nothing more; ask another one");
    checkRequest(request, { model, ...limits, config: program.config });
    if (this.#queue.sizeOf(request.tenant) >= limits.maxWaiting)
      throw new MosError(
        "busy",
        `${limits.maxWaiting} requests of ${request.tenant} are waiting already; try again when some have ended`,
      );
  }

  async *#events(job: Job): AsyncGenerator<EngineEvent, void> {
    const { signal } = job.sequence.request;
    const cancel = (): void => {
      job.isCancelled = true;
      this.#stir();
    };
    if (signal?.aborted === true) cancel();
    signal?.addEventListener("abort", cancel, { once: true });
    try {
      yield* job.stream.read();
    } finally {
      signal?.removeEventListener("abort", cancel);
      if (!job.sequence.ended) cancel();
    }
  }

  #stir(): void {
    this.#isStirred = true;
    this.#wake?.();
  }

  async #run(): Promise<void> {
    for (let turn = 1; !this.#isClosed; turn++) {
      this.#isStirred = false;
      this.#dropCancelled();
      this.#admit();
      if (this.#rows.count === 0) {
        if (this.#queue.size === 0) this.#drained?.();
        await this.#sleep();
        continue;
      }
      await this.#turn().catch((cause: unknown) => this.#failRunning(asError(cause)));
      if (turn % TRIM_EVERY === 0) this.#rows.trim();
      // requests, cancellations and loaded adapters come in here
      await new Promise((resolve) => setImmediate(resolve));
    }
    for (const job of [...this.#queue, ...this.#rows.entries().map(([, running]) => running)])
      job.finish("cancelled");
  }

  /** Until something happens; what happened since the last look counts. */
  async #sleep(): Promise<void> {
    if (this.#isStirred || this.#isClosed) return;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#wake = undefined;
  }

  #dropCancelled(): void {
    for (const job of [...this.#queue].filter(({ isCancelled }) => isCancelled)) {
      this.#queue.remove(job.tenant, job);
      job.finish("cancelled");
      this.#isMemoryTaken = false;
    }
    for (const [row, job] of this.#rows.entries()) {
      if (!job.isCancelled) continue;
      job.finish("cancelled");
      this.#leave(row);
    }
  }

  /** Rows for those that wait, in turn; who waits for an adapter holds nobody up, who waits for memory does. */
  #admit(): void {
    const { maxRows } = this.#parts.limits;
    for (const [place, job] of this.#queue.first(LOOK_AT).entries()) {
      const isNear = place < maxRows;
      if (this.#rows.count === maxRows && !isNear) break;
      if (isNear && job.load === "none" && !this.#isMemoryTaken) this.#load(job);
      if (job.load === "ready" && !this.#enter(job)) break;
    }
    this.#rows.compact();
  }

  /** Gives a job a row. False where there is no room for it now. */
  #enter(job: Job): boolean {
    if (!this.#rows.fits(job)) {
      if (this.#rows.count === 0) this.#reject(job, tooLarge(job));
      return false;
    }
    this.#queue.remove(job.tenant, job);
    this.#queue.charge(job.tenant, job.sequence.tokens.length);
    if (job.order === 0) job.order = this.#nextOrder++;
    this.#rows.place(job);
    job.stream.push(...job.sequence.admit(job.lease?.digest ?? null));
    return true;
  }

  #load(job: Job): void {
    this.#loads++;
    job.startLoading(this.#parts.tiers, (failure) => {
      this.#loads--;
      // a job that ended meanwhile has given its adapter back
      if (job.sequence.ended) this.#isMemoryTaken = false;
      else if (failure !== undefined) this.#refused(job, asError(failure));
      this.#stir();
    });
  }

  /** Memory comes back when others end; without others it will not. */
  #refused(job: Job, error: MosError): void {
    const holds =
      this.#loads > 0 || this.#rows.count > 0 || [...this.#queue].some(({ lease }) => lease !== undefined);
    if (error.code === "busy" && holds) {
      job.load = "none";
      this.#isMemoryTaken = true;
    } else this.#reject(job, error);
  }

  #reject(job: Job, error: MosError): void {
    this.#queue.remove(job.tenant, job);
    job.fail(error);
    this.#isMemoryTaken = false;
  }

  async #turn(): Promise<void> {
    const plan = this.#plan();
    for (const { row, tokens } of plan.prompts) await this.#read(row, tokens);
    await this.#write(plan.decode);
  }

  /** A plan that there is memory for: the youngest rows wait again where there is not. */
  #plan(): TurnPlan {
    for (;;) {
      const rows = this.#rows.entries();
      const plan = planTurn(
        rows.map(([row, job]) => this.#stateOf(row, job)),
        this.#parts.limits,
      );
      const parts = [...plan.prompts, ...plan.decode.map((row) => ({ row, tokens: 1 }))];
      const longest = Math.max(...parts.map(({ row, tokens }) => this.#rows.computed(row) + tokens));
      if (this.#rows.reserve(longest) || rows.length <= 1) return plan;
      const [row, job] = rows.reduce((youngest, one) => (one[1].order > youngest[1].order ? one : youngest));
      this.#rows.release(row);
      this.#queue.pushFirst(job.tenant, job);
      this.#rows.compact();
    }
  }

  #stateOf(row: number, { sequence, order }: Job): RowState {
    const pending = sequence.tokens.length - this.#rows.computed(row);
    return { row, order, pending, everyPlace: sequence.scoresPrompt };
  }

  /** One part of a prompt. */
  async #read(row: number, count: number): Promise<void> {
    const job = this.#rows.entries().find(([at]) => at === row)?.[1];
    if (job === undefined) return;
    const { sequence } = job;
    const from = this.#rows.computed(row);
    const everyPlace = sequence.scoresPrompt;
    const tokens = sequence.tokens.slice(from, from + count);
    const [logits = []] = await this.#parts.program.run({
      from: row,
      count: 1,
      tokens: [tokens],
      everyPlace,
    });
    this.#counts.promptTokens += tokens.length;
    if (everyPlace) sequence.score(logits);
    const last = logits.at(-1);
    if (from + count === sequence.tokens.length && last !== undefined) this.#advance(row, job, last);
  }

  /** One token of every row that writes. */
  async #write(rows: readonly number[]): Promise<void> {
    if (rows.length === 0) return;
    const jobs = new Map(this.#rows.entries());
    const count = Math.max(...rows) + 1;
    const tokens = Array.from({ length: count }, (_, row) =>
      rows.includes(row) ? (jobs.get(row)?.sequence.tokens.slice(-1) ?? []) : [],
    );
    const logits = await this.#parts.program.run({ from: 0, count, tokens });
    this.#counts.steps++;
    this.#counts.decodedRows += rows.length;
    for (const row of rows) {
      const [job, last] = [jobs.get(row), logits[row]?.[0]];
      if (job !== undefined && last !== undefined) this.#advance(row, job, last);
    }
  }

  #advance(row: number, job: Job, logits: Float32Array): void {
    const before = job.sequence.generated;
    try {
      job.stream.push(...job.sequence.advance(logits));
    } catch (cause) {
      job.fail(asError(cause));
    }
    const written = job.sequence.generated - before;
    this.#counts.completionTokens += written;
    this.#queue.charge(job.tenant, written);
    if (job.sequence.ended) {
      job.close();
      this.#leave(row);
    }
  }

  #leave(row: number): void {
    this.#rows.release(row);
    this.#isMemoryTaken = false;
  }

  #failRunning(error: MosError): void {
    for (const [row, job] of this.#rows.entries()) {
      job.fail(error);
      this.#leave(row);
    }
    this.#rows.forget();
  }
}

const tooLarge = ({ sequence, lease }: Job): MosError =>
  new MosError(
    "bad_option",
    `${sequence.tokens.length} tokens with an adapter of rank ${lease?.rank ?? 0} do not fit into the engine's memory; raise its limits`,
  );

/** Requests by the name of their adapter. */
function countAdapters(jobs: Iterable<Job>): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { sequence } of jobs) {
    const name = sequence.request.adapter;
    if (name !== null) counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}
