// A request while it runs: its tokens, the text that they complete, and the adapter that it pins.
import { GrammarError } from "mixture-of-shards-grammar";
import { MosError, omitUndefined, type Random, randomStream } from "#common";
import {
  createAnswerScanner,
  createDetokenizer,
  type Detokenizer,
  type StopScanner,
  type Tokenizer,
} from "#text";
import type { AdapterLease } from "./adapters/manager.ts";
import type { Constraint } from "./constraint.ts";
import { DraftRates } from "./drafts.ts";
import { Pooler } from "./embedding.ts";
import {
  computeLogprobs,
  divergedError,
  emptyLogprobs,
  packLogprob,
  packLogprobs,
  rowAt,
  tokenLogprob,
} from "./logprobs.ts";
import { type RowSoftmax, type SoftmaxRow, sample, softmaxTemperature } from "./sampler.ts";
import type { EngineEvent, FinishReason, FullRequest, PackedLogprobs, TokenLogprob } from "./types.ts";

export interface SequenceOptions {
  readonly tokenizer: Tokenizer;
  readonly endTokens: readonly number[];
  /** Adapter of requests that name none; without it, the base alone. */
  readonly defaultAdapter?: AdapterLease | undefined;
  /** Milliseconds from any start. */
  readonly now: () => number;
}

/** Changes of a sequence since the last update. */
export interface SequenceUpdate {
  readonly id: number;
  readonly events: readonly EngineEvent[];
  /** The failure, of which code and message cross to another process. Nothing follows, as after a `finish` event. */
  readonly error?: Pick<MosError, "code" | "message">;
}

/** Error that ends a sequence. Numbers that are not finite mostly come from its adapter, which is named then. */
function asError(cause: unknown, adapter: string | null): MosError {
  if (cause instanceof GrammarError)
    return new MosError("bad_option", `the answer's grammar failed: ${cause.message}`, { cause });
  if (!(cause instanceof MosError))
    return new MosError("device", `the engine failed: ${String(cause)}`, { cause });
  if (cause.code !== "diverged" || adapter === null) return cause;
  return new MosError(
    "diverged",
    `with the adapter ${JSON.stringify(adapter)} the model's activations overflow: the adapter's weights are too large; retrain it with a lower learning rate`,
    { cause },
  );
}

/** log Σ e^z of a row; undefined where it was not computed. Throws `diverged` where it is not finite. */
function totalOf(softmax: RowSoftmax | undefined): number | undefined {
  const total = softmax?.total;
  if (total !== undefined && !Number.isFinite(total)) throw divergedError();
  return total;
}

/** Logits [V], and their softmax where it was computed. */
interface Row {
  readonly logits: Float32Array;
  readonly softmax: RowSoftmax | undefined;
}

/** A request from its submission to its end. The scheduler and the placement keep their notes on it. */
export class Sequence {
  readonly id: number;
  readonly request: FullRequest;
  /** The prompt, then the answer so far. */
  readonly tokens: number[];
  isCancelled = false;
  hasEnded = false;

  /** Pins its adapter's content; undefined for the base, and before the adapter is loaded. */
  lease: AdapterLease | undefined;
  load: "none" | "loading" | "ready";
  /** Its adapter found no memory once: memory that is released goes to it before later sequences. */
  lacksMemory = false;
  /** Sequences that were first scheduled earlier have a lower one; 0 before. */
  order = 0;
  /** The engine's step that it takes part in. */
  step = 0;
  /** What its request's grammar allows. It follows the answer, and so outlives a preemption. */
  constraint: Constraint | undefined;
  readonly draftRates = new DraftRates();

  readonly #options: SequenceOptions;
  readonly #detokenizer: Detokenizer;
  readonly #stops: StopScanner;
  readonly #random: Random;
  readonly #pooler: Pooler | undefined;
  readonly #submitted: number;
  /** A row for each token of the prompt, the first `#scored` of which are filled. */
  #promptScores: PackedLogprobs | undefined;
  #scored = 0;
  /** Prompt tokens that were computed for this sequence, not copied, before the first token. */
  #computed = 0;
  #scheduled: number | undefined;
  #firstToken: number | undefined;
  #firstTokenStep: number | undefined;
  /** What the next token is still to be chosen from. */
  #kept: Row | undefined;
  #events: EngineEvent[] = [];
  #error: MosError | undefined;

  constructor(id: number, request: FullRequest, options: SequenceOptions) {
    this.id = id;
    this.request = request;
    this.tokens = [...request.prompt];
    this.load = request.adapter === null ? "ready" : "none";
    this.lease = request.adapter === null ? options.defaultAdapter : undefined;
    this.#options = options;
    this.#detokenizer = createDetokenizer(options.tokenizer, { continues: request.continuesPrompt });
    this.#stops = createAnswerScanner(request.stop, request.calls);
    this.#random = randomStream(request.seed, "sampling");
    this.#pooler = request.pooling === undefined ? undefined : new Pooler(request.pooling);
    this.#submitted = options.now();
  }

