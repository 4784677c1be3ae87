// A request while it runs: its tokens, and what each new one makes certain.
import { type Random, randomStream } from "#core";
import { sample } from "#generation";
import {
  createDetokenizer,
  createStopScanner,
  type Detokenizer,
  type StopScanner,
  type Tokenizer,
} from "#text";
import type { FullRequest } from "./check-request.ts";
import { logprobsOf, tokenLogprob } from "./logprobs.ts";
import type { EngineEvent, FinishReason, TokenLogprob } from "./types.ts";

interface SequenceOptions {
  readonly tokenizer: Tokenizer;
  readonly endTokens: readonly number[];
  /** Milliseconds from any start. */
  readonly now: () => number;
}

/** One request's tokens and text. It knows nothing of rows; `ended` is true once its `end` event was given. */
export class Sequence {
  readonly request: FullRequest;
  /** The prompt, then the answer so far. */
  readonly tokens: number[];
  ended = false;
  readonly #options: SequenceOptions;
  readonly #detokenizer: Detokenizer;
  readonly #stops: StopScanner;
  readonly #random: Random;
  readonly #submitted: number;
  readonly #scores: TokenLogprob[] = [];
  #admitted: number | undefined;
  #first: number | undefined;

  constructor(request: FullRequest, options: SequenceOptions) {
    this.request = request;
    this.tokens = [...request.prompt];
    this.#options = options;
    this.#detokenizer = createDetokenizer(options.tokenizer, { continues: request.continuesPrompt });
    this.#stops = createStopScanner(request.stop);
    this.#random = randomStream(request.seed, "sampling");
    this.#submitted = options.now();
  }

  /** Tokens of the answer. */
  get generated(): number {
    return this.tokens.length - this.request.prompt.length;
  }

  /** Whether the next logits wanted are those behind every token of the prompt. */
  get scoresPrompt(): boolean {
    return this.request.promptLogprobs !== undefined && this.#scores.length < this.request.prompt.length;
  }

  /** Told once, when the request first gets a row. */
  admit(digest: string | null): readonly EngineEvent[] {
    if (this.#admitted !== undefined) return [];
    this.#admitted = this.#options.now();
    return [{ type: "scheduled", digest }];
  }

  /** The first place whose logits are wanted: a cache that holds what lies before it saves work. */
  get firstWanted(): number {
    return this.scoresPrompt ? Math.max(0, this.#scores.length - 1) : this.tokens.length - 1;
  }

  /**
   * Logits behind the prompt's tokens from place `from` on: they score the token after each. A prompt that is read again
   * keeps the scores it has.
   */
  score(logits: readonly Float32Array[], from: number): void {
    const { prompt, promptLogprobs = 0 } = this.request;
    if (this.#scores.length === 0) this.#scores.push({ id: prompt[0] as number, logprob: null, top: [] });
    logits.forEach((at, i) => {
      const next = prompt[from + i + 1];
      if (next !== undefined && from + i + 1 === this.#scores.length)
        this.#scores.push(tokenLogprob(at, next, promptLogprobs));
    });
  }

  /** Chooses the next token from the logits behind the last one. */
  advance(logits: Float32Array): readonly EngineEvent[] {
    const { maxTokens, sampling, logprobs, ignoreEos } = this.request;
    const events: EngineEvent[] = [];
    if (this.generated === 0 && this.request.promptLogprobs !== undefined)
      events.push({ type: "prompt", logprobs: this.#scores });
    if (this.generated === 0 && this.request.candidates !== undefined)
      events.push({ type: "candidates", logprobs: logprobsOf(logits, this.request.candidates) });
    this.#first ??= this.#options.now();
    if (maxTokens === 0) return [...events, this.finish("length")];
    const id = sample(logits, { ...sampling, seen: this.tokens, random: this.#random });
    if (!ignoreEos && this.#options.endTokens.includes(id)) return [...events, this.finish("end")];
    this.tokens.push(id);
    const { text, stopped } = this.#stops.push(this.#detokenizer.push(id));
    const scored = logprobs === undefined ? {} : { logprob: tokenLogprob(logits, id, logprobs) };
    events.push({ type: "token", id, text, ...scored });
    if (stopped) events.push(this.finish("stop"));
    else if (this.generated >= maxTokens) events.push(this.finish("length"));
    return events;
  }

  /** The last event. */
  finish(reason: FinishReason): EngineEvent {
    this.ended = true;
    const rest = reason === "stop" ? undefined : this.#stops.push(this.#detokenizer.flush());
    const held = rest === undefined ? "" : rest.text + (rest.stopped ? "" : this.#stops.flush());
    const end = this.#options.now();
    const since = (time: number | undefined): number => ((time ?? end) - this.#submitted) / 1000;
    return {
      type: "finish",
      reason: rest?.stopped === true ? "stop" : reason,
      text: held,
      usage: {
        promptTokens: this.request.prompt.length,
        completionTokens: this.generated,
        queuedSeconds: since(this.#admitted),
        firstTokenSeconds: since(this.#first),
      },
    };
  }
}
