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

/** What the matchers of a grammar share. */
interface Shared {
  readonly automaton: Automaton;
  readonly lexer: Lexer;
  readonly masks: Masks;
  readonly skip: number;
}

/**
 * A grammar for a vocabulary. Lexer states and masks are made when a matcher first needs them, and shared by all matchers.
 */
export class CompiledGrammar {
  readonly vocabulary: Vocabulary;
  readonly #grammar: Grammar;
  readonly #flat: FlatGrammar;
  readonly #limits: EarleyLimits;
  readonly #nodes: number | undefined;
  readonly #cacheBytes: number;
  #shared: Shared;

  /**
   * @throws GrammarError `bad_grammar` if the grammar refers to what does not exist, or matches no text at all
   */
  constructor(
    grammar: Grammar,
    vocabulary: Vocabulary,
    { cacheBytes = 2 ** 25, nodes, rowItems = 50_000, items = 8_000_000 }: MatcherLimits = {},
  ) {
    this.vocabulary = vocabulary;
    this.#grammar = grammar;
    this.#limits = { rowItems, items };
    this.#nodes = nodes;
    this.#cacheBytes = cacheBytes;
    const automaton = this.#automaton();
    this.#flat = flatten(grammar, (lexeme) => isNothing(automaton, grammar, lexeme));
    this.#shared = this.#share(automaton);
  }

  /** Memory of the grammar and its caches, without the vocabulary, roughly. */
  get bytes(): number {
    const { automaton, masks } = this.#shared;
    return automaton.bytes + masks.bytes + 12 * this.#flat.codes.length;
  }

  /** A matcher at the beginning of a text. */
  matcher(options: MatcherOptions = {}): Matcher {
    // nodes are never forgotten: once they are many, new matchers begin anew, so that a long life does not lead to the limit
    if (this.#shared.automaton.bytes > this.#cacheBytes / 2) this.#shared = this.#share(this.#automaton());
    const { lexer, masks, skip } = this.#shared;
    const parser = new Earley(this.#flat, lexer, { skip, limits: this.#limits });
    return new Matcher({ vocabulary: this.vocabulary, lexer, masks, parser }, options);
  }

  #automaton(): Automaton {
    return new Automaton(this.#nodes === undefined ? {} : { nodes: this.#nodes });
  }

  #share(automaton: Automaton): Shared {
    const { lexemes, skip } = this.#grammar;
    const lexer = new Lexer(automaton, lexemes, this.#cacheBytes);
    const masks = new Masks(this.vocabulary, lexer, this.#cacheBytes);
    return { automaton, lexer, masks, skip: skip === undefined ? -1 : lexer.terminalOf(skip) };
  }
}

function isNothing(automaton: Automaton, { lexemes }: Grammar, index: number): boolean {
  const lexeme = lexemes[index];
  if (!lexeme) throw new GrammarError("bad_grammar", `The grammar has no lexeme ${index}.`);
  // most lexemes need not be interned before they are used
  return isPlainlyNothing(lexeme.regex) ?? automaton.isNothing(automaton.intern(lexeme.regex));
}
