// Requests that join and leave between steps. Each turn: drop what was cancelled, give rows to who waits, plan, obey.
import { MosError } from "#core";
import type { Tokenizer } from "#text";
import type { AdapterTiers } from "./adapters/index.ts";
import { Admission } from "./admission.ts";
import { checkRequest, type FullRequest, fullRequest } from "./check-request.ts";
import { Job } from "./job.ts";
import type { ModelRunner } from "./model-runner.ts";
import { planTurn, type RowState, type TurnOptions, type TurnPlan } from "./plan.ts";
import { Rows, type RowsOptions } from "./rows.ts";
import { Sequence } from "./sequence.ts";
import { planSharing } from "./share-beginnings.ts";
import type { AdapterInfo, Engine, EngineEvent, EngineModel, EngineRequest, EngineStats } from "./types.ts";

/** Bounds of an engine; all of them are arguments of whoever opens it. */
export interface EngineLimits extends TurnOptions, Pick<RowsOptions, "maxRows" | "cacheLimit" | "slotLimit"> {
  /** Requests of one tenant that may wait. */
  readonly maxWaiting: number;
}

/** What an engine is made of. It disposes the program and the tiers. */
export interface EngineParts {
  readonly program: ModelRunner;
  readonly tiers: AdapterTiers;
  readonly tokenizer: Tokenizer;
  readonly model: EngineModel;
  readonly limits: EngineLimits;
  /** Milliseconds from any start. */
  readonly now: () => number;
}

/** Turns between looks at memory that could be given back. */
const TRIM_EVERY = 64;

/** Runs the requests on the thread that calls it. */
export function createEngine(parts: EngineParts): Engine {
  return new LocalEngine(parts);
}

class LocalEngine implements Engine {
  readonly #parts: EngineParts;
  readonly #rows: Rows<Job>;
  readonly #waiting: Admission;
  readonly #loop: Promise<void>;
  /** A failed step ends its requests and not the engine. */
  readonly closed: Promise<undefined>;
  #wake: (() => void) | undefined;
  #isStirred = false;
  /** Who waits for the end of all work. */
  #drains: (() => void)[] = [];
  #isDraining = false;
  #isClosed = false;
  #counts = { steps: 0, decodedRows: 0, promptTokens: 0, completionTokens: 0 };

