import {
  type Grammar,
  GrammarError,
  type GrammarSymbol,
  type Lexeme,
  leastRules,
  memo,
  type Rule,
} from "#grammar";
import type { Budget } from "./budget.ts";

type Alternatives = (readonly GrammarSymbol[])[];

/** Counts up to this one get a rule each; larger ones are built of halves. */
const LINEAR = 32;

/** Collects lexemes and rules, each once. */
export class RuleBuilder {
  readonly #budget: Budget;
  readonly #lexemes: Lexeme[] = [];
  readonly #byKey = new Map<string, GrammarSymbol>();
  readonly #rules: { readonly name: string; readonly alternatives: Alternatives }[] = [];
  readonly #repeats = new Map<string, GrammarSymbol>();

  constructor(budget: Budget) {
    this.#budget = budget;
  }

  /** The lexeme of a key, made where it is new. */
  lexeme(key: string, make: () => Lexeme): GrammarSymbol {
    return memo(this.#byKey, key, () => ({
      lexeme: this.#lexemes.push({ ...make(), isSmall: true }) - 1,
    }));
  }

  /** A new rule, whose alternatives may be added later. */
  rule(name: string, ...alternatives: Alternatives): { readonly rule: number } {
    if (this.#rules.length >= this.#budget.limits.rules)
      throw new GrammarError(
        "limit",
        `The schema needs a grammar of more than ${this.#budget.limits.rules} rules. Make it smaller.`,
      );
    this.#budget.spend(1 + alternatives.length);
    return { rule: this.#rules.push({ name, alternatives }) - 1 };
  }

  add({ rule }: { readonly rule: number }, ...alternatives: Alternatives): void {
    this.#budget.spend(alternatives.length);
    this.#rules[rule]?.alternatives.push(...alternatives);
  }

  /** A symbol so many times, at least and at most; a null maximum is none. */
  repeat(symbol: GrammarSymbol, min: number, max: number | null): readonly GrammarSymbol[] {
    const required = this.#exactly(symbol, min);
    if (max === null) return [...required, this.#star(symbol)];
    return [...required, ...this.#upTo(symbol, max - min)];
  }

  #star(symbol: GrammarSymbol): GrammarSymbol {
    return memo(this.#repeats, `${symbolKey(symbol)}*`, () => {
      const rule = this.rule("any number", []);
      this.add(rule, [rule, symbol]);
      return rule;
    });
  }

  #exactly(symbol: GrammarSymbol, count: number): readonly GrammarSymbol[] {
    if (count <= 4) return Array.from({ length: count }, () => symbol);
    const half = Math.floor(count / 2);
    const rule = memo(this.#repeats, `${symbolKey(symbol)}=${count}`, () =>
      this.rule(`${count} times`, [...this.#exactly(symbol, half), ...this.#exactly(symbol, count - half)]),
    );
    return [rule];
  }

  /** At most so many, in one way only: a power of two and the rest, or fewer than it. */
  #upTo(symbol: GrammarSymbol, count: number): readonly GrammarSymbol[] {
    if (count === 0) return [];
    const rule = memo(this.#repeats, `${symbolKey(symbol)}<${count}`, () => {
      if (count <= LINEAR)
        return this.rule(`at most ${count}`, [], [symbol, ...this.#upTo(symbol, count - 1)]);
      const power = 2 ** Math.floor(Math.log2(count));
      const more = [...this.#exactly(symbol, power), ...this.#upTo(symbol, count - power)];
      return this.rule(`at most ${count}`, more, this.#upTo(symbol, power - 1));
    });
    return [rule];
  }

  /** The grammar from a start symbol, without rules that match no text; undefined if nothing matches. */
  build(start: GrammarSymbol): Grammar | undefined {
    const first = this.rule("start", [start]);
    const productive = leastRules(this.#rules);
    if (productive[first.rule] === 0) return undefined;
    const isProductive = (symbol: GrammarSymbol): boolean =>
      !("rule" in symbol) || productive[symbol.rule] === 1;
    const rules = productive.every((one) => one === 1)
      ? this.#rules
      : this.#rules.map(({ name, alternatives }) => ({
          name,
          alternatives: alternatives.filter((alternative) => alternative.every(isProductive)),
        }));
    return compact({ lexemes: this.#lexemes, rules, start: first.rule });
  }
}

const symbolKey = (symbol: GrammarSymbol): string =>
  "rule" in symbol ? `r${symbol.rule}` : `l${symbol.lexeme}`;

/** The grammar with what can be reached from its start only, and without rules that stand for a single symbol. */
function compact({ lexemes, rules, start }: Grammar): Grammar {
  const aliases = rules.map(({ alternatives: [only, ...others] }) =>
    only?.length === 1 && others.length === 0 ? only[0] : undefined,
  );
  const resolve = (symbol: GrammarSymbol): GrammarSymbol => {
    let current = symbol;
    for (let steps = 0; steps < rules.length && "rule" in current; steps++) {
      const next = aliases[current.rule];
      if (next === undefined) break;
      current = next;
    }
    return current;
  };
  const lexemeIndices = new Map<number, number>();
  const ruleIndices = new Map([[start, 0]]);
  const order = [start];
  const rename = (symbol: GrammarSymbol): GrammarSymbol => {
    const target = resolve(symbol);
    const [indices, old] = "rule" in target ? [ruleIndices, target.rule] : [lexemeIndices, target.lexeme];
    const index = indices.get(old) ?? indices.size;
    if (!indices.has(old)) {
      indices.set(old, index);
      if ("rule" in target) order.push(old);
    }
    return "rule" in target ? { rule: index } : { lexeme: index };
  };
  const kept: Rule[] = [];
  // the list grows while it is read
  for (const old of order) {
    const { name = "", alternatives = [] } = rules[old] ?? {};
    kept.push({ name, alternatives: alternatives.map((alternative) => alternative.map(rename)) });
  }
  const used = Array.from(lexemeIndices.keys(), (old) => lexemes[old]).filter(
    (lexeme) => lexeme !== undefined,
  );
  return { lexemes: used, rules: kept, start: 0 };
}
