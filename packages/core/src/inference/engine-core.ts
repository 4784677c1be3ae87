// The engine's loop on one thread: schedule, run, update. It reports what happened, one output for each step, to the front
// (engine-client.ts), which is in the same process or in another (engine-worker.ts).
import type { MosError } from "#common";
import { nextTurn } from "#platform";
import type { AdapterManager, AdaptersListener } from "./adapters/manager.ts";
import { Constraint, type GrammarMatcher } from "./constraint.ts";
import { CoreGrammars, GrammarTime } from "./core-grammars.ts";
import { type CoreStats, measureEngine } from "./core-stats.ts";
import { Drafter, expectsDraft, NO_DRAFTS } from "./drafts.ts";
import type { ModelRunner } from "./model-runner.ts";
import { Placement, type PlacementLimits } from "./placement.ts";
import { joinParts, type PrefillLimits, type PrefillPart, Scheduler } from "./scheduler.ts";
import { Sequence, type SequenceOptions, type SequenceUpdate } from "./sequence.ts";
import type { AdapterInfo, Drafts, FullRequest } from "./types.ts";

/** Listener for a core's unsolicited reports. */
export interface CoreListener {
  /** After each step, and when a request ends without one: what happened to all requests. */
  readonly onOutput: (updates: readonly SequenceUpdate[]) => void;
  readonly onAdapters: AdaptersListener;
}

/** The engine without its client. Requests arrive validated and counted. Dispose it. */
export interface EngineCore extends AsyncDisposable {
  /** Resolves when the core has stopped: to the error that stopped it, or undefined where it was disposed. Never rejects. */
  readonly closed: Promise<MosError | undefined>;
  /** See `Engine.isResponding`. */
  readonly isResponding: boolean;
  /** Starts the loop. Called once, before anything is submitted. */
  start(listener: CoreListener): void;
  /** Keeps a grammar, serialised, under its digest, by which requests name it, or forgets it; queued requests keep theirs. */
  setGrammar(digest: string, grammar: Uint8Array | undefined): void;
  /** Queues a request; `id` names it in updates. */
  submit(id: number, request: FullRequest): void;
  /** Ends a request with the next step; an id that has ended is ignored. */
  cancel(id: number): void;
  refreshAdapters(): Promise<readonly AdapterInfo[]>;
  /** See `Engine.stats`. */
  stats(): Promise<CoreStats>;
}

/** Parts of a core, which disposes the runner and the adapters. */
export interface CoreParts extends SequenceOptions {
  readonly runner: ModelRunner;
  readonly adapters: AdapterManager;
  readonly limits: PrefillLimits & PlacementLimits;
  /** The drafts that the runner can verify (none). */
  readonly drafts?: Drafts;
  /** Reads prompts of several requests in one step, where numbers may depend on what else is in it (false). */
  readonly joinsPrompts?: boolean;
  /** Milliseconds between two steps in which grammars find the tokens that may come next (16). */
  readonly grammarMilliseconds?: number;
}

/** Iterations between checks for memory that can be released. */
const TRIM_EVERY = 64;

/** A core whose steps block the thread that made it. */
export class LocalCore implements EngineCore {
  /** A failed step ends its requests and not the core. */
  readonly closed: Promise<undefined>;
  readonly isResponding = true;
  readonly #parts: CoreParts;
  readonly #placement: Placement;
  readonly #scheduler: Scheduler;
  readonly #drafter: Drafter;
  readonly #sequences = new Map<number, Sequence>();
  readonly #grammars: CoreGrammars;
  readonly #grammarTime: GrammarTime;
  /** Sequences whose matcher is not ready; the scheduler does not know them. */
  readonly #unready = new Set<Sequence>();
  #listener: CoreListener | undefined;
  #loop: Promise<void> = Promise.resolve();
  #resolveClosed: () => void = () => undefined;
  #wake: (() => void) | undefined;
  #hasNews = false;
  #isClosed = false;
  /** Counts turns of the loop, in which several sequences may take part. */
  #stepNumber = 0;
  #counts = { steps: 0, decodedTokens: 0, promptTokens: 0, cachedTokens: 0, completionTokens: 0 };
  readonly #constraintCounts = { masks: 0, matchSeconds: 0 };

