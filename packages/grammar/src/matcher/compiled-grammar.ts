import { Automaton } from "#automaton";
import { type Grammar, GrammarError } from "#grammar";
import { Earley, type EarleyLimits } from "./earley.ts";
import { type FlatGrammar, flatten } from "./flat-grammar.ts";
import { Lexer } from "./lexer.ts";
import { Masks } from "./masks.ts";
import { Matcher, type MatcherOptions } from "./matcher.ts";
import { inSlices } from "./slices.ts";
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

/** What is known of a grammar before it is compiled. */
interface Prepared extends MatcherLimits {
  readonly contents?: LexemeContents;
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
   * Compiles a grammar at once, which can take a second where lexemes are intersections.
   * @throws GrammarError `bad_grammar` if the grammar refers to what does not exist, or matches no text at all
   */
  constructor(
    grammar: Grammar,
    vocabulary: Vocabulary,
    { cacheBytes = 2 ** 25, nodes, rowItems = 50_000, items = 8_000_000, contents }: Prepared = {},
  ) {
    this.vocabulary = vocabulary;
    this.#grammar = grammar;
    this.#limits = { rowItems, items };
    this.#nodes = nodes;
    this.#cacheBytes = cacheBytes;
    const known = contents ?? new LexemeContents(grammar, nodes);
    this.#flat = flatten(grammar, (lexeme) => known.isNothing(lexeme));
    this.#shared = this.#share(known.automaton);
  }

  /**
   * Compiles a grammar, or one that a function makes, in slices of a few milliseconds, between which other work of the thread runs.
   * @throws GrammarError as the constructor, and `limit` if it takes seconds
   */
  static async build(
    source: Grammar | (() => Grammar),
    vocabulary: Vocabulary,
    limits: MatcherLimits = {},
  ): Promise<CompiledGrammar> {
    const grammar = typeof source === "function" ? await inSlices(source) : source;
    const contents = new LexemeContents(grammar, limits.nodes);
    await inSlices(() => contents.findAll(), contents.automaton.pace);
    return inSlices(() => new CompiledGrammar(grammar, vocabulary, { ...limits, contents }));
  }

  /** Memory of the grammar and its caches, without the vocabulary, roughly. */
  get bytes(): number {
    const { automaton, masks } = this.#shared;
    return automaton.bytes + masks.bytes + 12 * this.#flat.codes.length;
  }

  /** A matcher at the beginning of a text. */
  matcher(options: MatcherOptions = {}): Matcher {
    const [shared, parser] = this.#begin();
    return new Matcher({ vocabulary: this.vocabulary, ...shared, parser }, options);
  }

  /** The same in slices: a grammar with very many beginnings takes some time when it is used first. */
  async buildMatcher(options: MatcherOptions = {}): Promise<Matcher> {
    const [shared, parser] = await inSlices(() => this.#begin());
    await inSlices(() => parser.state, shared.automaton.pace);
    return new Matcher({ vocabulary: this.vocabulary, ...shared, parser }, options);
  }

  #begin(): readonly [Shared, Earley] {
    // nodes are never forgotten: once they are many, new matchers begin anew, so that a long life does not lead to the limit
    if (this.#shared.automaton.bytes > this.#cacheBytes / 2)
      this.#shared = this.#share(newAutomaton(this.#nodes));
    const { lexer, skip } = this.#shared;
    return [this.#shared, new Earley(this.#flat, lexer, { skip, limits: this.#limits })];
  }

  #share(automaton: Automaton): Shared {
    const { lexemes, skip } = this.#grammar;
    const lexer = new Lexer(automaton, lexemes, this.#cacheBytes);
    const masks = new Masks(this.vocabulary, lexer, this.#cacheBytes);
    return { automaton, lexer, masks, skip: skip === undefined ? -1 : lexer.terminalOf(skip) };
  }
}

const newAutomaton = (nodes: number | undefined): Automaton =>
  new Automaton(nodes === undefined ? {} : { nodes });

/** Which lexemes of a grammar match any text. */
class LexemeContents {
  readonly automaton: Automaton;
  readonly #lexemes: Grammar["lexemes"];
  readonly #known: (boolean | undefined)[] = [];

  constructor({ lexemes }: Grammar, nodes: number | undefined) {
    this.automaton = newAutomaton(nodes);
    this.#lexemes = lexemes;
  }

  isNothing(index: number): boolean {
    const known = this.#known[index];
    if (known !== undefined) return known;
    const lexeme = this.#lexemes[index];
    if (!lexeme) throw new GrammarError("bad_grammar", `The grammar has no lexeme ${index}.`);
    this.automaton.pace.check();
    // most lexemes need not be interned before they are used
    const found =
      isPlainlyNothing(lexeme.regex) ?? this.automaton.isNothing(this.automaton.intern(lexeme.regex));
    this.#known[index] = found;
    this.automaton.pace.advance();
    return found;
  }

  findAll(): void {
    for (const index of this.#lexemes.keys()) this.isNothing(index);
  }
}
