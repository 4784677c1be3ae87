import { grown } from "#grammar";
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
  readonly after: Map<LexerState, Walk | WalkInProgress>;
}

/** Nodes from which a walk begins: their bytes are the next ones of the text. */
interface Beginning {
  readonly trie: Trie;
  readonly nodes: Int32Array;
  /** Nodes of the trie whose tokens are allowed besides. */
  readonly allowed?: readonly number[];
  /** Tokens that are allowed besides and not in the trie. */
  readonly known?: { readonly words: Uint32Array; readonly count: number } | undefined;
}

/** Bytes of an object or map without its contents, roughly. */
const OBJECT_BYTES = 100;

/** Nodes that are visited between two places at which a walk may stop. */
const BATCH = 1024;

/** Walks the trie of a vocabulary along the lexer's states. */
export class Walker {
  readonly #vocabulary: Vocabulary;
  readonly #lexer: Lexer;
  readonly #runs: PlainRuns;
  #bytes = 0;

  constructor(vocabulary: Vocabulary, lexer: Lexer) {
    this.#vocabulary = vocabulary;
    this.#lexer = lexer;
    this.#runs = new PlainRuns(lexer);
  }

  /** Memory of all walks since `forget`. */
  get bytes(): number {
    return this.#bytes;
  }

  forget(): void {
    this.#bytes = 0;
  }

  /** The walk over the whole vocabulary. Where plain tokens are known to be allowed by their length, only over the rest. */
  walkAll(state: LexerState): WalkInProgress {
    const { trie, plain } = this.#vocabulary;
    const length = this.#runs.length(state);
    const known = length === undefined ? undefined : plain.upTo[length];
    if (!known) return this.walk(state, { trie, nodes: trie.roots });
    return this.walk(state, { trie: plain.rest, nodes: plain.rest.roots, known });
  }

  /** The walk over some nodes and all below them. */
  walk(state: LexerState, beginning: Beginning): WalkInProgress {
    return new WalkInProgress({ vocabulary: this.#vocabulary, lexer: this.#lexer }, state, beginning);
  }

  /** Finishes a walk, unless it has to stop. */
  finish(walk: WalkInProgress): Walk {
    const finished = walk.finish();
    this.#bytes += sizeOf(finished);
    return finished;
  }
}

/** What all walks share. */
interface WalkContext {
  readonly vocabulary: Vocabulary;
  readonly lexer: Lexer;
}

/** A walk that stops where it takes too long at once, and goes on from there. */
export class WalkInProgress {
  readonly #context: WalkContext;
  readonly #before: LexerState;
  readonly #beginning: Beginning;
  readonly #trie: Trie;
  /** Index of the beginning's node below which the walk is. */
  #index = 0;
  /** The next node there; −1 where none was visited. */
  #node = -1;
  /** Nodes on the way to it, with their states and ends. */
  #depth = 0;
  #state: LexerState;
  #end = 0;
  readonly #states: LexerState[] = [];
  readonly #ends: number[] = [];
  /** Nodes that were visited since the walk could stop. */
  #visited = 0;
  #tokens = new Int32Array(256);
  #count = 0;
  readonly #exits = new Map<TerminalSet, number[]>();

  constructor(context: WalkContext, state: LexerState, beginning: Beginning) {
    this.#context = context;
    this.#before = state;
    this.#state = state;
    this.#beginning = beginning;
    this.#trie = beginning.trie;
    for (const node of beginning.allowed ?? []) this.#allow(node);
  }

  /** Visits what is left. */
  finish(): Walk {
    const { nodes } = this.#beginning;
    for (; this.#index < nodes.length; this.#index++) {
      this.#enter(nodes[this.#index] ?? 0);
      this.#node = -1;
    }
    return this.#result();
  }

  /** Visits a node and all nodes below it, or goes on there. */
  #enter(first: number): void {
    const { nodeEnd } = this.#trie;
    const states = this.#states;
    const ends = this.#ends;
    const last = nodeEnd[first] ?? 0;
    const isNew = this.#node < 0;
    let depth = isNew ? 0 : this.#depth;
    let state = isNew ? this.#before : this.#state;
    let end = isNew ? last : this.#end;
    let node = isNew ? first : this.#node;
    try {
      while (node < last) {
        while (node >= end) {
          depth--;
          state = states[depth] ?? this.#before;
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
    } finally {
      this.#depth = depth;
      this.#state = state;
      this.#end = end;
      this.#node = node;
    }
  }

  /** Visits a node from the state before its byte. Returns the state with which to visit those below it, if any. */
  #visit(node: number, state: LexerState): LexerState | null {
    const { lexer } = this.#context;
    if (++this.#visited > BATCH) {
      lexer.pace.check();
      lexer.pace.advance();
      this.#visited = 0;
    }
    const next = lexer.step(state, this.#trie.nodeByte[node] ?? 0);
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
    const { nextToken } = this.#context.vocabulary;
    for (let token = this.#trie.nodeToken[node] ?? -1; token >= 0; token = nextToken[token] ?? -1) {
      if (this.#count === this.#tokens.length) this.#tokens = grown(this.#tokens);
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
      after: new Map<LexerState, Walk | WalkInProgress>(),
    }));
    const { known } = this.#beginning;
    const found = this.#tokens.subarray(0, this.#count);
    const size = Math.ceil(this.#context.vocabulary.size / 32);
    const count = found.length + (known?.count ?? 0);
    if (found.length <= size) return { words: known?.words, tokens: found.slice(), count, exits };
    const words = bitsOf(found, size);
    known?.words.forEach((word, index) => {
      words[index] = (words[index] ?? 0) | word;
    });
    return { words, tokens: NO_TOKENS, count, exits };
  }
}

const NO_TOKENS = new Int32Array(0);

/** Memory of a walk, roughly. */
function sizeOf({ words, tokens, exits }: Walk): number {
  let bytes = 2 * OBJECT_BYTES + 4 * tokens.length + (tokens.length === 0 ? (words?.byteLength ?? 0) : 0);
  for (const { nodes } of exits) bytes += 4 * OBJECT_BYTES + 4 * nodes.length;
  return bytes;
}

function bitsOf(tokens: Int32Array, length: number): Uint32Array {
  const words = new Uint32Array(length);
  for (let index = 0; index < tokens.length; index++) {
    const token = tokens[index] ?? 0;
    words[token >>> 5] = (words[token >>> 5] ?? 0) | (1 << (token & 31));
  }
  return words;
}
