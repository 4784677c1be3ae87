import { type Automaton, Paused } from "#automaton";
import { GrammarError } from "#grammar";
import type { Earley } from "./earley.ts";
import type { Lexer, LexerState } from "./lexer.ts";
import { MaskInProgress, type Masks } from "./masks.ts";
import type { Vocabulary } from "./vocabulary.ts";

/** The tokens that may come next. */
export interface TokenMask {
  /** A bit for each token id: bit `id % 32` of word `⌊id / 32⌋`. */
  readonly words: Uint32Array;
  /** Number of tokens that are allowed. */
  readonly count: number;
}

/** Options of a matcher. */
export interface MatcherOptions {
  /** Blanks in front of a text, at most so many, that the detokenizer strips: they are allowed and have no effect (0). */
  readonly strippedBlanks?: number;
}

/** What a matcher shares with others of its grammar, and its own parser. */
interface MatcherParts {
  readonly vocabulary: Vocabulary;
  readonly lexer: Lexer;
  readonly masks: Masks;
  readonly parser: Earley;
}

/** A place in the text to which a matcher can return. */
interface Place {
  readonly rows: number;
  /** Replaced only by the same one of a new automaton. */
  state: LexerState;
  /** Blanks that would still be stripped. */
  readonly blanks: number;
  /** An end token was accepted. */
  readonly isEnded: boolean;
}

const BLANK = 0x20;

/** Bytes that `forcedBytes` returns at most, if it is not told. */
const FORCED_BYTES = 1024;

/**
 * Follows a text token by token, and knows which tokens may come next: those after which the text can still become one that the grammar
 * allows.
 *
 * Lexing is greedy. Between two boundaries, the bytes are those of one lexeme, out of all that the grammar allows at the first boundary.
 * A byte that any of these can go on with belongs to the lexeme. Where no lexeme goes on, those that match exactly the bytes so far have
 * ended, and the grammar decides which of them it was; where none matches, the byte is refused: the lexer never goes back to an earlier,
 * shorter match. So after `a*`, a lexeme that begins with "a" cannot come.
 */
export class Matcher {
  readonly #vocabulary: Vocabulary;
  readonly #lexer: Lexer;
  readonly #masks: Masks;
  readonly #parser: Earley;
  /** The automaton to which the states of all places belong. */
  #automaton: Automaton;
  #place: Place;
  /** The places before each accepted token. */
  readonly #places: Place[] = [];
  readonly #words: Uint32Array;
  #mask: TokenMask | undefined;
  #filling: MaskInProgress | undefined;
  #canEnd: boolean | undefined;
  /** Whether tokens may come next, as far as it was asked for: work that begins anew need not find it out again. */
  readonly #allowed = new Map<number, boolean>();

  /** @internal use CompiledGrammar.matcher */
  constructor({ vocabulary, lexer, masks, parser }: MatcherParts, { strippedBlanks = 0 }: MatcherOptions) {
    this.#vocabulary = vocabulary;
    this.#lexer = lexer;
    this.#masks = masks;
    this.#parser = parser;
    this.#automaton = lexer.automaton;
    this.#place = { rows: parser.rows, state: parser.state, blanks: strippedBlanks, isEnded: false };
    this.#words = new Uint32Array(Math.ceil(vocabulary.size / 32));
  }

