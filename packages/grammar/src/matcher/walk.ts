import type { Lexer, LexerState, TerminalSet } from "./lexer.ts";
import { PlainRuns } from "./plain-run.ts";
import type { Trie } from "./trie.ts";
import type { Vocabulary } from "./vocabulary.ts";

/**
 * What the lexer alone knows of the tokens from a state on: those whose bytes stay inside the lexeme, or end with it, are allowed. Of the
 * others, those can go on with another lexeme whose nodes are in an exit.
 */
export interface Walk {
  /** Allowed tokens as bits, if they are many. */
  readonly words: Uint32Array | undefined;
  /** Allowed tokens beside those. */
  readonly tokens: Int32Array;
  /** Number of all allowed tokens. */
  readonly count: number;
  readonly exits: readonly Exit[];
}

/** Nodes of a trie whose bytes come after the end of a lexeme. */
export interface Exit {
  /** Lexemes that have ended. */
  readonly accept: TerminalSet;
  readonly trie: Trie;
  readonly nodes: Int32Array;
  /** Walks from these nodes on, by the state at the boundary. */
  readonly after: Map<LexerState, Walk>;
}

/** Nodes from which a walk begins: their bytes are the next ones of the text. */
interface Beginning {
  readonly trie: Trie;
  readonly nodes: Int32Array;
  /** Nodes of the trie whose tokens are allowed besides. */
  readonly allowed?: readonly number[];
}

/** Bytes of an object or map without its contents, roughly. */
const OBJECT_BYTES = 100;

/** Walks the trie of a vocabulary along the lexer's states. */
export class Walker {
  readonly #vocabulary: Vocabulary;
  readonly #lexer: Lexer;
  readonly #runs: PlainRuns;
  readonly #words: number;
  /** The trie of the current walk. */
  #trie: Trie;
  /** States and ends of the nodes on the way to the current one. */
  readonly #states: LexerState[] = [];
  readonly #ends: number[] = [];
  #tokens = new Int32Array(4096);
  #count = 0;
  #exits = new Map<TerminalSet, number[]>();
  #bytes = 0;

  constructor(vocabulary: Vocabulary, lexer: Lexer) {
    this.#vocabulary = vocabulary;
    this.#lexer = lexer;
    this.#runs = new PlainRuns(lexer);
    this.#words = Math.ceil(vocabulary.size / 32);
    this.#trie = vocabulary.trie;
  }

  /** Memory of all walks since `forget`. */
  get bytes(): number {
    return this.#bytes;
  }

  forget(): void {
    this.#bytes = 0;
  }

  /** The walk over the whole vocabulary. Where plain tokens are known to be allowed by their length, only over the rest. */
  walkAll(state: LexerState): Walk {
    const { trie, plain } = this.#vocabulary;
    const length = this.#runs.length(state);
    const known = length === undefined ? undefined : plain.upTo[length];
    if (!known) return this.walk(state, { trie, nodes: trie.roots });
    const walk = this.walk(state, { trie: plain.rest, nodes: plain.rest.roots });
    if (!walk.words) return { ...walk, words: known.words, count: walk.count + known.count };
    known.words.forEach((word, index) => {
      if (walk.words) walk.words[index] = (walk.words[index] ?? 0) | word;
    });
    return { ...walk, count: walk.count + known.count };
  }

  /** The walk over some nodes and all below them. */
  walk(state: LexerState, { trie, nodes, allowed = [] }: Beginning): Walk {
    this.#trie = trie;
    this.#count = 0;
    this.#exits = new Map();
    for (const node of allowed) this.#allow(node);
    for (let index = 0; index < nodes.length; index++) this.#enter(state, nodes[index] ?? 0);
    return this.#result();
  }

  /** Visits a node and all nodes below it. */
  #enter(before: LexerState, first: number): void {
    const { nodeEnd } = this.#trie;
    const states = this.#states;
    const ends = this.#ends;
    const last = nodeEnd[first] ?? 0;
    let depth = 0;
    let state = before;
    let end = last;
    let node = first;
    while (node < last) {
      while (node >= end) {
        depth--;
        state = states[depth] ?? before;
        end = ends[depth] ?? 0;
      }
      const next = this.#visit(node, state);
      const below = nodeEnd[node] ?? 0;
      if (next === null || node + 1 === below) {
        node = below;
        continue;
      }
      states[depth] = state;
      ends[depth] = end;
      depth++;
      state = next;
      end = below;
      node++;
    }
  }

  /** Visits a node from the state before its byte. Returns the state with which to visit those below it, if any. */
  #visit(node: number, state: LexerState): LexerState | null {
    const next = this.#lexer.step(state, this.#trie.nodeByte[node] ?? 0);
    if (next === null) {
      if (state.accept) this.#leave(state.accept, node);
      return null;
    }
    this.#allow(node);
    if (!next.ends) return next;
    this.#leaveBelow(next, node);
    return null;
  }

  #allow(node: number): void {
    const { nextToken } = this.#vocabulary;
    for (let token = this.#trie.nodeToken[node] ?? -1; token >= 0; token = nextToken[token] ?? -1) {
      if (this.#count === this.#tokens.length) {
        const grown = new Int32Array(2 * this.#tokens.length);
        grown.set(this.#tokens);
        this.#tokens = grown;
      }
      this.#tokens[this.#count++] = token;
    }
  }

  #leave(accept: TerminalSet, node: number): void {
    const nodes = this.#exits.get(accept);
    if (nodes) nodes.push(node);
    else this.#exits.set(accept, [node]);
  }

  #leaveBelow({ accept }: LexerState, node: number): void {
    const { nodeEnd } = this.#trie;
    const end = nodeEnd[node] ?? 0;
    if (accept)
      for (let child = node + 1; child < end; child = nodeEnd[child] ?? end) this.#leave(accept, child);
  }

  #result(): Walk {
    const exits = Array.from(this.#exits, ([accept, nodes]) => ({
      accept,
      trie: this.#trie,
      nodes: Int32Array.from(nodes),
      after: new Map<LexerState, Walk>(),
    }));
    const found = this.#tokens.subarray(0, this.#count);
    const isDense = found.length > this.#words;
    this.#bytes += 2 * OBJECT_BYTES + 4 * Math.min(found.length, this.#words);
    for (const { nodes } of exits) this.#bytes += 4 * OBJECT_BYTES + 4 * nodes.length;
    return {
      words: isDense ? bitsOf(found, this.#words) : undefined,
      tokens: isDense ? NO_TOKENS : found.slice(),
      count: found.length,
      exits,
    };
  }
}

const NO_TOKENS = new Int32Array(0);

function bitsOf(tokens: Int32Array, length: number): Uint32Array {
  const words = new Uint32Array(length);
  for (let index = 0; index < tokens.length; index++) {
    const token = tokens[index] ?? 0;
    words[token >>> 5] = (words[token >>> 5] ?? 0) | (1 << (token & 31));
  }
  return words;
}
