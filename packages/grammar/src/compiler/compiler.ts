import { createHash } from "node:crypto";
import { GrammarError, type GrammarSource } from "#grammar";
import type { PreparedGrammar } from "#matcher";
import { ByteCache } from "./byte-cache.ts";
import { type CompileOutcome, CompileThread, type SerializedGrammar } from "./compile-thread.ts";

/** Limits of a compiler. */
export interface GrammarCompilerOptions {
  /** Seconds that one compilation may take (1). */
  readonly seconds?: number;
  /** Megabytes of memory that one compilation may take (256). */
  readonly megabytes?: number;
  /** Bytes of compiled grammars that are kept, estimated (64 MB). */
  readonly cacheBytes?: number;
  /** Compilations that may wait for others (256). */
  readonly maxWaiting?: number;
}

/** A grammar as `GrammarCompiler.compile` returns it. */
export interface CompiledSource {
  /** Read from `serialized` when it is asked for first. */
  readonly grammar: PreparedGrammar;
  /** For another process, which reads it by `deserialize` of `node:v8`. */
  readonly serialized: Uint8Array;
  /** SHA-256 of the source as JSON, in hexadecimal: equal sources have equal grammars. */
  readonly digest: string;
  /** Seconds that its compilation took, 0 where it was cached. */
  readonly seconds: number;
  readonly cached: boolean;
}

/** What a compiler has done, for metrics. */
export interface GrammarCompilerStats {
  /** Compilations that were started, without those that found the result of another. */
  readonly compiles: number;
  /** Requests that found a grammar or a refusal in the cache, or joined a compilation. */
  readonly hits: number;
  /** Refusals by keyword, or by error code where no keyword is refused. */
  readonly refusals: Readonly<Record<string, number>>;
  /** Histogram of the seconds of compilations: how many took at most each bound, and their sum. */
  readonly seconds: {
    readonly bounds: readonly number[];
    readonly counts: readonly number[];
    readonly sum: number;
  };
  readonly cachedGrammars: number;
  readonly cachedBytes: number;
  /** Threads that were started; all but the first replace one that ran out of time or memory. */
  readonly threads: number;
}

/** Characters of a source as JSON. */
const MAX_SOURCE = 8_000_000;
/** Objects take more memory than their serialised form. */
const BYTES_PER_BYTE = 6;
/** Refusals that are remembered, so that a client that repeats a bad source costs nothing. */
const MAX_REFUSALS = 1000;
/** Milliseconds for which a source is refused without another try where time ran out. */
const LATE_PAUSE = 60_000;
/** Labels of refusals, which clients could multiply. */
const MAX_LABELS = 200;
const BOUNDS = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1];

interface Job {
  readonly digest: string;
  readonly source: string;
  readonly what: string;
  readonly outcome: Promise<CompileOutcome>;
  readonly settle: (outcome: CompileOutcome) => void;
  waiting: number;
}

interface Refusal {
  readonly error: Error;
  /** Time until which it holds. */
  readonly until: number;
}

function toJson(source: GrammarSource): string {
  let text: string | undefined;
  try {
    text = JSON.stringify(source);
  } catch (cause) {
    if (cause instanceof RangeError)
      throw new GrammarError("limit", "the source is nested too deeply", { cause });
    throw new GrammarError("bad_grammar", `the source is not JSON: ${(cause as Error).message}`, { cause });
  }
  if (text === undefined) throw new GrammarError("bad_grammar", "the source is not JSON");
  if (text.length <= MAX_SOURCE) return text;
  throw new GrammarError(
    "limit",
    `the source has ${text.length.toLocaleString("en")} characters as JSON, more than ${MAX_SOURCE.toLocaleString("en")}`,
  );
}

const toResult = (
  compiled: SerializedGrammar,
  more: Pick<CompiledSource, "digest" | "seconds" | "cached">,
): CompiledSource => ({
  ...more,
  serialized: compiled.bytes,
  get grammar() {
    return compiled.grammar;
  },
});

const describe = ({ type }: GrammarSource): string => {
  if (type === "json_schema") return "a JSON Schema";
  return typeof type === "string" && type.length < 40 ? `a grammar of type ${type}` : "a grammar";
};

/**
 * Compiles sources in a thread of its own, within limits of time and memory, and keeps grammars by the digest of their source.
 * The thread starts with the first source, and is replaced where a source has used it up. It does not keep the process running.
 *
 * @example
 * await using compiler = new GrammarCompiler();
 * const { grammar } = await compiler.compile({ type: "choice", choices: ["yes", "no"] });
 */
export class GrammarCompiler implements AsyncDisposable {
  readonly #options: Required<GrammarCompilerOptions>;
  readonly #cache: ByteCache<SerializedGrammar>;
  readonly #refused = new ByteCache<Refusal>(MAX_REFUSALS);
  readonly #jobs = new Map<string, Job>();
  #queue: Job[] = [];
  #thread: CompileThread | undefined;
  #isRunning = false;
  #isClosed = false;
  #compiles = 0;
  #hits = 0;
  #threads = 0;
  #sum = 0;
  readonly #counts: number[] = BOUNDS.map(() => 0);
  readonly #refusals = new Map<string, number>();

  constructor({
    seconds = 1,
    megabytes = 256,
    cacheBytes = 64_000_000,
    maxWaiting = 256,
  }: GrammarCompilerOptions = {}) {
    this.#options = { seconds, megabytes, cacheBytes, maxWaiting };
    this.#cache = new ByteCache(cacheBytes);
  }

