// A request's grammar beside its sequence: which tokens may come next, and whether the answer is complete.
import { incompleteTail, type Tokenizer } from "#text";
import type { AllowedTokens, TokenMask } from "./sampler.ts";

/** What is needed of a grammar's matcher. */
export interface GrammarMatcher extends AllowedTokens {
  accept(id: number): void;
  rollback(tokens: number): void;
  readonly canEnd: boolean;
  readonly mustEnd: boolean;
  forcedBytes(): Uint8Array;
}

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
  /** Counts to add to. */
  readonly counts: ConstraintCounts;
}

/** The byte around the name of a special token. */
const SPECIAL = 0xff;
const decoder = new TextDecoder();

/** The tokens that an answer's grammar allows next. */
export class Constraint implements AllowedTokens {
  readonly #matcher: GrammarMatcher;
  readonly #options: ConstraintOptions;

  constructor(matcher: GrammarMatcher, options: ConstraintOptions) {
    this.#matcher = matcher;
    this.#options = options;
  }

  /** Nothing can follow. */
  get mustEnd(): boolean {
    return this.#timed(() => this.#matcher.mustEnd);
  }

  allows(id: number): boolean {
    return this.#timed(() => this.#matcher.allows(id) || (this.#stopsAt(id) && this.#matcher.canEnd));
  }

  mask(): TokenMask {
    this.#options.counts.masks++;
    return this.#timed(() => {
      const mask = this.#matcher.mask();
      const { stopTokens } = this.#options;
      return stopTokens.length > 0 && this.#matcher.canEnd ? withTokens(mask, stopTokens) : mask;
    });
  }

  /** Takes a token of the answer, which was allowed and does not end it. */
  accept(id: number): void {
    this.#timed(() => this.#matcher.accept(id));
  }

  /** The first tokens of a draft that could be chosen one after another, up to one that ends the answer. */
  allowedPart(draft: readonly number[]): readonly number[] {
    return this.#timed(() => {
      let taken = 0;
      for (const id of draft) {
        if (this.#stopsAt(id) || !this.#matcher.allows(id)) break;
        this.#matcher.accept(id);
        taken++;
      }
      this.#matcher.rollback(taken);
      return draft.slice(0, taken);
    });
  }

  /** The first tokens, at most so many, of the text that must follow, as the tokenizer spells it; none where several texts may. */
  forcedTokens(most: number): readonly number[] {
    const bytes = this.#timed(() => this.#matcher.forcedBytes());
    return bytes.length === 0 ? [] : this.allowedPart(this.#spelled(bytes).slice(0, most));
  }

  #spelled(bytes: Uint8Array): readonly number[] {
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
      counts.matchSeconds += (now() - began) / 1000;
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
