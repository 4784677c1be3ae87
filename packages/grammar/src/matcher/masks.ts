import type { Earley } from "./earley.ts";
import type { Lexer, LexerState } from "./lexer.ts";
import { childrenOf } from "./trie.ts";
import type { Vocabulary } from "./vocabulary.ts";
import { type Exit, type Walk, Walker, WalkInProgress } from "./walk.ts";

/** A place in a text: the newest row of the parser, the lexer's state since then, and the blanks that may still be stripped. */
export interface Place {
  readonly state: LexerState;
  readonly blanks: number;
}

/** A walk of which some exits are done. */
interface Frame {
  readonly walk: Walk;
  next: number;
}

/** A mask that is being filled. It may stop, and go on as long as the parser is at the same place. */
export class MaskInProgress {
  readonly words: Uint32Array;
  readonly place: Place;
  /** Tokens so far. */
  count = 0;
  /** The walk from the place on, and below each exit the one after it. */
  readonly frames: Frame[] = [];
  /** The first walk while it is not finished: the lexer may forget it. */
  first: Walk | WalkInProgress | undefined;

  /**
   * @param words - the mask, which is empty
   */
  constructor(words: Uint32Array, place: Place) {
    this.words = words;
    this.place = place;
  }
}

const BLANK = 0x20;

/**
 * Masks of tokens. What a mask needs of the trie is kept with the lexer's states, so that a step combines known sets of tokens and asks
 * the parser only for the rows after the lexemes that a token can end.
 */
export class Masks {
  readonly #vocabulary: Vocabulary;
  readonly #lexer: Lexer;
  readonly #walker: Walker;
  readonly #limit: number;
  /** Walks from the beginning of a text of which blanks are stripped, by their number. */
  readonly #stripped = new Map<LexerState, Map<number, Walk | WalkInProgress>>();

  constructor(vocabulary: Vocabulary, lexer: Lexer, limit: number) {
    this.#vocabulary = vocabulary;
    this.#lexer = lexer;
    this.#walker = new Walker(vocabulary, lexer);
    this.#limit = limit;
  }

  get bytes(): number {
    return this.#lexer.bytes + this.#walker.bytes;
  }

  /** Adds the tokens that are allowed at a place to a mask, and returns their number. The parser comes back as it was, if it is not paused. */
  fill(mask: MaskInProgress, parser: Earley): number {
    if (mask.frames.length === 0 && this.bytes > this.#limit) this.#forget();
    this.#collect(mask, { depth: 0, walk: () => this.#firstWalk(mask) }, parser);
    return mask.count;
  }

  /** Begins with a new automaton where the present one has become large. */
  renew(): void {
    if (this.#lexer.renewIfLarge()) this.#forget();
  }

  #forget(): void {
    this.#lexer.forget();
    this.#walker.forget();
    this.#stripped.clear();
  }

  /** Adds a walk and those after its exits, or what is left of them. */
  #collect(mask: MaskInProgress, { depth, walk }: { depth: number; walk: () => Walk }, parser: Earley): void {
    let frame = mask.frames[depth];
    if (!frame) {
      frame = { walk: walk(), next: 0 };
      mask.frames.push(frame);
      add(mask.words, frame.walk);
      mask.count += frame.walk.count;
    }
    const { exits } = frame.walk;
    const { rows } = parser;
    for (; frame.next < exits.length; frame.next++) {
      this.#lexer.pace.check();
      if (this.bytes > this.#limit) this.#forget();
      const exit = exits[frame.next];
      if (!exit) break;
      parser.scan(exit.accept);
      this.#collect(mask, { depth: depth + 1, walk: () => this.#walkAfter(exit, parser.state) }, parser);
      parser.truncate(rows);
      this.#lexer.pace.advance();
    }
    mask.frames.pop();
  }

  #firstWalk(mask: MaskInProgress): Walk {
    const { state, blanks } = mask.place;
    if (blanks > 0) return this.#strippedWalk(state, blanks);
    mask.first ??= state.walk ?? this.#walker.walkAll(state);
    state.walk ??= mask.first;
    mask.first = this.#finished(mask.first);
    state.walk = mask.first;
    return mask.first;
  }

  #finished(walk: Walk | WalkInProgress): Walk {
    return walk instanceof WalkInProgress ? this.#walker.finish(walk) : walk;
  }

  #walkAfter({ trie, nodes, after }: Exit, state: LexerState): Walk {
    const walk = after.get(state) ?? this.#walker.walk(state, { trie, nodes });
    after.set(state, walk);
    const finished = this.#finished(walk);
    after.set(state, finished);
    return finished;
  }

  /** The walk from the beginning of a text: blanks in front, up to a number, are as if they were not there. */
  #strippedWalk(state: LexerState, blanks: number): Walk {
    const byNumber = this.#stripped.get(state) ?? new Map<number, Walk | WalkInProgress>();
    this.#stripped.set(state, byNumber);
    const walk = byNumber.get(blanks) ?? this.#walker.walk(state, this.#afterBlanks(blanks));
    byNumber.set(blanks, walk);
    const finished = this.#finished(walk);
    byNumber.set(blanks, finished);
    return finished;
  }

  /** What may come first where so many blanks are stripped: anything else, after fewer of them, or after all anything. */
  #afterBlanks(blanks: number) {
    const { trie } = this.#vocabulary;
    const nodes: number[] = [];
    const allowed: number[] = [];
    let children = trie.roots;
    for (let left = blanks; left > 0; left--) {
      const blank = children.find((node) => trie.nodeByte[node] === BLANK);
      nodes.push(...children.filter((node) => node !== blank));
      children = blank === undefined ? NO_NODES : childrenOf(trie, blank);
      if (blank !== undefined) allowed.push(blank);
    }
    return { trie, nodes: Int32Array.from([...nodes, ...children]), allowed };
  }
}

const NO_NODES = new Int32Array(0);

function add(mask: Uint32Array, { words, tokens }: Walk): void {
  if (words)
    for (let index = 0; index < mask.length; index++) mask[index] = (mask[index] ?? 0) | (words[index] ?? 0);
  for (let index = 0; index < tokens.length; index++) {
    const token = tokens[index] ?? 0;
    mask[token >>> 5] = (mask[token >>> 5] ?? 0) | (1 << (token & 31));
  }
}
