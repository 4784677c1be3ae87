import { Automaton } from "#automaton";
import { type Grammar, GrammarError } from "#grammar";
import { Earley, type EarleyLimits } from "./earley.ts";
import { type FlatGrammar, flatten } from "./flat-grammar.ts";
import { Lexer } from "./lexer.ts";
import { Masks } from "./masks.ts";
import { Matcher, type MatcherOptions } from "./matcher.ts";
import { isPlainlyNothing } from "./text-counts.ts";
import type { Vocabulary } from "./vocabulary.ts";

/** Limits of a compiled grammar. Beyond those of caches, their contents are made again; beyond the others, a GrammarError "limit" is thrown. */
export interface MatcherLimits {
  /** Memory of lexer states and masks (32 MiB). */
  readonly cacheBytes?: number;
  /** Nodes of regular expressions and their derivatives. */
  readonly nodes?: number;
  /** Ways in which a text can go on at one place (50,000). */
  readonly rowItems?: number;
  /** Items of a parser for one text, of 8 bytes each (8,000,000). */
  readonly items?: number;
}

/**
 * A grammar for a vocabulary. Lexer states and masks are made when a matcher first needs them, and shared by all matchers.
 */
export class CompiledGrammar {
  readonly vocabulary: Vocabulary;
  readonly #automaton: Automaton;
  readonly #lexer: Lexer;
  readonly #flat: FlatGrammar;
  readonly #masks: Masks;
  readonly #skip: number;
  readonly #limits: EarleyLimits;

  /**
   * @throws GrammarError `bad_grammar` if the grammar refers to what does not exist, or matches no text at all
   */
  constructor(
    grammar: Grammar,
    vocabulary: Vocabulary,
    { cacheBytes = 2 ** 25, nodes, rowItems = 50_000, items = 8_000_000 }: MatcherLimits = {},
  ) {
    this.vocabulary = vocabulary;
    this.#automaton = new Automaton(nodes === undefined ? {} : { nodes });
    this.#lexer = new Lexer(this.#automaton, grammar.lexemes, cacheBytes);
    this.#flat = flatten(grammar, (lexeme) => this.#isNothing(grammar, lexeme));
    this.#skip = grammar.skip === undefined ? -1 : this.#lexer.terminalOf(grammar.skip);
    this.#masks = new Masks(vocabulary, this.#lexer, cacheBytes);
    this.#limits = { rowItems, items };
  }

  /** Memory of the grammar and its caches, without the vocabulary, roughly. */
  get bytes(): number {
    return this.#automaton.bytes + this.#masks.bytes + 12 * this.#flat.codes.length;
  }

  /** A matcher at the beginning of a text. */
  matcher(options: MatcherOptions = {}): Matcher {
    const parser = new Earley(this.#flat, this.#lexer, { skip: this.#skip, limits: this.#limits });
    return new Matcher(
      { vocabulary: this.vocabulary, lexer: this.#lexer, masks: this.#masks, parser },
      options,
    );
  }

  #isNothing({ lexemes }: Grammar, index: number): boolean {
    const lexeme = lexemes[index];
    if (!lexeme) throw new GrammarError("bad_grammar", `The grammar has no lexeme ${index}.`);
    // most lexemes need not be interned before they are used
    return isPlainlyNothing(lexeme.regex) ?? this.#automaton.isNothing(this.#automaton.intern(lexeme.regex));
  }
}