  constructor(parts: CoreParts) {
    const { runner, limits, adapters, drafts = NO_DRAFTS } = parts;
    this.#parts = parts;
    const { vocabularySize } = runner.config;
    this.#grammars = new CoreGrammars({ ...parts, vocabularySize });
    this.#grammarTime = new GrammarTime(parts.grammarMilliseconds, parts.now);
    this.#drafter = new Drafter(drafts, runner.computeDtype);
    this.#placement = new Placement(runner, limits);
    this.#scheduler = new Scheduler({
      placement: this.#placement,
      adapters,
      limits,
      wake: () => this.#notify(),
    });
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = () => resolve(undefined);
    });
  }

  start(listener: CoreListener): void {
    this.#listener = listener;
    this.#parts.adapters.onChange(listener.onAdapters);
    this.#loop = this.#run();
  }

  setGrammar(digest: string, grammar: Uint8Array | undefined): void {
    this.#grammars.set(digest, grammar);
  }

  /** @param matcher - of a grammar that is ready, so that the request takes part in the next step */
  submit(id: number, request: FullRequest, matcher?: GrammarMatcher): void {
    const sequence = new Sequence(id, request, this.#parts);
    this.#sequences.set(id, sequence);
    if (matcher !== undefined) this.#addConstrained(sequence, matcher);
    else if (request.grammar === undefined) this.#scheduler.add(sequence);
    else void this.#constrain(sequence, request.grammar);
    this.#notify();
  }

  cancel(id: number): void {
    const sequence = this.#sequences.get(id);
    if (sequence === undefined) return;
    sequence.isCancelled = true;
    if (this.#unready.has(sequence)) sequence.finish("cancelled");
    this.#notify();
  }

  refreshAdapters(): Promise<readonly AdapterInfo[]> {
    return this.#parts.adapters.refresh();
  }

  async stats(): Promise<CoreStats> {
    const waiting = [...this.#unready, ...this.#scheduler.waiting()];
    return {
      ...measureEngine({ ...this.#parts, placement: this.#placement, waiting }),
      ...this.#counts,
      ...this.#drafter.counts,
      grammars: {
        resident: this.#grammars.size,
        residentBytes: this.#grammars.bytes + this.#matcherBytes(),
        ...this.#constraintCounts,
      },
    };
  }

  #matcherBytes(): number {
    let bytes = 0;
    for (const { constraint } of this.#sequences.values()) bytes += constraint?.bytes ?? 0;
    return bytes;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return this.closed;
    this.#isClosed = true;
    this.#notify();
    try {
      await this.#loop;
      await this.#parts.runner[Symbol.asyncDispose]();
      await this.#parts.adapters[Symbol.asyncDispose]();
    } finally {
      this.#resolveClosed();
    }
  }

  /** Queues a sequence when its grammar is compiled for the vocabulary. */
  async #constrain(sequence: Sequence, digest: string): Promise<void> {
    this.#unready.add(sequence);
    try {
      // blanks that the answer's text does not get
      const strippedBlanks = sequence.request.continuesPrompt ? 0 : this.#parts.tokenizer.strippedBlanks;
      const matcher = await this.#grammars.matcher(digest, { strippedBlanks });
      if (!sequence.hasEnded) this.#addConstrained(sequence, matcher);
    } catch (cause) {
      sequence.fail(cause);
    } finally {
      this.#unready.delete(sequence);
      this.#notify();
    }
  }

  #addConstrained(sequence: Sequence, matcher: GrammarMatcher): void {
    const { tokenizer, endTokens, now } = this.#parts;
    const { stopTokens } = sequence.request;
    const [counts, time] = [this.#constraintCounts, this.#grammarTime];
    sequence.constraint = new Constraint(matcher, { tokenizer, endTokens, stopTokens, now, counts, time });
    this.#scheduler.add(sequence);
  }

  #notify(): void {
    this.#hasNews = true;
    this.#wake?.();
  }

  async #run(): Promise<void> {
    for (let iteration = 1; !this.#isClosed; iteration++) {
      if (iteration % TRIM_EVERY === 0) this.#scheduler.trim();
      this.#hasNews = false;
      const isBusy = await this.#step().catch((cause: unknown) => this.#failRunning(cause));
      this.#report();
      // requests, cancellations and loaded adapters come in here
      if (isBusy) await nextTurn();
      else await this.#sleep();
    }
    for (const sequence of this.#sequences.values()) sequence.finish("cancelled");
    this.#report();
  }

  /** Runs one step; false if there was nothing to do. */
  async #step(): Promise<boolean> {
    this.#stepNumber++;
    this.#resume();
    const output = this.#scheduler.schedule();
    if (output === undefined) return false;
    const constrained = this.#placement.sequences().filter(({ constraint }) => constraint !== undefined);
    this.#grammarTime.begin(constrained.length);
    for (const parts of this.#joined(output.prefill)) {
      await this.#prefill(parts);
      this.#report();
    }
    await this.#decode(output.decode);
    return true;
  }

  /** Goes on with rows whose grammars were not ready in the last step. They have nothing to compute until their next tokens are chosen. */
  #resume(): void {
    const running = this.#placement.entries();
    const waiting = running.filter(([, { isWaiting, isCancelled }]) => isWaiting && !isCancelled);
    this.#grammarTime.shareRest({ waiting: waiting.length, running: running.length });
    for (const [slot, sequence] of waiting) this.#update(slot, sequence, () => sequence.resume());
  }

  /** Reports to the listener what happened since the last time. */
  #report(): void {
    const updates: SequenceUpdate[] = [];
    for (const [id, sequence] of this.#sequences) {
      const update = sequence.takeUpdate();
      if (update !== undefined) updates.push(update);
      if (sequence.hasEnded) this.#sequences.delete(id);
    }
    if (updates.length > 0) this.#listener?.onOutput(updates);
  }

  /** Until something happens; what happened since the step began counts. */
  async #sleep(): Promise<void> {
    if (this.#hasNews || this.#isClosed) return;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#wake = undefined;
  }

  #joined(parts: readonly PrefillPart[]): ReturnType<typeof joinParts> {
    const { joinsPrompts = false, limits } = this.#parts;
    const canJoin = (slot: number): boolean => {
      const { needsAll = true, embeds = true } = this.#placement.at(slot) ?? {};
      return joinsPrompts && !needsAll && !embeds;
    };
    return joinParts(parts, { canJoin, limit: limits.lonePrefillChunk });
  }

  /** A step of parts of prompts; several of them need no more than logits of their last tokens. */
  async #prefill(parts: readonly PrefillPart[]): Promise<void> {
    const rows = parts.flatMap(({ slot, tokens: count }) => {
      const [sequence, from] = [this.#placement.at(slot), this.#placement.computed(slot)];
      return sequence === undefined
        ? []
        : [{ slot, sequence, from, tokens: sequence.tokens.slice(from, from + count) }];
    });
    const [first] = rows;
    if (first === undefined) return;
    const { needsAll: allLogits, embeds } = first.sequence;
    const results = await this.#parts.runner.run({
      from: first.slot,
      count: rows.length,
      tokens: rows.map(({ tokens }) => tokens),
      allLogits,
      output: embeds ? "hidden" : "logits",
    });
    for (const [i, row] of rows.entries()) await this.#takePrefill(row, results[i] ?? []);
  }

  /** Takes logits or hidden states of a part of a prompt from position `from` on. */
  async #takePrefill(
    {
      slot,
      sequence,
      from,
      tokens,
    }: Readonly<Record<"slot" | "from", number>> &
      Readonly<{ sequence: Sequence; tokens: readonly number[] }>,
    rows: readonly Float32Array[],
  ): Promise<void> {
    const { needsAll: allLogits, embeds } = sequence;
    this.#counts.promptTokens += tokens.length;
    sequence.noteComputed(tokens.length);
    const last = rows.at(-1);
    const isWhole = from + tokens.length >= sequence.tokens.length;
    const softmax = await this.#parts.runner.softmax.compute(
      (embeds ? [] : rows).map((logits, i) =>
        isWhole && i === rows.length - 1
          ? sequence.softmaxRow(logits)
          : { logits, temperature: undefined, scores: allLogits },
      ),
    );
    this.#update(slot, sequence, () => {
      if (embeds) sequence.pool(rows, from);
      else if (allLogits) sequence.score(rows, from, softmax);
      if (!isWhole || last === undefined) return;
      if (embeds) sequence.embed();
      else sequence.advance(last, softmax.at(-1));
    });
  }

  /**
   * One token of a slot that decodes alone, and those of a draft that its request chooses as well. The cache then holds what
   * it would hold without the draft, to the bit unless the draft is near.
   */
  async #decodeAlone(slot: number): Promise<void> {
    const sequence = this.#placement.at(slot);
    if (sequence === undefined) return;
    const { runner, now, drafts = NO_DRAFTS } = this.#parts;
    const [start, before] = [this.#placement.computed(slot), sequence.tokens.length];
    const draft = this.#drafter.draft(sequence);
    const makeStep = (verified: readonly number[]) => ({
      from: slot,
      count: 1,
      tokens: [[...sequence.tokens.slice(-1), ...verified]],
      allLogits: true,
      isDraft: true,
    });
    const isPadded = drafts.isPadded && !draft.isNear && expectsDraft(sequence);
    let verified = draft.tokens.slice(0, this.#drafter.choose(sequence, draft, { isPadded }));
    // factors that requests share have a program that was not tested to give the same
    const isUntested = drafts.sameUpTo > 0 && runner.slots.shared !== undefined;
    if (isUntested || !this.#placement.reserve(start + 1 + verified.length)) verified = [];
    const began = now();
    const [logits = []] = await runner.run({ ...makeStep(verified), isPadded });
    const softmax = await runner.softmax.compute(logits.map((row, i) => sequence.softmaxRow(row, i)));
    const milliseconds = now() - began;
    this.#counts.steps++;
    this.#counts.decodedTokens++;
    sequence.noteComputed(1);
    this.#update(slot, sequence, () => {
      let used = 0;
      try {
        do sequence.advance(logits[used] as Float32Array, softmax[used++]);
        while (!isOver(sequence) && sequence.tokens.at(-1) === verified[used - 1]);
      } finally {
        this.#placement.truncate(slot, start + used);
      }
    });
    const chosen = sequence.tokens.slice(before);
    this.#drafter.note({ draft, chosen, verified: verified.length, milliseconds });
  }

  /** The first token of a slot that is not computed yet, if there is one. */
  #nextToken(slot: number): readonly number[] {
    const computed = this.#placement.computed(slot);
    return this.#placement.at(slot)?.tokens.slice(computed, computed + 1) ?? [];
  }

  /** One token of each of these slots. */
  async #decode(slots: readonly number[]): Promise<void> {
    const [first, ...others] = slots;
    if (first === undefined) return;
    const { deterministic } = this.#parts.limits;
    if (others.length === 0 && deterministic === undefined) return this.#decodeAlone(first);
    const count = Math.max(...slots) + 1;
    const tokens = Array.from({ length: count }, (_, slot) =>
      slots.includes(slot) ? this.#nextToken(slot) : [],
    );
    const isPadded = deterministic?.isPadded === true;
    const logits = await this.#parts.runner.run({ from: 0, count, tokens, isPadded });
    this.#counts.steps++;
    this.#counts.decodedTokens += slots.length;
    const rows = slots.flatMap((slot) => {
      const [sequence, last] = [this.#placement.at(slot), logits[slot]?.[0]];
      sequence?.noteComputed(1);
      // an answer that is computed again has its next token
      const isKnown = this.#nextToken(slot).length > 0;
      return sequence === undefined || last === undefined || isKnown ? [] : [{ slot, sequence, last }];
    });
    const softmax = await this.#parts.runner.softmax.compute(
      rows.map(({ sequence, last }) => sequence.softmaxRow(last)),
    );
    for (const [i, { slot, sequence, last }] of rows.entries())
      this.#update(slot, sequence, () => sequence.advance(last, softmax[i]));
  }

  /** Updates one sequence after a step. A failure affects no other sequence. */
  #update(slot: number, sequence: Sequence, work: () => void): void {
    const before = sequence.generated;
    sequence.step = this.#stepNumber;
    try {
      work();
    } catch (cause) {
      sequence.fail(cause);
    }
    const generated = sequence.generated - before;
    this.#counts.completionTokens += generated;
    this.#scheduler.charge(sequence, generated);
    if (before === 0 && generated > 0) this.#counts.cachedTokens += sequence.cachedTokens;
    if (sequence.hasEnded) this.#scheduler.release(slot);
  }

  /** After a failure that concerns the whole step: its sequences fail, and nothing that it touched is used again. */
  #failRunning(cause: unknown): true {
    for (const sequence of this.#placement.sequences()) sequence.fail(cause);
    this.#scheduler.reset();
    return true;
  }
}

/** No further token can be chosen now. */
const isOver = ({ hasEnded, isWaiting }: Sequence): boolean => hasEnded || isWaiting;