  constructor(parts: EngineParts) {
    this.#parts = parts;
    const { program, limits, tiers } = parts;
    this.#rows = new Rows(program, limits);
    this.#waiting = new Admission({
      rows: this.#rows,
      tiers,
      maxRows: limits.maxRows,
      stir: () => this.#stir(),
    });
    this.#loop = this.#run();
    this.closed = this.#loop.then(() => undefined);
  }

  get model(): EngineModel {
    return this.#parts.model;
  }

  submit(given: EngineRequest): AsyncIterable<EngineEvent> {
    const request = fullRequest(given);
    this.#check(request);
    const { tokenizer, model, now } = this.#parts;
    const sequence = new Sequence(request, { tokenizer, endTokens: model.endTokens, now });
    const job = new Job(sequence, { stir: () => this.#stir(), signal: given.signal });
    this.#waiting.add(job);
    this.#stir();
    return job.events();
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
      waiting: this.#waiting.size,
      running: running.length,
      waitingAdapters: countAdapters(this.#waiting),
      runningAdapters: countAdapters(running),
      maxBatch: limits.maxRows,
      ...this.#counts,
      adapters: { ...tiers.stats(), active: active.size, activeBytes: slots.bytes },
    };
  }

  async drain(): Promise<void> {
    this.#isDraining = true;
    if (this.#isClosed) return;
    const ended = new Promise<void>((resolve) => this.#drains.push(resolve));
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

  #check(request: FullRequest): void {
    const { model, limits, program } = this.#parts;
    if (this.#isDraining)
      throw new MosError("busy", "the engine is shutting down and takes nothing more; ask another one");
    checkRequest(request, { model, ...limits, config: program.config });
    const waiting = this.#waiting.sizeOf(request.tenant);
    // who finds a free row at the next turn does not wait
    const free = limits.maxRows - this.#rows.count - (this.#waiting.size - waiting);
    if (waiting >= limits.maxWaiting + Math.max(0, free))
      throw new MosError(
        "busy",
        `${limits.maxWaiting} requests of ${request.tenant} are waiting already; try again when some have ended`,
      );
  }

  #stir(): void {
    this.#isStirred = true;
    this.#wake?.();
  }

  async #run(): Promise<void> {
    for (let turn = 1; !this.#isClosed; turn++) {
      this.#isStirred = false;
      const isBusy = await this.#turn(turn).catch((cause: unknown) => this.#failRunning(cause));
      // requests, cancellations and loaded adapters come in here
      if (isBusy) await new Promise((resolve) => setImmediate(resolve));
      else await this.#sleep();
    }
    for (const job of [...this.#waiting, ...this.#rows.entries().map(([, running]) => running)])
      job.finish("cancelled");
    this.#endDrains();
  }

  /** Whether there was anything to do. */
  async #turn(turn: number): Promise<boolean> {
    if (turn % TRIM_EVERY === 0) {
      this.#rows.trim();
      this.#waiting.prune();
    }
    this.#dropCancelled();
    this.#waiting.admit();
    if (this.#rows.count === 0) {
      if (this.#waiting.size === 0) this.#endDrains();
      return false;
    }
    const plan = this.#plan();
    for (const { row, tokens } of plan.prompts) await this.#read(row, tokens);
    await this.#write(plan.decode);
    return true;
  }

  #endDrains(): void {
    for (const resolve of this.#drains.splice(0)) resolve();
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
    this.#waiting.dropCancelled();
    for (const [row, job] of this.#rows.entries()) {
      if (!job.isCancelled) continue;
      job.finish("cancelled");
      this.#leave(row);
    }
  }

  /** A plan that there is memory for: the youngest rows wait again where there is not. */
  #plan(): TurnPlan {
    for (;;) {
      const { copies, waiting } = planSharing(this.#rows.contents());
      for (const copy of copies) this.#rows.copyBeginning(copy);
      const rows = this.#rows.entries();
      const plan = planTurn(
        rows.filter(([row]) => !waiting.has(row)).map(([row, job]) => this.#stateOf(row, job)),
        this.#parts.limits,
      );
      const parts = [...plan.prompts, ...plan.decode.map((row) => ({ row, tokens: 1 }))];
      const longest = Math.max(...parts.map(({ row, tokens }) => this.#rows.computed(row) + tokens));
      if (this.#rows.reserve(longest) || rows.length <= 1) return plan;
      const [row, job] = rows.reduce((youngest, one) => (one[1].order > youngest[1].order ? one : youngest));
      this.#rows.release(row);
      this.#waiting.putBack(job);
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
      allLogits: everyPlace,
    });
    this.#counts.promptTokens += tokens.length;
    const last = logits.at(-1);
    this.#settle(row, job, () => {
      if (everyPlace) sequence.score(logits, from);
      if (from + count === sequence.tokens.length && last !== undefined) job.tell(sequence.advance(last));
    });
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
      if (job !== undefined && last !== undefined)
        this.#settle(row, job, () => job.tell(job.sequence.advance(last)));
    }
  }

  /** What a step means for one job. Its failure is that job's alone. */
  #settle(row: number, job: Job, work: () => void): void {
    const before = job.sequence.generated;
    try {
      work();
    } catch (cause) {
      job.fail(cause);
    }
    const written = job.sequence.generated - before;
    this.#counts.completionTokens += written;
    this.#waiting.charge(job, written);
    if (job.sequence.ended) {
      job.close();
      this.#leave(row);
    }
  }

  #leave(row: number): void {
    this.#rows.release(row);
    this.#waiting.noteEnd();
  }

  /** After a failure that is nobody's own: whoever runs hears of it, and nothing that it touched is used again. */
  #failRunning(cause: unknown): true {
    for (const [, job] of this.#rows.entries()) job.fail(cause);
    this.#rows.reset();
    this.#waiting.noteEnd();
    return true;
  }
}

/** Requests by the name of their adapter. */
function countAdapters(jobs: Iterable<Job>): Readonly<Record<string, number>> {
  const counts = new Map<string, number>();
  for (const { sequence } of jobs) {
    const name = sequence.request.adapter;
    if (name !== null) counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return Object.fromEntries(counts);
}
