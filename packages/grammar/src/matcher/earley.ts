import { GrammarError } from "#grammar";
import type { FlatGrammar } from "./flat-grammar.ts";
import type { Lexer, LexerState, TerminalSet } from "./lexer.ts";
import { PairSet } from "./pair-set.ts";

/** Limits of a parser, beyond which it throws. */
export interface EarleyLimits {
  /** Items of one row: the ways in which the grammar can go on. */
  readonly rowItems: number;
  /** Items of all rows, which grow with the text. */
  readonly items: number;
}

interface EarleyOptions {
  /** Terminal that may stand before, between and after all others, or −1. */
  readonly skip: number;
  readonly limits: EarleyLimits;
}

/** Rows with more items than this are searched by an index. */
const INDEXED_ROW = 24;

/** How often the items of a row may be found, on average over the limit of their number. */
const WORK = 20;

/** The last item of a chain in which each rule completes the next. */
interface Jump {
  readonly position: number;
  readonly origin: number;
}

/** What a row keeps once others have looked back at it. */
interface Lookups {
  /** Items that wait for a rule, by rule; only in large rows. */
  waiting?: Map<number, number[]>;
  /** Leo's shortcut by rule; null where the row has none. */
  readonly jumps: Map<number, Jump | null>;
}

/**
 * An Earley recognizer. A row holds the items that are possible after a lexeme: positions in the rules, each with the row in which its
 * rule began. Rows are added by `scan` and taken away by `truncate`.
 *
 * Where exactly one item of a row waits for a rule and ends with it, completing the rule completes that item's rule as well, and so on.
 * Leo's shortcut jumps to the end of such a chain, so that right-recursive lists take constant work for each element.
 */
export class Earley {
  readonly #grammar: FlatGrammar;
  readonly #lexer: Lexer;
  readonly #limits: EarleyLimits;
  readonly #skip: number;

  #positions = new Int32Array(256);
  #origins = new Int32Array(256);
  #items = 0;

  #rows = 0;
  /** Where the items of each row begin and end, and how many items there are up to it: a skipped lexeme repeats the items before it. */
  #firsts = new Int32Array(64);
  #ends = new Int32Array(64);
  #tops = new Int32Array(64);
  /** Whether a row comes after a skipped lexeme, which must not come twice. */
  #skipped = new Uint8Array(64);
  readonly #states: (LexerState | undefined)[] = [];
  readonly #lookups: (Lookups | undefined)[] = [];

  /** Items that were found for the newest row, also those that it had. */
  #work = 0;
  /** Count of rows ever begun; it marks what the newest row has. */
  #serial = 0;
  /** The row, by its serial, for which a rule was predicted last. */
  readonly #predicted: Int32Array;
  /** The row that had a position last, of a rule that begins in that row. */
  readonly #added: Int32Array;
  /** Items of the newest row whose rules began in earlier rows. */
  readonly #older = new PairSet();

  constructor(grammar: FlatGrammar, lexer: Lexer, { skip, limits }: EarleyOptions) {
    this.#grammar = grammar;
    this.#lexer = lexer;
    this.#skip = skip;
    this.#limits = limits;
    this.#predicted = new Int32Array(grammar.rules);
    this.#added = new Int32Array(grammar.codes.length);
    this.#begin();
    this.#predict(grammar.start);
    this.#close();
  }

  /** Number of rows; the newest is the last. */
  get rows(): number {
    return this.#rows;
  }

  /** Memory of rows and items. */
  get bytes(): number {
    return 8 * this.#positions.length + 29 * this.#firsts.length + 4 * this.#added.length;
  }

