import { type Automaton, type ByteClasses, type Copier, type Pace, refine } from "#automaton";
import { type Lexeme, memo } from "#grammar";
import { Interner } from "./hash-tables.ts";
import type { PlainStep } from "./plain-run.ts";
import type { Walk, WalkInProgress } from "./walk.ts";

/** Lexemes that match the same texts are one terminal; numbers without a meaning, in ascending order. */
export interface TerminalSet {
  readonly terminals: Int32Array;
}

/**
 * A state of the lexer: terminals that the bytes since the last boundary can still become, each with the rest that it needs, as a node of
 * the automaton. Equal states are the same object until the lexer forgets its states.
 */
export interface LexerState {
  /** No byte has come since the boundary. */
  readonly isBoundary: boolean;
  /** Alternately a terminal and a node. */
  readonly pairs: Int32Array;
  /** Terminals that match the bytes since the boundary; at the boundary itself always undefined. */
  readonly accept: TerminalSet | undefined;
  /** The lexeme ends here whatever comes: no byte goes on, or a lazy lexeme matches. */
  readonly ends: boolean;
  /** Class of each byte, for which there is an entry in `next`; undefined until it is needed. */
  classes: ByteClasses | undefined;
  /** State after a byte of a class: null where there is none, undefined until it is needed. */
  next: (LexerState | null | undefined)[];
  /** What is known of the tokens that are possible in the state. */
  walk: Walk | WalkInProgress | undefined;
  /** States after plain characters. */
  plain: PlainStep | undefined;
}

/** The automaton's node that matches the empty text only. */
const EMPTY_NODE = 1;

/** Bytes of the objects of one state, beside its pairs and transitions. */
const STATE_BYTES = 240;

/** Masks that an automaton serves at least before a new one takes its place, or else may be larger. */
const FEW_MASKS = 64;

/** Lexemes whose successors are found between two places at which the work may stop. */
const BATCH = 32;

const EVERY_BYTE: ByteClasses = {
  count: 1,
  of: new Uint8Array(256),
  representatives: new Uint8Array(1),
};

/**
 * A lexer over the lexemes of a grammar: a deterministic automaton whose states and transitions are made when they are needed, and
 * forgotten when they take too much memory.
 */
export class Lexer {
  #automaton: Automaton;
  /** Bytes from which on a new automaton takes its place. */
  #large: number;
  /** Masks that were begun with it. */
  #masks = 0;
  readonly #lexemes: readonly Lexeme[];
  /** Terminal of each lexeme, or −1 while it was never needed. */
  readonly #terminalOf: Int32Array;
  readonly #terminals: { node: number; readonly isLazy: boolean }[] = [];
  readonly #terminalsByNode = [new Map<number, number>(), new Map<number, number>()] as const;
  readonly #states = new Interner<LexerState>();
  readonly #startStates = new Interner<LexerState>();
  readonly #sets = new Interner<TerminalSet>();
  #refined = new Map<ByteClasses, Map<ByteClasses, ByteClasses>>();
  #bytes = 0;
  readonly #limit: number;

  /**
   * @param limit - bytes beyond which states are forgotten
   */
  constructor(automaton: Automaton, lexemes: readonly Lexeme[], limit: number) {
    this.#limit = limit;
    this.#large = limit / 2;
    this.#automaton = automaton;
    this.#lexemes = lexemes;
    this.#terminalOf = new Int32Array(lexemes.length).fill(-1);
  }

  /** Memory of states and transitions, roughly. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The automaton to which the nodes of states belong. */
  get automaton(): Automaton {
    return this.#automaton;
  }

  /** Stops work that takes too long at once. */
  get pace(): Pace {
    return this.#automaton.pace;
  }

