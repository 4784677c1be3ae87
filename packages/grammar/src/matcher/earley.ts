import { GrammarError, grown } from "#grammar";
import type { FlatGrammar } from "./flat-grammar.ts";
import { PairSet } from "./hash-tables.ts";
import type { Lexer, LexerState, TerminalSet } from "./lexer.ts";

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

/** Steps, of which each adds an item or two, between two places at which a row may stay unfinished. */
const BATCH = 256;

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
 * A row of an ambiguous grammar takes long, so the lexer's pace may stop it anywhere. Rows, and what there is of an unfinished one, are
 * kept when they are taken away, until another lexeme is scanned in their place: the same scan, made again, goes on.
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
  /** The lexemes before each row, also before those that were taken away and are kept. */
  readonly #lexemes: (TerminalSet | undefined)[] = [];
  /** The last row that is kept still lacks items. */
  #isUnfinished = false;
  /** In the unfinished row: the next item of the row before it to move on from, its own next item to follow, and followers of that. */
  #moving = 0;
  #following = 0;
  #followers = 0;
  #steps = 0;
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
  /** Count of rows ever begun; it marks what the last one has. */
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
    this.#begin(undefined);
    this.#predict(grammar.start);
    this.#followers = 0;
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
    if (row === 0 && this.#isUnfinished) this.#finish(NOTHING);
    const state = this.#lexer.start(this.#terminals(row));
    this.#states[row] = state;
    return state;
  }

  /** Forgets the lexer's states, which belong to an automaton that is no longer in use. */
  forgetStates(): void {
    this.#states.fill(undefined);
  }

  /** Adds the row after a lexeme that is one of these, of which at least one is possible in the newest row. */
  scan(lexemes: TerminalSet): void {
    if (this.#lexemes[this.#rows] === lexemes) this.#rows++;
    else if (this.#onlySkips(lexemes)) this.#repeat(lexemes);
    else this.#begin(lexemes);
    if (this.#isUnfinished && this.#rows === this.#lexemes.length) this.#finish(lexemes);
  }

  /** Whether no rule goes on with a lexeme of these, which is skipped. */
  #onlySkips({ terminals }: TerminalSet): boolean {
    const row = this.#rows - 1;
    if (!this.#skips(row, terminals)) return false;
    for (let item = this.#firsts[row] ?? 0; item < (this.#ends[row] ?? 0); item++)
      if (this.#isNext(this.#positions[item] ?? 0, terminals)) return false;
    return true;
  }

  #skips(row: number, terminals: Int32Array): boolean {
    return this.#skipped[row] === 0 && has(terminals, this.#skip);
  }

  /** Whether the dot stands before a lexeme that is one of these terminals. */
  #isNext(position: number, terminals: Int32Array): boolean {
    const { codes, rules, ends } = this.#grammar;
    const code = codes[position] ?? 0;
    return code >= rules && code < ends && has(terminals, this.#lexer.terminalOf(code - rules));
  }

  /** Takes away all rows but so many. */
  truncate(rows: number): void {
    this.#rows = Math.min(rows, this.#rows);
  }

  /** Begins a row in place of all that are kept behind the newest one. */
  #begin(lexemes: TerminalSet | undefined): void {
    const row = this.#rows++;
    if (row === this.#firsts.length) {
      this.#firsts = grown(this.#firsts);
      this.#ends = grown(this.#ends);
      this.#tops = grown(this.#tops);
      const skipped = new Uint8Array(this.#firsts.length);
      skipped.set(this.#skipped);
      this.#skipped = skipped;
    }
    this.#items = this.#tops[row - 1] ?? 0;
    this.#firsts[row] = this.#items;
    this.#ends[row] = this.#items;
    this.#tops[row] = this.#items;
    this.#skipped[row] = 0;
    for (const kept of [this.#lexemes, this.#states, this.#lookups]) kept.length = row;
    this.#lexemes.push(lexemes);
    this.#states.push(undefined);
    this.#lookups.push(undefined);
    this.#isUnfinished = true;
    this.#moving = this.#firsts[row - 1] ?? 0;
    this.#following = this.#items;
    this.#followers = 0;
    this.#work = 0;
    this.#serial++;
    this.#older.clear();
  }

  /** Adds a row that has the items of the newest one, after a lexeme that is skipped. */
  #repeat(lexemes: TerminalSet): void {
    const before = this.#rows - 1;
    this.#begin(lexemes);
    this.#firsts[before + 1] = this.#firsts[before] ?? 0;
    this.#ends[before + 1] = this.#ends[before] ?? 0;
    this.#skipped[before + 1] = 1;
    this.#isUnfinished = false;
  }

  /** Adds the items that the newest row lacks, unless it has to stop. */
  #finish({ terminals }: TerminalSet): void {
    const { codes, nextPositions } = this.#grammar;
    const row = this.#rows - 1;
    this.#move(row - 1, terminals);
    for (; this.#following < this.#items; this.#following++) {
      this.#checkPace();
      const position = this.#positions[this.#following] ?? 0;
      const origin = this.#origins[this.#following] ?? 0;
      if (this.#passes(codes[position] ?? 0, origin)) this.#add(nextPositions[position] ?? 0, origin);
      this.#followers = 0;
    }
    this.#ends[row] = this.#items;
    this.#tops[row] = this.#items;
    this.#isUnfinished = false;
  }

  /** Adds the items of a row after one of these lexemes. */
  #move(from: number, terminals: Int32Array): void {
    const { nextPositions } = this.#grammar;
    const end = this.#ends[from] ?? 0;
    const skips = this.#skips(from, terminals);
    for (; this.#moving < end; this.#moving++) {
      this.#checkPace();
      const position = this.#positions[this.#moving] ?? 0;
      const origin = this.#origins[this.#moving] ?? 0;
      if (this.#isNext(position, terminals)) this.#add(nextPositions[position] ?? 0, origin);
      if (skips) this.#add(position, origin);
    }
  }

  /** Called where the row may stay unfinished. */
  #checkPace(): void {
    if (++this.#steps < BATCH) return;
    this.#lexer.pace.check();
    this.#lexer.pace.advance();
    this.#steps = 0;
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
    const first = firstAlternatives[rule] ?? 0;
    const count = (firstAlternatives[rule + 1] ?? 0) - first;
    for (; this.#followers < count; this.#followers++) {
      this.#checkPace();
      this.#add(alternatives[first + this.#followers] ?? 0, this.#rows - 1);
    }
    this.#predicted[rule] = this.#serial;
  }

  #complete(rule: number, origin: number): void {
    const jump = this.#jump(rule, origin);
    if (jump) this.#add(jump.position, jump.origin);
    else {
      const { nextPositions } = this.#grammar;
      const waiting = this.#waiting(rule, origin);
      for (; this.#followers < waiting.length; this.#followers++) {
        this.#checkPace();
        const item = waiting[this.#followers] ?? 0;
        this.#add(nextPositions[this.#positions[item] ?? 0] ?? 0, this.#origins[item] ?? 0);
      }
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
    this.#lexer.pace.check();
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
    this.#lexer.pace.advance();
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
    try {
      while (result === undefined) {
        const { jumps } = this.#lookupsOf(origin);
        result = jumps.get(wanted);
        if (result !== undefined) break;
        const jump = this.#onlyEnd(wanted, origin);
        // holds for a rule that leads back to itself, too
        jumps.set(wanted, null);
        if (!jump) result = null;
        else {
          chain.push({ jumps, rule: wanted, jump });
          // the end of the whole text must not be jumped over
          if (jump.position === this.#grammar.start && jump.origin === 0) result = null;
          wanted = jump.position;
          origin = jump.origin;
        }
      }
    } catch (error) {
      // the work stopped before the end of the chain
      for (const link of chain) link.jumps.delete(link.rule);
      throw error;
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
  #terminals(row: number): Int32Array {
    const { codes, rules, ends } = this.#grammar;
    const terminals = new Set<number>();
    if (this.#skip >= 0 && this.#skipped[row] === 0) terminals.add(this.#skip);
    for (let item = this.#firsts[row] ?? 0; item < (this.#ends[row] ?? 0); item++) {
      const code = codes[this.#positions[item] ?? 0] ?? 0;
      if (code >= rules && code < ends) terminals.add(this.#lexer.terminalOf(code - rules));
    }
    return Int32Array.from(terminals).sort();
  }
}

const NOTHING: TerminalSet = { terminals: new Int32Array(0) };

/** Whether a terminal is among these, in ascending order. */
function has(terminals: Int32Array, wanted: number): boolean {
  let low = 0;
  let high = terminals.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((terminals[middle] ?? 0) < wanted) low = middle + 1;
    else high = middle;
  }
  return terminals[low] === wanted;
}

const tooAmbiguous = ({ rowItems }: EarleyLimits): GrammarError =>
  new GrammarError(
    "limit",
    `The grammar is too ambiguous: there are more than ${rowItems} ways to read the text up to one place.`,
  );
