import { Automaton, refine } from "#automaton";
import { type Grammar, GrammarError, type GrammarSymbol, isLimit, type Lexeme } from "#grammar";

/** Pairs of states that are looked at, nodes of automata, and visits of symbols. */
const [MAX_PAIRS, MAX_NODES, MAX_VISITS] = [20_000, 50_000, 1_000_000];

/** The node of the empty language; others may be empty, too, for which they are taken as texts that do not exist. */
const NOTHING = 0;

/** A set of bytes. */
type Bytes = bigint;

/** Passes over rules until nothing changes, within a limit. */
function repeatPasses({ rules }: Grammar, pass: () => boolean): void {
  const visits = rules.reduce((sum, { alternatives }) => sum + alternatives.flat().length + 1, 0);
  for (let left = MAX_VISITS; pass(); left -= visits)
    if (left < 0) throw new GrammarError("limit", "too many visits of symbols");
}

/** First bytes of symbols, and which of them may be empty, by repeated passes over the rules. */
class Firsts {
  readonly #lexemes: readonly Bytes[];
  readonly #rules: Bytes[];
  readonly #empty: boolean[];

  constructor(grammar: Grammar, lexemes: readonly Bytes[]) {
    const { rules } = grammar;
    this.#lexemes = lexemes;
    this.#rules = rules.map(() => 0n);
    this.#empty = rules.map(() => false);
    repeatPasses(grammar, () => {
      let changed = false;
      for (const [i, { alternatives }] of rules.entries())
        for (const symbols of alternatives) changed = this.#add(i, symbols) || changed;
      return changed;
    });
  }

  isEmpty(symbol: GrammarSymbol): boolean {
    return "rule" in symbol && this.#empty[symbol.rule] === true;
  }

  of(symbol: GrammarSymbol): Bytes {
    return ("rule" in symbol ? this.#rules[symbol.rule] : this.#lexemes[symbol.lexeme]) ?? 0n;
  }

  #add(rule: number, symbols: readonly GrammarSymbol[]): boolean {
    let first = this.#rules[rule] ?? 0n;
    const isEmpty = symbols.every((symbol) => {
      first |= this.of(symbol);
      return this.isEmpty(symbol);
    });
    const changed = first !== this.#rules[rule] || (isEmpty && this.#empty[rule] !== true);
    this.#rules[rule] = first;
    if (isEmpty) this.#empty[rule] = true;
    return changed;
  }
}

/** The bytes that may follow symbols, by repeated passes over the rules. */
class Follows {
  readonly #firsts: Firsts;
  readonly #rules: Bytes[];
  readonly #lexemes: Bytes[];
  #changed = false;

  constructor(grammar: Grammar, firsts: Firsts) {
    const { lexemes, rules } = grammar;
    this.#firsts = firsts;
    this.#lexemes = lexemes.map(() => 0n);
    this.#rules = rules.map(() => 0n);
    // most rules refer to those before them
    const reversed = [...rules.entries()].reverse();
    repeatPasses(grammar, () => {
      this.#changed = false;
      for (const [i, { alternatives }] of reversed)
        for (const symbols of alternatives) this.#addAll(symbols, this.#rules[i] ?? 0n);
      return this.#changed;
    });
  }

  get lexemes(): readonly Bytes[] {
    return this.#lexemes;
  }

  #addAll(symbols: readonly GrammarSymbol[], end: Bytes): void {
    let after = end;
    for (const symbol of symbols.toReversed()) {
      this.#add(symbol, after);
      after = this.#firsts.isEmpty(symbol) ? after | this.#firsts.of(symbol) : this.#firsts.of(symbol);
    }
  }

  #add(symbol: GrammarSymbol, bytes: Bytes): void {
    const [sets, i] = "rule" in symbol ? [this.#rules, symbol.rule] : [this.#lexemes, symbol.lexeme];
    const before = sets[i] ?? 0n;
    sets[i] = before | bytes;
    this.#changed ||= sets[i] !== before;
  }
}

/** Explores lexemes side by side. */
class Pairs {
  readonly #automaton = new Automaton({ nodes: MAX_NODES });
  readonly #starts: readonly number[];
  #left = MAX_PAIRS;

  constructor(lexemes: readonly Lexeme[]) {
    this.#starts = lexemes.map(({ regex }) => this.#automaton.intern(regex));
  }

  firsts(): readonly Bytes[] {
    return this.#starts.map((node) => this.#next(node));
  }

  /** Whether, after a whole `one`, a byte of `follow` may also be the next of `other`. */
  hasConflict(one: number, other: number, follow: Bytes): boolean {
    const start = [this.#starts[one] ?? 0, this.#starts[other] ?? 0] as const;
    const seen = new Set([start.join()]);
    const queue: (readonly [number, number])[] = [start];
    for (let pair = queue.pop(); pair !== undefined; pair = queue.pop()) {
      if (--this.#left < 0) throw new GrammarError("limit", "too many pairs of lexemes");
      const [a, b] = pair;
      if (this.#automaton.accepts(a) && (this.#next(b) & follow) !== 0n) return true;
      for (const next of this.#successors(a, b)) {
        const key = next.join();
        if (!seen.has(key)) queue.push(next);
        seen.add(key);
      }
    }
    return false;
  }

  /** The pairs of states after one more byte, in which both can go on. */
  #successors(a: number, b: number): readonly (readonly [number, number])[] {
    const { representatives } = refine(this.#automaton.classes(a), this.#automaton.classes(b));
    return Array.from(
      representatives,
      (byte) => [this.#automaton.derive(a, byte), this.#automaton.derive(b, byte)] as const,
    ).filter((pair) => !pair.includes(NOTHING));
  }

  /** The bytes that may come next. */
  #next(node: number): Bytes {
    const classes = this.#automaton.classes(node);
    const alive = Array.from(
      classes.representatives,
      (byte) => this.#automaton.derive(node, byte) !== NOTHING,
    );
    let bytes = 0n;
    for (let byte = 0; byte < 256; byte++)
      if (alive[classes.of[byte] ?? 0] === true) bytes |= 1n << BigInt(byte);
    return bytes;
  }
}

/**
 * Whether a lexer whose lexemes are as long as they can be finds every text of a grammar: no lexeme could go on with what may
 * follow another that has just ended. False, too, where that takes too long to find out.
 */
export function isGreedyExact(grammar: Grammar): boolean {
  try {
    const pairs = new Pairs(grammar.lexemes);
    const first = pairs.firsts();
    const follow = new Follows(grammar, new Firsts(grammar, first)).lexemes;
    return grammar.lexemes.every((_, one) =>
      grammar.lexemes.every(
        (__, other) =>
          ((first[one] ?? 0n) & (first[other] ?? 0n)) === 0n ||
          !pairs.hasConflict(one, other, follow[one] ?? 0n),
      ),
    );
  } catch (error) {
    if (isLimit(error)) return false;
    throw error;
  }
}