  /**
   * Compiles a source, or finds its grammar.
   *
   * @throws GrammarError `bad_grammar`, `unsupported`, or `limit`, which says what was too large; the reason of the signal.
   */
  async compile(
    source: GrammarSource,
    { signal }: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<CompiledSource> {
    signal?.throwIfAborted();
    if (this.#isClosed) throw new Error("the grammar compiler is closed");
    const json = toJson(source);
    const digest = createHash("sha256").update(json).digest("hex");
    const known = this.#find(digest);
    if (known !== undefined) return toResult(known, { digest, seconds: 0, cached: true });
    const outcome = await this.#wait(this.#join({ digest, source: json, what: describe(source) }), signal);
    if ("error" in outcome) throw outcome.error;
    return toResult(outcome.compiled, { digest, seconds: outcome.seconds, cached: false });
  }

  stats(): GrammarCompilerStats {
    return {
      compiles: this.#compiles,
      hits: this.#hits,
      refusals: Object.fromEntries(this.#refusals),
      seconds: { bounds: BOUNDS, counts: [...this.#counts], sum: this.#sum },
      cachedGrammars: this.#cache.size,
      cachedBytes: this.#cache.bytes,
      threads: this.#threads,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    const error = new Error("the grammar compiler was closed");
    for (const job of this.#queue) this.#finish(job, { error, isLasting: false, seconds: 0 });
    this.#queue = [];
    await this.#thread?.end();
  }

  /** The grammar that is known for a digest. Throws the refusal that is known. */
  #find(digest: string): SerializedGrammar | undefined {
    const known = this.#cache.get(digest);
    const refusal = known === undefined ? this.#refused.get(digest) : undefined;
    if (refusal !== undefined && refusal.until <= Date.now()) {
      this.#refused.delete(digest);
      return undefined;
    }
    if (known !== undefined || refusal !== undefined) this.#hits++;
    if (refusal === undefined) return known;
    this.#countRefusal(refusal.error);
    throw refusal.error;
  }

  #join({ digest, source, what }: Pick<Job, "digest" | "source" | "what">): Job {
    const known = this.#jobs.get(digest);
    if (known !== undefined) {
      this.#hits++;
      return known;
    }
    const { maxWaiting } = this.#options;
    if (this.#queue.length >= maxWaiting)
      throw new GrammarError("limit", `${maxWaiting} grammars are waiting to be compiled; try again later`);
    let settle: Job["settle"] = () => undefined;
    const outcome = new Promise<CompileOutcome>((resolve) => {
      settle = resolve;
    });
    const job: Job = { digest, source, what, outcome, settle, waiting: 0 };
    this.#jobs.set(digest, job);
    this.#queue.push(job);
    if (!this.#isRunning) void this.#runJobs();
    return job;
  }

  async #wait(job: Job, signal: AbortSignal | undefined): Promise<CompileOutcome> {
    job.waiting++;
    let abort = (): void => undefined;
    const aborted = new Promise<never>((_, reject) => {
      abort = () => reject(signal?.reason);
      signal?.addEventListener("abort", abort, { once: true });
    });
    try {
      return await Promise.race([job.outcome, aborted]);
    } finally {
      signal?.removeEventListener("abort", abort);
      job.waiting--;
      // nobody waits for it any more
      if (job.waiting === 0 && this.#queue.includes(job)) {
        this.#queue = this.#queue.filter((other) => other !== job);
        this.#jobs.delete(job.digest);
      }
    }
  }

  async #runJobs(): Promise<void> {
    this.#isRunning = true;
    for (let job = this.#queue.shift(); job !== undefined; job = this.#queue.shift()) {
      if (this.#thread?.isAlive !== true) {
        this.#thread = new CompileThread(this.#options);
        this.#threads++;
      }
      this.#compiles++;
      const outcome = await this.#thread.run(job.source, job.what);
      this.#record(job, outcome);
      this.#finish(job, outcome);
    }
    this.#isRunning = false;
  }

  #record({ digest }: Job, outcome: CompileOutcome): void {
    const { seconds } = outcome;
    this.#sum += seconds;
    for (const [i, bound] of BOUNDS.entries())
      if (seconds <= bound) this.#counts[i] = (this.#counts[i] ?? 0) + 1;
    if ("compiled" in outcome) {
      const { compiled: value } = outcome;
      this.#cache.set(digest, { value, bytes: value.bytes.length * BYTES_PER_BYTE });
      return;
    }
    const { error, isLasting } = outcome;
    if (!(error instanceof GrammarError)) return;
    this.#countRefusal(error);
    const until = isLasting ? Number.POSITIVE_INFINITY : Date.now() + LATE_PAUSE;
    this.#refused.set(digest, { value: { error, until }, bytes: 1 });
  }

  #countRefusal(error: Error): void {
    if (!(error instanceof GrammarError)) return;
    const label = error.keyword ?? error.code;
    const known = this.#refusals.has(label) || this.#refusals.size < MAX_LABELS ? label : error.code;
    this.#refusals.set(known, (this.#refusals.get(known) ?? 0) + 1);
  }

  #finish(job: Job, outcome: CompileOutcome): void {
    this.#jobs.delete(job.digest);
    job.settle(outcome);
  }
}
