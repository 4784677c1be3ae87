import type { Earley } from "./earley.ts";
import type { Lexer, LexerState } from "./lexer.ts";
import { childrenOf } from "./trie.ts";
import type { Vocabulary } from "./vocabulary.ts";
import { type Exit, type Walk, Walker } from "./walk.ts";

/** A place in a text: the newest row of the parser, the lexer's state since then, and the blanks that may still be stripped. */
export interface Place {
  readonly state: LexerState;
  readonly blanks: number;
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
  readonly #stripped = new Map<LexerState, Map<number, Walk>>();

  constructor(vocabulary: Vocabulary, lexer: Lexer, limit: number) {
    this.#vocabulary = vocabulary;
    this.#lexer = lexer;
    this.#walker = new Walker(vocabulary, lexer);
    this.#limit = limit;
  }

  get bytes(): number {
    return this.#lexer.bytes + this.#walker.bytes;
  }

  /** Adds the tokens that are allowed at a place to a mask, and returns their number. The parser comes back as it was. */
  fill(mask: Uint32Array, { state, blanks }: Place, parser: Earley): number {
    if (this.bytes > this.#limit) this.#forget();
    return this.#lexer.limited(() =>
      this.#collect(mask, blanks > 0 ? this.#strippedWalk(state, blanks) : this.#walk(state), parser),
    );
  }

  #forget(): void {
    this.#lexer.forget();
    this.#walker.forget();
    this.#stripped.clear();
  }

  #collect(mask: Uint32Array, walk: Walk, parser: Earley): number {
    add(mask, walk);
    let { count } = walk;
    const { rows } = parser;
    for (const exit of walk.exits) {
      if (this.bytes > this.#limit) this.#forget();
      parser.scan(exit.accept);
      count += this.#collect(mask, this.#walkAfter(exit, parser.state), parser);
      parser.truncate(rows);
    }
    return count;
  }

  #walk(state: LexerState): Walk {
    state.walk ??= this.#walker.walkAll(state);
    return state.walk;
  }

  #walkAfter({ trie, nodes, after }: Exit, state: LexerState): Walk {
    let walk = after.get(state);
    if (!walk) {
      walk = this.#walker.walk(state, { trie, nodes });
      after.set(state, walk);
    }
    return walk;
  }

  /** The walk from the beginning of a text: blanks in front, up to a number, are as if they were not there. */
  #strippedWalk(state: LexerState, blanks: number): Walk {
    const byNumber = this.#stripped.get(state) ?? new Map<number, Walk>();
    this.#stripped.set(state, byNumber);
    const walk = byNumber.get(blanks) ?? this.#walker.walk(state, this.#afterBlanks(blanks));
    byNumber.set(blanks, walk);
    return walk;
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