  /** Whether the text may end at the newest row. */
  get accepts(): boolean {
    const row = this.#rows - 1;
    const { start } = this.#grammar;
    for (let item = this.#firsts[row] ?? 0; item < (this.#ends[row] ?? 0); item++)
      if (this.#positions[item] === start && this.#origins[item] === 0) return true;
    return false;
  }

  /** The lexer's state at the newest row: its possible lexemes. */
  get state(): LexerState {
    const row = this.#rows - 1;
    const known = this.#states[row];
    if (known) return known;
    const state = this.#lexer.start(this.#terminals(row));
    this.#states[row] = state;
    return state;
  }

  /** Forgets the lexer's states, which belong to an automaton that is no longer in use. */
  forgetStates(): void {
    this.#states.fill(undefined);
  }

  /** Adds the row after a lexeme that is one of these, of which at least one is possible in the newest row. */
  scan({ terminals }: TerminalSet): void {
    const row = this.#rows - 1;
    const skips = this.#skipped[row] === 0 && terminals.includes(this.#skip);
    const first = this.#firsts[row] ?? 0;
    const end = this.#ends[row] ?? 0;
    this.#begin();
    let isSkip = skips;
    for (let item = first; item < end; item++) {
      const position = this.#positions[item] ?? 0;
      if (!this.#isNext(position, terminals)) continue;
      isSkip = false;
      this.#add(this.#grammar.nextPositions[position] ?? 0, this.#origins[item] ?? 0);
    }
    if (isSkip) {
      const newest = this.#rows - 1;
      this.#firsts[newest] = first;
      this.#ends[newest] = end;
      this.#skipped[newest] = 1;
      return;
    }
    if (skips)
      for (let item = first; item < end; item++)
        this.#add(this.#positions[item] ?? 0, this.#origins[item] ?? 0);
    this.#close();
  }

  /** Whether the dot stands before a lexeme that is one of these terminals. */
  #isNext(position: number, terminals: Int32Array): boolean {
    const { codes, rules, ends } = this.#grammar;
    const code = codes[position] ?? 0;
    return code >= rules && code < ends && terminals.includes(this.#lexer.terminalOf(code - rules));
  }

  /** Takes away all rows but so many. */
  truncate(rows: number): void {
    if (rows >= this.#rows) return;
    this.#rows = rows;
    this.#items = this.#tops[rows - 1] ?? 0;
    this.#states.length = rows;
    this.#lookups.length = rows;
  }

  #begin(): void {
    const row = this.#rows++;
    if (row === this.#firsts.length) {
      this.#firsts = grown(this.#firsts);
      this.#ends = grown(this.#ends);
      this.#tops = grown(this.#tops);
      const skipped = new Uint8Array(this.#firsts.length);
      skipped.set(this.#skipped);
      this.#skipped = skipped;
    }
    this.#firsts[row] = this.#items;
    this.#ends[row] = this.#items;
    this.#tops[row] = this.#items;
    this.#skipped[row] = 0;
    this.#states.push(undefined);
    this.#lookups.push(undefined);
    this.#work = 0;
    this.#serial++;
    this.#older.clear();
  }

  /** Adds what follows from the items of the newest row. */
  #close(): void {
    const { nextPositions } = this.#grammar;
    const row = this.#rows - 1;
    for (let item = this.#firsts[row] ?? 0; item < this.#items; item++) {
      const position = this.#positions[item] ?? 0;
      const origin = this.#origins[item] ?? 0;
      if (this.#passes(this.#grammar.codes[position] ?? 0, origin))
        this.#add(nextPositions[position] ?? 0, origin);
    }
    this.#ends[row] = this.#items;
    this.#tops[row] = this.#items;
  }

  /** Adds what follows from an item of the newest row, by the code at its position. Returns whether the dot may pass it at once. */
  #passes(code: number, origin: number): boolean {
    const { rules, ends, isNullableRule, isNullableLexeme } = this.#grammar;
    if (code >= ends) {
      // a rule that matches the empty text is passed where it is predicted
      if (origin < this.#rows - 1) this.#complete(code - ends, origin);
      return false;
    }
    if (code >= rules) return isNullableLexeme[code - rules] === 1;
    if (this.#predicted[code] !== this.#serial) this.#predict(code);
    return isNullableRule[code] === 1;
  }

  #predict(rule: number): void {
    const { firstAlternatives, alternatives } = this.#grammar;
    this.#predicted[rule] = this.#serial;
    const end = firstAlternatives[rule + 1] ?? 0;
    for (let index = firstAlternatives[rule] ?? 0; index < end; index++)
      this.#add(alternatives[index] ?? 0, this.#rows - 1);
  }

  #complete(rule: number, origin: number): void {
    const jump = this.#jump(rule, origin);
    if (jump) this.#add(jump.position, jump.origin);
    else {
      const { nextPositions } = this.#grammar;
      for (const item of this.#waiting(rule, origin))
        this.#add(nextPositions[this.#positions[item] ?? 0] ?? 0, this.#origins[item] ?? 0);
    }
  }

  #add(position: number, origin: number): void {
    const row = this.#rows - 1;
    if (++this.#work > WORK * this.#limits.rowItems) throw tooAmbiguous(this.#limits);
    if (origin === row) {
      if (this.#added[position] === this.#serial) return;
      this.#added[position] = this.#serial;
    } else if (!this.#older.add(position, origin)) return;
    if (this.#items === this.#positions.length) {
      this.#positions = grown(this.#positions);
      this.#origins = grown(this.#origins);
    }
    this.#positions[this.#items] = position;
    this.#origins[this.#items++] = origin;
    if (this.#items - (this.#firsts[row] ?? 0) > this.#limits.rowItems) throw tooAmbiguous(this.#limits);
    if (this.#items > this.#limits.items)
      throw new GrammarError("limit", `The text needs more than ${this.#limits.items} items of the parser.`);
  }

  /** Items of a row that wait for a rule. */
  #waiting(rule: number, row: number): readonly number[] {
    const first = this.#firsts[row] ?? 0;
    const end = this.#ends[row] ?? 0;
    if (end - first > INDEXED_ROW) return this.#index(row).get(rule) ?? [];
    const { codes } = this.#grammar;
    const items: number[] = [];
    for (let item = first; item < end; item++)
      if (codes[this.#positions[item] ?? 0] === rule) items.push(item);
    return items;
  }

  #index(row: number): Map<number, number[]> {
    const lookups = this.#lookupsOf(row);
    if (lookups.waiting) return lookups.waiting;
    const { codes, rules } = this.#grammar;
    const waiting = new Map<number, number[]>();
    for (let item = this.#firsts[row] ?? 0; item < (this.#ends[row] ?? 0); item++) {
      const code = codes[this.#positions[item] ?? 0] ?? 0;
      if (code >= rules) continue;
      const list = waiting.get(code);
      if (list) list.push(item);
      else waiting.set(code, [item]);
    }
    lookups.waiting = waiting;
    return waiting;
  }

  #lookupsOf(row: number): Lookups {
    let lookups = this.#lookups[row];
    if (!lookups) {
      lookups = { jumps: new Map() };
      this.#lookups[row] = lookups;
    }
    return lookups;
  }

  /** Leo's shortcut for a rule that began in an earlier row. */
  #jump(rule: number, row: number): Jump | null {
    const chain: { jumps: Map<number, Jump | null>; rule: number; jump: Jump }[] = [];
    let result: Jump | null | undefined;
    let wanted = rule;
    let origin = row;
    while (result === undefined) {
      const { jumps } = this.#lookupsOf(origin);
      result = jumps.get(wanted);
      if (result !== undefined) break;
      // holds for a rule that leads back to itself, too
      jumps.set(wanted, null);
      const jump = this.#onlyEnd(wanted, origin);
      if (!jump) result = null;
      else {
        chain.push({ jumps, rule: wanted, jump });
        // the end of the whole text must not be jumped over
        if (jump.position === this.#grammar.start && jump.origin === 0) result = null;
        wanted = jump.position;
        origin = jump.origin;
      }
    }
    for (const link of chain.reverse()) {
      result ??= link.jump;
      link.jumps.set(link.rule, result);
    }
    return result ?? null;
  }

  /** The item after the only one that waits for a rule in a row, if it is the end of its rule. */
  #onlyEnd(rule: number, row: number): Jump | undefined {
    const [item, another] = this.#waiting(rule, row);
    if (item === undefined || another !== undefined) return undefined;
    const position = this.#grammar.nextPositions[this.#positions[item] ?? 0] ?? 0;
    return position < this.#grammar.rules ? { position, origin: this.#origins[item] ?? 0 } : undefined;
  }

  /** Terminals that are possible after a row, in ascending order. */
  #terminals(row: number): readonly number[] {
    const { codes, rules, ends } = this.#grammar;
    const terminals = new Set<number>();
    if (this.#skip >= 0 && this.#skipped[row] === 0) terminals.add(this.#skip);
    for (let item = this.#firsts[row] ?? 0; item < (this.#ends[row] ?? 0); item++) {
      const code = codes[this.#positions[item] ?? 0] ?? 0;
      if (code >= rules && code < ends) terminals.add(this.#lexer.terminalOf(code - rules));
    }
    return [...terminals].sort((one, other) => one - other);
  }
}

const tooAmbiguous = ({ rowItems }: EarleyLimits): GrammarError =>
  new GrammarError(
    "limit",
    `The grammar is too ambiguous: there are more than ${rowItems} ways to read the text up to one place.`,
  );

function grown(array: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(2 * array.length);
  larger.set(array);
  return larger;
}
