import { Automaton, type Pace, Paused } from "#automaton";
import { type Grammar, GrammarError } from "#grammar";
import { Earley, type EarleyLimits } from "./earley.ts";
import { Lexer } from "./lexer.ts";
import { Masks } from "./masks.ts";
import { Matcher, type MatcherOptions } from "./matcher.ts";
import { type PreparedGrammar, prepareGrammar } from "./prepared-grammar.ts";
import type { Vocabulary } from "./vocabulary.ts";

/** Limits of a compiled grammar. Beyond those of caches, their contents are made again; beyond the others, a GrammarError "limit" is thrown. */
export interface MatcherLimits {
  /** Memory of lexer states and masks (32 MiB). */
  readonly cacheBytes?: number;
  /** Nodes of regular expressions and their derivatives, of which old ones make room for new ones before each mask. */
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
  readonly #grammar: PreparedGrammar;
  readonly #limits: EarleyLimits;
  readonly #lexer: Lexer;
  readonly #masks: Masks;
  readonly #skip: number;

  /**
   * Compiles a grammar at once. One that is not prepared can take a second where lexemes are intersections.
   * @throws GrammarError `bad_grammar` if the grammar refers to what does not exist, or matches no text at all
   */
  constructor(
    grammar: Grammar | PreparedGrammar,
    vocabulary: Vocabulary,
    { cacheBytes = 2 ** 25, nodes, rowItems = 50_000, items = 8_000_000 }: MatcherLimits = {},
  ) {
    this.vocabulary = vocabulary;
    this.#grammar = "flat" in grammar ? grammar : prepareGrammar(grammar, { nodes });
    this.#limits = { rowItems, items };
    const { lexemes, skip } = this.#grammar;
    this.#lexer = new Lexer(new Automaton({ nodes }), lexemes, cacheBytes);
    this.#masks = new Masks(vocabulary, this.#lexer, cacheBytes);
    this.#skip = skip === undefined ? -1 : this.#lexer.terminalOf(skip);
  }

  /**
   * Compiles a grammar that a function reads, between other work of the thread.
   * @throws GrammarError as the constructor
   */
  static async build(
    read: () => Grammar | PreparedGrammar,
    vocabulary: Vocabulary,
    limits: MatcherLimits = {},
  ): Promise<CompiledGrammar> {
    const grammar = await inSlices(read);
    return inSlices(() => new CompiledGrammar(grammar, vocabulary, limits));
  }

  /** Memory of the grammar and its caches, without the vocabulary, roughly. */
  get bytes(): number {
    return this.#lexer.automaton.bytes + this.#masks.bytes + 12 * this.#grammar.flat.codes.length;
  }

  /** A matcher at the beginning of a text. */
  matcher(options: MatcherOptions = {}): Matcher {
    return this.#matcher(this.#parser(), options);
  }

  /** The same in slices: a grammar with very many beginnings takes some time when it is used first. */
  async buildMatcher(options: MatcherOptions = {}): Promise<Matcher> {
    const parser = await inSlices(() => this.#parser());
    return inSlices(() => this.#matcher(parser, options), this.#lexer.pace);
  }

  #parser(): Earley {
    return new Earley(this.#grammar.flat, this.#lexer, { skip: this.#skip, limits: this.#limits });
  }

  #matcher(parser: Earley, options: MatcherOptions): Matcher {
    const shared = { vocabulary: this.vocabulary, lexer: this.#lexer, masks: this.#masks };
    return new Matcher({ ...shared, parser }, options);
  }
}

/** Milliseconds after which work lets other work of the thread run. */
const SLICE = 5;

/** Milliseconds of work for one grammar, without what others take in between. */
const LIMIT = 5000;

/** The slice that comes last. Those of all grammars take turns, so that a thread with many of them stops no longer than with one. */
let last: Promise<unknown> = Promise.resolve();

/**
 * Runs work in slices of a few milliseconds, between which other work of the thread runs. Without a pace it is one slice.
 * @throws GrammarError `limit` if it takes seconds
 */
async function inSlices<Result>(work: () => Result, pace?: Pace): Promise<Result> {
  let spent = 0;
  const attempt = (): { readonly result: Result } | undefined => {
    const start = performance.now();
    try {
      return { result: pace ? pace.run(() => performance.now() - start > SLICE, work) : work() };
    } catch (error) {
      if (error instanceof Paused) return undefined;
      throw error;
    } finally {
      spent += performance.now() - start;
    }
  };
  for (;;) {
    const turn = last.then(letOthersRun).then(attempt);
    last = turn.then(nothing, nothing);
    const done = await turn;
    if (done) return done.result;
    if (spent > LIMIT)
      throw new GrammarError("limit", "It takes too long to find out which texts the grammar matches.");
  }
}

const nothing = (): void => undefined;

const letOthersRun = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));
