import type { Earley } from "./earley.ts";
import type { Lexer, LexerState } from "./lexer.ts";
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
  readonly #roots: readonly number[];
  /** Walks from the beginning of a text of which blanks are stripped, by their number. */
  readonly #stripped = new Map<LexerState, Map<number, Walk>>();

  constructor(vocabulary: Vocabulary, lexer: Lexer, limit: number) {
    this.#vocabulary = vocabulary;
    this.#lexer = lexer;
    this.#walker = new Walker(vocabulary, lexer);
    this.#limit = limit;
    this.#roots = this.#below(0);
  }

  get bytes(): number {
    return this.#lexer.bytes + this.#walker.bytes;
  }

  /** Adds the tokens that are allowed at a place to a mask, and returns their number. The parser comes back as it was. */
  fill(mask: Uint32Array, { state, blanks }: Place, parser: Earley): number {
    if (this.bytes > this.#limit) this.#forget();
    return this.#collect(mask, blanks > 0 ? this.#strippedWalk(state, blanks) : this.#walk(state), parser);
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
      parser.scan(exit.accept);
      count += this.#collect(mask, this.#walkAfter(exit, parser.state), parser);
      parser.truncate(rows);
    }
    return count;
  }

  #walk(state: LexerState): Walk {
    state.walk ??= this.#walker.walk(state, this.#roots);
    return state.walk;
  }

  #walkAfter({ nodes, after }: Exit, state: LexerState): Walk {
    let walk = after.get(state);
    if (!walk) {
      walk = this.#walker.walk(state, nodes);
      after.set(state, walk);
    }
    return walk;
  }

  /** The walk from the beginning of a text: blanks in front, up to a number, are as if they were not there. */
  #strippedWalk(state: LexerState, blanks: number): Walk {
    const byNumber = this.#stripped.get(state) ?? new Map<number, Walk>();
    this.#stripped.set(state, byNumber);
    let walk = byNumber.get(blanks);
    if (!walk) {
      const { nodeByte } = this.#vocabulary;
      const nodes: number[] = [];
      const allowed: number[] = [];
      let children = this.#roots;
      for (let left = blanks; left > 0; left--) {
        const blank = children.find((node) => nodeByte[node] === BLANK);
        nodes.push(...children.filter((node) => node !== blank));
        children = blank === undefined ? [] : this.#below(blank);
        if (blank !== undefined) allowed.push(blank);
      }
      nodes.push(...children);
      walk = this.#walker.walk(state, nodes, allowed);
      byNumber.set(blanks, walk);
    }
    return walk;
  }

  #below(parent: number): readonly number[] {
    const { nodeEnd } = this.#vocabulary;
    const children: number[] = [];
    const end = nodeEnd[parent] ?? 0;
    for (let node = parent + 1; node < end; node = nodeEnd[node] ?? end) children.push(node);
    return children;
  }
}

function add(mask: Uint32Array, { words, tokens }: Walk): void {
  if (words)
    for (let index = 0; index < mask.length; index++) mask[index] = (mask[index] ?? 0) | (words[index] ?? 0);
  else if (tokens)
    for (let index = 0; index < tokens.length; index++) {
      const token = tokens[index] ?? 0;
      mask[token >>> 5] = (mask[token >>> 5] ?? 0) | (1 << (token & 31));
    }
}
