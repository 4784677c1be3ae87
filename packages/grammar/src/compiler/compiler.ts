import { createHash } from "node:crypto";
import { GrammarError, type GrammarSource } from "#grammar";
import type { PreparedGrammar } from "#matcher";
import { ByteCache } from "./byte-cache.ts";
import { type CompileOutcome, CompileThread, type SerializedGrammar } from "./compile-thread.ts";

/** Limits of a compiler. */
export interface GrammarCompilerOptions {
  /** Seconds of CPU that one compilation may take (1); where the system does not tell a thread's, five times as long. */
  readonly seconds?: number;
  /** Megabytes of memory that one compilation may take (256). */
  readonly megabytes?: number;
  /** Bytes of compiled grammars that are kept, estimated (64 MB). */
  readonly cacheBytes?: number;
  /** Sources of one tenant that may wait for others (64). */
  readonly maxWaiting?: number;
}

/** Options of one compilation. */
export interface CompileOptions {
  /** Whose source it is: tenants take turns (""). */
  readonly tenant?: string | undefined;
  readonly signal?: AbortSignal | undefined;
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
/** Labels of refusals, which clients could multiply. */
const MAX_LABELS = 200;
const BOUNDS = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1];

interface Job {
  readonly digest: string;
  readonly source: string;
  readonly what: string;
  readonly outcome: Promise<CompileOutcome>;
  readonly settle: (outcome: CompileOutcome) => void;
  /** In whose lines it waits. */
  readonly tenants: Set<string>;
  waiting: number;
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
 * Tenants whose sources wait take turns. The thread starts with the first source, and is replaced where a source has used it up. It does
 * not keep the process running.
 *
 * @example
 * await using compiler = new GrammarCompiler();
 * const { grammar } = await compiler.compile({ type: "choice", choices: ["yes", "no"] });
 */
export class GrammarCompiler implements AsyncDisposable {
  readonly #options: Required<GrammarCompilerOptions>;
  readonly #cache: ByteCache<SerializedGrammar>;
  readonly #refused = new ByteCache<Error>(MAX_REFUSALS);
  readonly #jobs = new Map<string, Job>();
  /** What waits, by tenant; the one whose turn is next comes first. */
  readonly #lines = new Map<string, Set<Job>>();
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
    maxWaiting = 64,
  }: GrammarCompilerOptions = {}) {
    this.#options = { seconds, megabytes, cacheBytes, maxWaiting };
    this.#cache = new ByteCache(cacheBytes);
  }

  /**
   * Compiles a source, or finds its grammar.
   *
   * @throws GrammarError `bad_grammar`, `unsupported`, or `limit`, which says what was too large; `busy` where too many sources of the
   *   tenant wait; the reason of the signal.
   */
  async compile(
    source: GrammarSource,
    { tenant = "", signal }: CompileOptions = {},
  ): Promise<CompiledSource> {
    signal?.throwIfAborted();
    if (this.#isClosed) throw new Error("the grammar compiler is closed");
    const json = toJson(source);
    const digest = createHash("sha256").update(json).digest("hex");
    const known = this.#find(digest);
    if (known !== undefined) return toResult(known, { digest, seconds: 0, cached: true });
    const job = this.#join({ digest, source: json, what: describe(source) }, tenant);
    const outcome = await this.#wait(job, signal);
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
    for (let job = this.#take(); job !== undefined; job = this.#take())
      this.#finish(job, { error, isLasting: false, seconds: 0 });
    await this.#thread?.end();
  }

  /** The grammar that is known for a digest. Throws the refusal that is known. */
  #find(digest: string): SerializedGrammar | undefined {
    const known = this.#cache.get(digest);
    const refusal = known === undefined ? this.#refused.get(digest) : undefined;
    if (known !== undefined || refusal !== undefined) this.#hits++;
    if (refusal === undefined) return known;
    this.#countRefusal(refusal);
    throw refusal;
  }

  #join(given: Pick<Job, "digest" | "source" | "what">, tenant: string): Job {
    const known = this.#jobs.get(given.digest);
    if (known !== undefined) {
      this.#hits++;
      // a source of several tenants is compiled at the first of their turns
      if (known.tenants.size > 0) this.#enqueue(known, tenant);
      return known;
    }
    let settle: Job["settle"] = () => undefined;
    const outcome = new Promise<CompileOutcome>((resolve) => {
      settle = resolve;
    });
    const job: Job = { ...given, outcome, settle, tenants: new Set(), waiting: 0 };
    this.#enqueue(job, tenant);
    this.#jobs.set(job.digest, job);
    if (!this.#isRunning) void this.#runJobs();
    return job;
  }

  #enqueue(job: Job, tenant: string): void {
    const { maxWaiting } = this.#options;
    const line = this.#lines.get(tenant) ?? new Set();
    if (line.size >= maxWaiting && !line.has(job))
      throw new GrammarError(
        "busy",
        `${maxWaiting} grammars are already waiting to be compiled; retry when some are done`,
      );
    this.#lines.set(tenant, line.add(job));
    job.tenants.add(tenant);
  }

  /** Takes the first job of the tenant whose turn it is, which comes again after those of all others. */
  #take(): Job | undefined {
    for (const [tenant, line] of this.#lines) {
      this.#lines.delete(tenant);
      this.#lines.set(tenant, line);
      for (const job of line) {
        this.#dequeue(job);
        return job;
      }
    }
    return undefined;
  }

  #dequeue(job: Job): void {
    for (const tenant of job.tenants) {
      const line = this.#lines.get(tenant);
      line?.delete(job);
      if (line?.size === 0) this.#lines.delete(tenant);
    }
    job.tenants.clear();
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
      if (job.waiting === 0 && job.tenants.size > 0) {
        this.#dequeue(job);
        this.#jobs.delete(job.digest);
      }
    }
  }

  async #runJobs(): Promise<void> {
    this.#isRunning = true;
    for (let job = this.#take(); job !== undefined; job = this.#take()) {
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
    if (isLasting) this.#refused.set(digest, { value: error, bytes: 1 });
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