  /** Tokens of the answer. */
  get generated(): number {
    return this.tokens.length - this.request.prompt.length;
  }

  /** Tokens of the prompt that were copied. A prompt that is preempted before its first token may be computed twice. */
  get cachedTokens(): number {
    return this.#firstToken === undefined ? 0 : Math.max(0, this.request.prompt.length - this.#computed);
  }

  /** Digest of the adapter's content; null for the base. */
  get digest(): string | null {
    return this.lease?.digest ?? null;
  }

  /** True if hidden states are needed rather than logits. */
  get embeds(): boolean {
    return this.#pooler !== undefined;
  }

  /** True if logits or hidden states are needed at every token of the prompt. */
  get needsAll(): boolean {
    const { prompt, promptLogprobs, pooling } = this.request;
    return pooling === "mean" || (promptLogprobs !== undefined && this.#scored < prompt.length);
  }

  /** The first position whose logits or hidden state is needed: keys and values of earlier ones may come from a cache. */
  get firstLogits(): number {
    if (!this.needsAll) return this.tokens.length - 1;
    return this.#pooler?.count ?? Math.max(0, this.#scored - 1);
  }

  /** What is needed of the softmax of the logits that the next token is chosen from, or the one `ahead` tokens after it. */
  softmaxRow(logits: Float32Array, ahead = 0): SoftmaxRow {
    const { sampling, maxTokens, logprobs, candidates } = this.request;
    const state = { barred: this.#barred(ahead), allowed: this.constraint };
    return {
      logits,
      temperature: maxTokens === 0 ? undefined : softmaxTemperature({ ...sampling, ...state }),
      scores: logprobs !== undefined || (candidates !== undefined && this.generated + ahead === 0),
    };
  }

  /** It has a slot; only the first time is reported. */
  schedule(): void {
    if (this.#scheduled !== undefined) return;
    this.#scheduled = this.#options.now();
    // an adapter that is used in the base's place is the base to the caller, whether or not it is merged
    const digest = this.request.adapter === null ? null : this.digest;
    this.#events.push({ type: "scheduled", digest });
  }

  /** Notes that keys and values of this many tokens were computed. */
  noteComputed(tokens: number): void {
    if (this.#firstToken === undefined) this.#computed += tokens;
  }

  /**
   * Takes logits of the prompt's tokens from position `from` on, and their softmax: each scores the next token. A prompt
   * that is computed again keeps the scores it has.
   */
  score(logits: readonly Float32Array[], from: number, softmax: readonly RowSoftmax[] = []): void {
    const { prompt, promptLogprobs = 0 } = this.request;
    this.#promptScores ??= emptyLogprobs(prompt.length, promptLogprobs);
    const scores = this.#promptScores;
    const add = (entry: TokenLogprob): void =>
      void packLogprob(rowAt(scores, this.#scored++, prompt.length), entry);
    if (this.#scored === 0) add({ id: prompt[0] as number, logprob: null, top: [] });
    logits.forEach((at, i) => {
      const next = prompt[from + i + 1];
      if (next !== undefined && from + i + 1 === this.#scored)
        add(tokenLogprob(at, next, { top: promptLogprobs, total: totalOf(softmax[i]) }));
    });
  }

  /** Takes hidden states of the prompt's tokens from position `from` on; of the last one alone, unless all are needed. */
  pool(states: readonly Float32Array[], from: number): void {
    this.#pooler?.take(states, from);
  }

  embed(): void {
    if (this.#pooler === undefined) return;
    this.#noteFirst();
    this.#events.push({ type: "embedding", vector: this.#pooler.vector() });
    this.finish("length");
  }

  /** The next token is not chosen yet: its grammar needs more time. */
  get isWaiting(): boolean {
    return this.#kept !== undefined;
  }

  /** Chooses the next token from the logits of the last one, and their softmax. Where it is waiting then, `resume` goes on. */
  advance(logits: Float32Array, softmax?: RowSoftmax): void {
    // the same ones, computed again after a preemption
    if (this.isWaiting) return;
    const { maxTokens, candidates } = this.request;
    if (this.generated === 0 && this.#promptScores !== undefined)
      this.#events.push({ type: "prompt", tokens: this.#scored, logprobs: this.#promptScores });
    this.#promptScores = undefined;
    if (this.generated === 0 && candidates !== undefined)
      this.#events.push({
        type: "candidates",
        logprobs: computeLogprobs(logits, candidates, totalOf(softmax)),
      });
    this.#noteFirst();
    if (maxTokens === 0) this.finish("length");
    else this.#choose({ logits, softmax });
  }

  resume(): void {
    if (this.#kept !== undefined) this.#choose(this.#kept);
  }

  /** Ends the answer with the text that was held back, and releases the adapter; `stop`: the stop string that was found. */
  finish(reason: FinishReason, stop?: string): void {
    if (this.hasEnded) return;
    const rest = reason === "stop" ? undefined : this.#stops.push(this.#detokenizer.flush());
    const text = rest === undefined ? "" : rest.text + (rest.stopped ? "" : this.#stops.flush());
    const end = this.#options.now();
    const since = (time: number | undefined): number => ((time ?? end) - this.#submitted) / 1000;
    this.#events.push({
      type: "finish",
      finishReason: rest?.stopped === true ? "stop" : reason,
      ...omitUndefined({ stop: stop ?? rest?.stop }),
      text,
      usage: {
        promptTokens: this.request.prompt.length,
        cachedTokens: this.cachedTokens,
        completionTokens: this.generated,
        queuedSeconds: since(this.#scheduled),
        firstTokenSeconds: since(this.#firstToken),
        ...omitUndefined({ firstTokenStep: this.#firstTokenStep }),
      },
    });
    this.#end();
  }

  fail(cause: unknown): void {
    if (this.hasEnded) return;
    this.#error = asError(cause, this.request.adapter);
    this.#end();
  }

  /** Changes since the last call; undefined if there are none. */
  takeUpdate(): SequenceUpdate | undefined {
    const { id } = this;
    const [events, error] = [this.#events, this.#error];
    if (events.length === 0 && error === undefined) return undefined;
    this.#events = [];
    this.#error = undefined;
    return { id, events, ...omitUndefined({ error }) };
  }

  #noteFirst(): void {
    this.#firstToken ??= this.#options.now();
    this.#firstTokenStep ??= this.step;
  }

  #choose(row: Row): void {
    const next = this.#next(row);
    // the model's own are overwritten by its next step
    this.#kept = next === undefined ? (this.#kept ?? { ...row, logits: row.logits.slice() }) : undefined;
    if (next === undefined) return;
    const { id, isLast } = next;
    if (id === undefined) this.finish("end");
    else if (this.#isEnd(id)) this.#endWith(id, row);
    else this.#push(id, { row, isLast });
  }

  #endWith(id: number, row: Row): void {
    if (this.request.keepsEnd === true) {
      this.tokens.push(id);
      this.#events.push({ type: "token", id, text: "", ...this.#score(id, row) });
    }
    this.finish("end");
  }

  #next(row: Row): ReturnType<Constraint["next"]> {
    const choose = (): number => this.#sample(row);
    if (this.constraint === undefined) return { id: choose(), isLast: false };
    return this.constraint.next({
      choose,
      isEnd: (id) => this.#isEnd(id),
      isFirst: this.generated === 0,
    });
  }

  #push(id: number, { row, isLast }: { readonly row: Row; readonly isLast: boolean }): void {
    const { maxTokens, minTokens } = this.request;
    this.tokens.push(id);
    const written = this.#detokenizer.push(id);
    const mayStop = this.generated > minTokens;
    const { text, stopped, stop } = mayStop
      ? this.#stops.push(written)
      : { text: written, stopped: false, stop: undefined };
    this.#events.push({ type: "token", id, text, ...this.#score(id, row) });
    if (stopped) this.finish("stop", stop);
    else if (isLast) this.finish("end");
    else if (this.generated >= maxTokens) this.finish("length");
  }

  /** The log-probabilities of a token, where the request asks for them. */
  #score(id: number, { logits, softmax }: Row): { readonly logprobs?: PackedLogprobs } {
    const { logprobs } = this.request;
    if (logprobs === undefined) return {};
    const scored = tokenLogprob(logits, id, { top: logprobs, total: totalOf(softmax) });
    return { logprobs: packLogprobs([scored], logprobs) };
  }

  #sample({ logits, softmax }: Row): number {
    const { prompt, sampling } = this.request;
    const answer = this.tokens.slice(prompt.length);
    const { constraint: allowed, tokens: seen } = this;
    const state = { seen, answer, barred: this.#barred(), allowed, random: this.#random };
    return sample(logits, { ...sampling, ...state, probabilities: softmax?.probabilities });
  }

  /** Tokens that cannot come next, or `ahead` tokens later: those that end an answer which is still too short. */
  #barred(ahead = 0): readonly number[] {
    const { minTokens, stopTokens } = this.request;
    return this.generated + ahead < minTokens ? [...this.#options.endTokens, ...stopTokens] : [];
  }

  #isEnd(id: number): boolean {
    const { ignoreEos, stopTokens } = this.request;
    return stopTokens.includes(id) || (!ignoreEos && this.#options.endTokens.includes(id));
  }

  #end(): void {
    this.hasEnded = true;
    this.#kept = undefined;
    // a matcher may have many megabytes
    this.constraint = undefined;
    this.lease?.[Symbol.dispose]();
    this.lease = undefined;
  }
}