  /**
   * The tokens that may come next, end tokens exactly where the text may end. Valid until the next call of any method that changes the
   * matcher.
   * @throws GrammarError `limit` if the text or the grammar needs more memory than its limits allow
   */
  mask(): TokenMask {
    if (this.#mask) return this.#mask;
    let count = 0;
    if (this.#place.isEnded) this.#words.fill(0);
    else {
      // first, since the work may stop in it
      const { canEnd } = this;
      count = this.#fill();
      if (canEnd) for (const id of this.#vocabulary.endTokens) if (this.#set(id)) count++;
    }
    this.#mask = { words: this.#words, count };
    return this.#mask;
  }

  /**
   * Runs work with the matcher, such as `mask`, that stops once `isOver` says so. Returns its result, or undefined where it stopped. The
   * matcher is then unchanged but for what it has found out: the same work, run again, gets further and at last to its end. Work that
   * changes the matcher by several methods has to take back by itself what the first ones did.
   */
  attempt<Result>(isOver: () => boolean, work: () => Result): { readonly result: Result } | undefined {
    try {
      return { result: this.#lexer.pace.run(isOver, work) };
    } catch (error) {
      if (error instanceof Paused) return undefined;
      throw error;
    }
  }

  /** Whether a token may come next. Cheaper than a mask for a few tokens. */
  allows(id: number): boolean {
    if (this.#place.isEnded) return false;
    if (this.#isEnd(id) && this.canEnd) return true;
    const known = this.#allowed.get(id);
    if (known !== undefined) return known;
    const bytes = this.#vocabulary.bytesOf(id);
    const isAllowed = bytes.length > 0 && this.#advance(bytes) !== undefined;
    this.#restore(this.#place);
    this.#allowed.set(id, isAllowed);
    return isAllowed;
  }

  /**
   * Goes on by a token. An end token that the grammar names as a special token counts as that, where both are possible.
   * @throws GrammarError `bad_token` if the token is not allowed; the matcher is unchanged
   */
  accept(id: number): void {
    const before = this.#place;
    const bytes = this.#vocabulary.bytesOf(id);
    const after = before.isEnded || bytes.length === 0 ? undefined : this.#advance(bytes);
    if (after) this.#move(after);
    else {
      this.#restore(before);
      if (before.isEnded || !this.#isEnd(id) || !this.canEnd) throw this.#refusal(id, bytes);
      this.#move({ ...before, isEnded: true });
    }
    this.#places.push(before);
  }

  /**
   * Takes back the last tokens.
   * @throws RangeError if fewer were accepted
   */
  rollback(tokens: number): void {
    if (tokens > this.#places.length)
      throw new RangeError(`cannot take back ${tokens} of ${this.#places.length} accepted tokens`);
    if (tokens <= 0) return;
    const place = this.#places[this.#places.length - tokens] ?? this.#place;
    this.#restore(place);
    this.#places.length -= tokens;
    this.#move(place);
  }

  /** Memory of the matcher, without what it shares with others, roughly. It grows with the text. */
  get bytes(): number {
    return this.#parser.bytes + this.#words.byteLength + 60 * this.#places.length;
  }

  /** Whether the text is complete: it may end here. */
  get canEnd(): boolean {
    this.#canEnd ??= this.#findEnd();
    return this.#canEnd;
  }

  /** Whether the text is complete and cannot go on: nothing but an end token is possible. */
  get mustEnd(): boolean {
    if (this.#place.isEnded) return true;
    if (!this.canEnd || this.#place.blanks > 0) return false;
    this.#restore(this.#place);
    return this.#nextByte(this.#place) === "none";
  }

  /** The bytes that must come next, up to where the text may end or may go on in several ways; at most so many. */
  forcedBytes(most = FORCED_BYTES): Uint8Array {
    const bytes: number[] = [];
    const before = this.#place;
    if (before.isEnded || before.blanks > 0) return new Uint8Array(0);
    this.#restore(before);
    let place: Place | undefined = before;
    while (place && bytes.length < most && !this.#endsAt(place)) {
      const byte = this.#nextByte(place);
      if (typeof byte !== "number") break;
      bytes.push(byte);
      place = this.#step(place, byte);
    }
    this.#restore(before);
    return Uint8Array.from(bytes);
  }

  /** Goes on by bytes, as one step of `rollback`. Returns false, and stays unchanged, where they are not allowed. */
  acceptBytes(bytes: Uint8Array): boolean {
    const before = this.#place;
    const after = before.isEnded ? undefined : this.#advance(bytes);
    if (after) {
      this.#move(after);
      this.#places.push(before);
    } else this.#restore(before);
    return after !== undefined;
  }

  /** Sets the words of the tokens of text that may come next, and returns the number of tokens. */
  #fill(): number {
    if (!this.#filling) this.#masks.renew();
    this.#restore(this.#place);
    if (!this.#filling) {
      this.#words.fill(0);
      this.#filling = new MaskInProgress(this.#words, this.#place);
    }
    try {
      const count = this.#masks.fill(this.#filling, this.#parser);
      this.#filling = undefined;
      return count;
    } catch (error) {
      if (!(error instanceof Paused)) this.#filling = undefined;
      throw error;
    }
  }

  #move(place: Place): void {
    this.#place = place;
    this.#mask = undefined;
    this.#filling = undefined;
    this.#canEnd = undefined;
    this.#allowed.clear();
  }

  #restore({ rows }: Place): void {
    this.#parser.truncate(rows);
    if (this.#automaton !== this.#lexer.automaton) this.#follow();
  }

  /** Goes on with the automaton that has taken the place of an older one. */
  #follow(): void {
    const { automaton } = this.#lexer;
    const copier = automaton.copier(this.#automaton);
    const places = [...this.#places, this.#place];
    const states = new Map(places.map(({ state }) => [state, state]));
    for (const state of states.keys()) states.set(state, this.#lexer.moved(state, copier));
    for (const place of places) place.state = states.get(place.state) ?? place.state;
    this.#parser.forgetStates();
    this.#filling = undefined;
    this.#automaton = automaton;
  }

  /** The place after bytes, or undefined if they are not allowed. The parser is then at neither. */
  #advance(bytes: Uint8Array): Place | undefined {
    this.#restore(this.#place);
    let place: Place | undefined = this.#place;
    for (let index = 0; index < bytes.length && place; index++) place = this.#step(place, bytes[index] ?? 0);
    return place;
  }

  /** The place after a byte, from one at which the parser is. */
  #step(place: Place, byte: number): Place | undefined {
    if (place.blanks > 0) {
      if (byte === BLANK) return { ...place, blanks: place.blanks - 1 };
      return this.#step({ ...place, blanks: 0 }, byte);
    }
    let next = this.#lexer.step(place.state, byte);
    if (next === null && place.state.accept) {
      this.#parser.scan(place.state.accept);
      next = this.#lexer.step(this.#parser.state, byte);
    }
    if (next === null) return undefined;
    if (next.ends && next.accept) {
      this.#parser.scan(next.accept);
      next = this.#parser.state;
    }
    return { rows: this.#parser.rows, state: next, blanks: 0, isEnded: false };
  }

  /** The only byte that may come next at a place, "several" or "none". */
  #nextByte({ state, rows }: Place): number | "several" | "none" {
    let boundary: LexerState | undefined;
    if (state.accept) {
      this.#parser.scan(state.accept);
      boundary = this.#parser.state;
      this.#parser.truncate(rows);
    }
    let only: number | "none" = "none";
    for (let byte = 0; byte < 256; byte++) {
      if (!this.#lexer.step(state, byte) && !(boundary && this.#lexer.step(boundary, byte))) continue;
      if (only !== "none") return "several";
      only = byte;
    }
    return only;
  }

  #findEnd(): boolean {
    this.#restore(this.#place);
    return this.#place.isEnded || this.#endsAt(this.#place);
  }

  /** Whether the text may end at a place, at which the parser is. */
  #endsAt({ state, rows }: Place): boolean {
    if (state.isBoundary) return this.#parser.accepts;
    if (!state.accept) return false;
    this.#parser.scan(state.accept);
    const { accepts } = this.#parser;
    this.#parser.truncate(rows);
    return accepts;
  }

  #isEnd(id: number): boolean {
    return this.#vocabulary.endTokens.includes(id);
  }

  #set(id: number): boolean {
    const word = this.#words[id >>> 5] ?? 0;
    const bit = 1 << (id & 31);
    this.#words[id >>> 5] = word | bit;
    return (word & bit) === 0;
  }

  #refusal(id: number, bytes: Uint8Array): GrammarError {
    const text = JSON.stringify(new TextDecoder().decode(bytes));
    const where = this.#place.isEnded ? "after the end of the text" : "here";
    return new GrammarError("bad_token", `The grammar does not allow token ${id} (${text}) ${where}.`);
  }
}
