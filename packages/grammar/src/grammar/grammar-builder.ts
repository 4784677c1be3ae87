import { GrammarError } from "./errors.ts";
import type { Grammar, GrammarSymbol, Lexeme, Rule } from "./grammar.ts";
import { acceptsEmpty, and, EMPTY, not } from "./regex.ts";

type Alternatives = readonly (readonly GrammarSymbol[])[];

/** Rules and lexemes that a grammar may have. */
const MAX_SYMBOLS = 500_000;

/** A grammar while it is put together, of parts that may be grammars themselves. */
export class GrammarBuilder {
  readonly #lexemes: Lexeme[] = [];
  readonly #rules: { readonly name: string; alternatives: Alternatives | undefined }[] = [];
  readonly #lexemeOf = new Map<string, GrammarSymbol>();

  /**
   * Adds a lexeme, or finds an equal one. Where it matches the empty text, the symbol is a rule, which may be empty, so that no
   * lexeme is.
   */
  lexeme({ name, regex, isLazy = false, isSmall = false }: Lexeme): GrammarSymbol {
    const key = `${isLazy}${JSON.stringify(regex)}`;
    const known = this.#lexemeOf.get(key);
    if (known !== undefined) return known;
    const isOptional = acceptsEmpty(regex);
    const filled = isOptional ? and(regex, not(EMPTY)) : regex;
    this.#count();
    const index =
      this.#lexemes.push({ name, regex: filled, ...(isLazy && { isLazy }), ...(isSmall && { isSmall }) }) - 1;
    const symbol = isOptional ? this.rule(name, [[{ lexeme: index }], []]) : { lexeme: index };
    this.#lexemeOf.set(key, symbol);
    return symbol;
  }

  /** Adds a rule whose alternatives are set later, since they refer to it. */
  reserve(name: string): { readonly rule: number } {
    this.#count();
    return { rule: this.#rules.push({ name, alternatives: undefined }) - 1 };
  }

  set({ rule }: { readonly rule: number }, alternatives: Alternatives): void {
    const reserved = this.#rules[rule];
    if (reserved === undefined || reserved.alternatives !== undefined) throw new Error(`rule ${rule} is set`);
    reserved.alternatives = alternatives;
  }

  rule(name: string, alternatives: Alternatives): { readonly rule: number } {
    const symbol = this.reserve(name);
    this.set(symbol, alternatives);
    return symbol;
  }

  /** Adds a whole grammar, and returns its start. What it skips stands in its rules from now on, as no other part skips it. */
  merge({ lexemes, rules, start, skip }: Grammar): { readonly rule: number } {
    const skips = skip === undefined ? undefined : this.reserve("skipped");
    const lexemeAt = lexemes.map((lexeme) => this.lexeme(lexeme));
    const ruleAt = rules.map(({ name }) => this.reserve(name));
    const at = <T>(items: readonly T[], index: number): T => {
      const item = items[index];
      if (item === undefined)
        throw new GrammarError("bad_grammar", `a rule refers to symbol ${index}, which does not exist`);
      return item;
    };
    const moved = (symbol: GrammarSymbol): readonly GrammarSymbol[] => {
      if ("rule" in symbol) return [at(ruleAt, symbol.rule)];
      const lexeme = at(lexemeAt, symbol.lexeme);
      return skips === undefined ? [lexeme] : [lexeme, skips];
    };
    for (const [i, { alternatives }] of rules.entries())
      this.set(
        at(ruleAt, i),
        alternatives.map((symbols) => symbols.flatMap(moved)),
      );
    if (skip === undefined || skips === undefined) return at(ruleAt, start);
    this.set(skips, [[], [skips, at(lexemeAt, skip)]]);
    return this.rule("start", [[skips, at(ruleAt, start)]]);
  }

  build(start: GrammarSymbol, skip?: GrammarSymbol): Grammar {
    const { rule } = "rule" in start ? start : this.rule("start", [[start]]);
    const rules = this.#rules.map(({ name, alternatives }): Rule => {
      if (alternatives === undefined) throw new Error(`rule ${name} is not set`);
      return { name, alternatives };
    });
    const skipped = skip !== undefined && "lexeme" in skip ? { skip: skip.lexeme } : {};
    return { lexemes: this.#lexemes, rules, start: rule, ...skipped };
  }

  #count(): void {
    if (this.#rules.length + this.#lexemes.length < MAX_SYMBOLS) return;
    throw new GrammarError("limit", `the grammar needs more than ${MAX_SYMBOLS} rules and lexemes`);
  }
}
