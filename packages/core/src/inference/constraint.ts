// A request's grammar beside its sequence: which tokens may come next, and whether the answer is complete.
import { GrammarError, type Matcher, type TokenMask } from "mixture-of-shards-grammar";
import { incompleteTail, type Tokenizer } from "#text";
import type { GrammarTime } from "./core-grammars.ts";
import type { AllowedTokens } from "./sampler.ts";

/** What is needed of a grammar's matcher. */
export type GrammarMatcher = Pick<
  Matcher,
  keyof AllowedTokens | "accept" | "rollback" | "canEnd" | "mustEnd" | "bytes" | "forcedBytes" | "attempt"
>;

/** Masks that were computed, and seconds spent with matchers. */
export interface ConstraintCounts {
  masks: number;
  matchSeconds: number;
}

interface ConstraintOptions {
  readonly tokenizer: Pick<Tokenizer, "encode" | "tokenToId" | "strippedBlanks">;
  readonly endTokens: readonly number[];
  /** A request's own, which may be chosen wherever the grammar may end. */
  readonly stopTokens: readonly number[];
  /** Milliseconds from any start. */
  readonly now: () => number;
  readonly counts: ConstraintCounts;
  /** The time that is shared by all rows. */
  readonly time: GrammarTime;
}

interface Choice {
  readonly choose: () => number;
  readonly isEnd: (id: number) => boolean;
  readonly isFirst: boolean;
}

/** Milliseconds that an answer's grammar may take in total, and besides for each of its tokens. */
const LIMIT = { answer: 5000, token: 5 };

/** Bytes of a token, more than of most: finding out what else must follow would be a waste. */
const BYTES = 16;
/** The byte around the name of a special token. */
const SPECIAL = 0xff;
const decoder = new TextDecoder();

type Attempt = <Result>(work: () => Result) => { readonly result: Result } | undefined;

/** The tokens that an answer's grammar allows next. */
export class Constraint implements AllowedTokens {
  readonly #matcher: GrammarMatcher;
  readonly #options: ConstraintOptions;
  /** The next token, where it is chosen already. */
  #chosen: { readonly id: number | undefined; isTaken: boolean } | undefined;
  /** Milliseconds. */
  #spent = 0;
  #allowed = LIMIT.answer;

  constructor(matcher: GrammarMatcher, options: ConstraintOptions) {
    this.#matcher = matcher;
    this.#options = options;
  }

  /**
   * Chooses the next token and takes it, unless it ends the answer: `id` is undefined where the answer is empty, and nothing can
   * follow one that `isLast`. Undefined where that needs more time than the row has now: the same
   * call goes on.
   * @throws GrammarError `limit` where it needs too much time at all
   */
  next(choice: Choice) {
    return this.#options.time.share((isOver) => {
      const attempt: Attempt = (work) => this.#matcher.attempt(isOver, work);
      const next = this.#timed(() => this.#goOn(choice, attempt));
      if (next) {
        this.#chosen = undefined;
        this.#allowed += LIMIT.token;
      } else if (this.#spent > this.#allowed) {
        const seconds = LIMIT.answer / 1000;
        throw new GrammarError(
          "limit",
          `It takes more than ${seconds} s to find out which tokens may come next.`,
        );
      }
      return next;
    });
  }

  #goOn({ choose, isEnd, isFirst }: Choice, attempt: Attempt) {
    if (!this.#chosen) {
      // later ones end with the token that nothing can follow
      const found = attempt(() => (isFirst && this.#matcher.mustEnd ? undefined : choose()));
      if (!found) return undefined;
      this.#chosen = { id: found.result, isTaken: false };
    }
    const { id, isTaken } = this.#chosen;
    if (id === undefined || isEnd(id)) return { id, isLast: true };
    if (!isTaken && !attempt(() => this.#matcher.accept(id))) return undefined;
    this.#chosen.isTaken = true;
    const end = attempt(() => this.#matcher.mustEnd);
    return end && { id, isLast: end.result };
  }

  get bytes(): number {
    return this.#matcher.bytes;
  }

  allows(id: number): boolean {
    return this.#matcher.allows(id) || (this.#stopsAt(id) && this.#matcher.canEnd);
  }

  mask(): TokenMask {
    const mask = this.#matcher.mask();
    this.#options.counts.masks++;
    const { stopTokens } = this.#options;
    return stopTokens.length > 0 && this.#matcher.canEnd ? withTokens(mask, stopTokens) : mask;
  }

  /** The first tokens of a draft that could be chosen one after another, up to one that ends the answer. */
  allowedPart(draft: readonly number[]): readonly number[] {
    return this.#draft(() => {
      let taken = 0;
      try {
        for (const id of draft) {
          if (this.#stopsAt(id) || !this.#matcher.allows(id)) break;
          this.#matcher.accept(id);
          taken++;
        }
      } finally {
        this.#matcher.rollback(taken);
      }
      return draft.slice(0, taken);
    });
  }

  /** The first tokens, at most so many, of the text that must follow, as the tokenizer spells it; none where several texts may. */
  forcedTokens(most: number): readonly number[] {
    const tokens = this.#draft(() => this.#spelled(this.#matcher.forcedBytes(BYTES * most)));
    return tokens.length === 0 ? [] : this.allowedPart(tokens.slice(0, most));
  }

  /** Tokens of a draft, which is worth little time. */
  #draft(work: () => readonly number[]): readonly number[] {
    return this.#options.time.share((isOver) =>
      this.#timed(() => {
        try {
          return this.#matcher.attempt(isOver, work)?.result ?? [];
        } catch (error) {
          // what the answer itself needs fails when it comes to that
          if (error instanceof GrammarError) return [];
          throw error;
        }
      }),
    );
  }

  #spelled(bytes: Uint8Array): readonly number[] {
    if (bytes.length === 0) return [];
    const { tokenizer } = this.#options;
    const marker = bytes.indexOf(SPECIAL);
    if (marker === 0) {
      const id = tokenizer.tokenToId(decoder.decode(bytes.subarray(1, bytes.indexOf(SPECIAL, 1))));
      return id === undefined ? [] : [id];
    }
    // others spell a text differently at its beginning
    if (tokenizer.strippedBlanks > 0) return [];
    const text = marker < 0 ? bytes : bytes.subarray(0, marker);
    const whole = text.subarray(0, text.length - incompleteTail(text));
    return tokenizer.encode(decoder.decode(whole), { addSpecialTokens: false });
  }

  #stopsAt(id: number): boolean {
    const { endTokens, stopTokens } = this.#options;
    return stopTokens.includes(id) || endTokens.includes(id);
  }

  #timed<T>(work: () => T): T {
    const { now, counts } = this.#options;
    const began = now();
    try {
      return work();
    } finally {
      const milliseconds = now() - began;
      counts.matchSeconds += milliseconds / 1000;
      this.#spent += milliseconds;
    }
  }
}

/** A mask of its own: the matcher's may belong to several. */
function withTokens({ words, count }: TokenMask, ids: readonly number[]): TokenMask {
  const more = words.slice();
  let added = 0;
  for (const id of ids) {
    const bit = 1 << (id & 31);
    const word = more[id >>> 5] ?? 0;
    if ((word & bit) !== 0) continue;
    more[id >>> 5] = word | bit;
    added++;
  }
  return { words: more, count: count + added };
}