  /**
   * Begins with a new automaton where the present one is large, as nodes are never forgotten one by one: all states are to be forgotten
   * then, and those that are in use to be `moved`. Called before each mask.
   */
  renewIfLarge(): boolean {
    this.#masks++;
    if (this.#automaton.bytes <= this.#large) return false;
    // what few masks need together would else be found again and again
    if (this.#masks < FEW_MASKS) this.#large *= 2;
    this.#masks = 0;
    this.#renew();
    return true;
  }

  #renew(): void {
    const old = this.#automaton;
    this.#automaton = old.renew();
    const copier = this.#automaton.copier(old);
    for (const nodes of this.#terminalsByNode) nodes.clear();
    for (const [terminal, entry] of this.#terminals.entries()) {
      entry.node = copier.copy(entry.node);
      this.#terminalsByNode[entry.isLazy ? 1 : 0].set(entry.node, terminal);
    }
  }

  /** The state in the present automaton, by a copier to it, of one in an older automaton. */
  moved({ pairs, isBoundary }: LexerState, copier: Copier): LexerState {
    const copies = Array.from(pairs, (value, index) => (index % 2 === 0 ? value : copier.copy(value)));
    return isBoundary ? this.start(copies.filter((_, index) => index % 2 === 0)) : this.#state(copies);
  }

  /** Terminal of a lexeme, which is interned at its first use. */
  terminalOf(lexeme: number): number {
    const known = this.#terminalOf[lexeme] ?? -1;
    if (known >= 0) return known;
    this.pace.check();
    const { regex, isLazy = false } = this.#lexemes[lexeme] ?? { regex: { type: "either", options: [] } };
    const node = this.#automaton.intern(regex);
    const byNode = this.#terminalsByNode[isLazy ? 1 : 0];
    const terminal = memo(byNode, node, () => this.#terminals.push({ node, isLazy }) - 1);
    this.#terminalOf[lexeme] = terminal;
    this.pace.advance();
    return terminal;
  }

  /** State at a boundary after which these terminals are possible, given in ascending order. */
  start(terminals: readonly number[] | Int32Array): LexerState {
    return this.#startStates.get(terminals, (key) => {
      const pairs = new Int32Array(2 * key.length);
      key.forEach((terminal, index) => {
        pairs[2 * index] = terminal;
        pairs[2 * index + 1] = this.#terminals[terminal]?.node ?? 0;
      });
      return this.#create(pairs, true);
    });
  }

  /** Classes of the bytes that go on alike from a state. */
  classes(state: LexerState): ByteClasses {
    return state.classes ?? this.#prepare(state);
  }

  /** State after a byte, or null where no lexeme goes on with it. */
  step(state: LexerState, byte: number): LexerState | null {
    const classes = state.classes ?? this.#prepare(state);
    const index = classes.of[byte] ?? 0;
    const next = state.next[index];
    return next === undefined ? this.#transition(state, index) : next;
  }

  /** The states of each lexeme alone, if there are several; none where a lazy one may end them all. */
  parts(state: LexerState): readonly LexerState[] {
    const { pairs } = state;
    const parts: LexerState[] = [];
    if (pairs.length === 2) return parts;
    for (let pair = 0; pair < pairs.length; pair += 2) {
      if (this.#terminals[pairs[pair] ?? 0]?.isLazy) return [];
      parts.push(this.#state([pairs[pair] ?? 0, pairs[pair + 1] ?? 0]));
    }
    return parts;
  }

  /** Forgets all states and transitions. States that are in use stay valid; equal ones may be different objects from now on. */
  forget(): void {
    for (const states of [this.#states, this.#startStates])
      for (const state of states.values()) {
        state.classes = undefined;
        state.next = [];
        state.walk = undefined;
        state.plain = undefined;
      }
    this.#states.clear();
    this.#startStates.clear();
    this.#sets.clear();
    this.#refined = new Map();
    this.#bytes = 0;
  }

  #prepare(state: LexerState): ByteClasses {
    const { pairs } = state;
    let classes: ByteClasses | undefined;
    for (let index = 1; index < pairs.length; index += 2) {
      const other = this.#automaton.classes(pairs[index] ?? 0);
      classes = classes === undefined ? other : this.#refine(classes, other);
    }
    state.classes = classes ?? EVERY_BYTE;
    state.next = new Array<undefined>(state.classes.count).fill(undefined);
    this.#bytes += 16 + 8 * state.classes.count;
    return state.classes;
  }

  /** The coarsest classes that are finer than both. */
  #refine(one: ByteClasses, other: ByteClasses): ByteClasses {
    if (one === other || other.count === 1) return one;
    if (one.count === 1) return other;
    const known = memo(this.#refined, one, () => new Map<ByteClasses, ByteClasses>());
    return memo(known, other, () => {
      this.#bytes += 400;
      return refine(one, other);
    });
  }

  #transition(state: LexerState, index: number): LexerState | null {
    const byte = state.classes?.representatives[index] ?? 0;
    const pairs: number[] = [];
    for (let pair = 0; pair < state.pairs.length; pair += 2) {
      if (pair % BATCH === 0) this.pace.check();
      const node = this.#automaton.derive(state.pairs[pair + 1] ?? 0, byte);
      if (!this.#automaton.isNothing(node)) pairs.push(state.pairs[pair] ?? 0, node);
    }
    const next = pairs.length === 0 ? null : this.#state(pairs);
    state.next[index] = next;
    this.pace.advance();
    return next;
  }

  #state(pairs: readonly number[]): LexerState {
    return this.#states.get(pairs, (key) => this.#create(key, false));
  }

  #acceptOf(pairs: Int32Array): TerminalSet | undefined {
    const terminals: number[] = [];
    for (let pair = 0; pair < pairs.length; pair += 2)
      if (this.#automaton.accepts(pairs[pair + 1] ?? 0)) terminals.push(pairs[pair] ?? 0);
    if (terminals.length === 0) return undefined;
    return this.#sets.get(terminals, (key) => ({ terminals: key }));
  }

  #create(pairs: Int32Array, isBoundary: boolean): LexerState {
    if (this.#bytes > this.#limit) this.forget();
    // the parser goes past an empty lexeme by itself
    const accept = isBoundary ? undefined : this.#acceptOf(pairs);
    const ends = accept !== undefined && (this.#isLazy(accept) || !this.#goesOn(pairs));
    this.#bytes += STATE_BYTES + 8 * pairs.length;
    const unknown = { classes: undefined, next: [], walk: undefined, plain: undefined };
    return { isBoundary, pairs, accept, ends, ...unknown };
  }

  #isLazy({ terminals }: TerminalSet): boolean {
    return terminals.some((terminal) => this.#terminals[terminal]?.isLazy === true);
  }

  /** Whether a text of at least one byte matches one of the nodes. */
  #goesOn(pairs: Int32Array): boolean {
    for (let index = 1; index < pairs.length; index += 2) {
      const node = pairs[index] ?? 0;
      if (node === EMPTY_NODE) continue;
      for (const byte of this.#automaton.classes(node).representatives)
        if (!this.#automaton.isNothing(this.#automaton.derive(node, byte))) return true;
    }
    return false;
  }
}
