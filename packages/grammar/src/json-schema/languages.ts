import { Automaton } from "#automaton";
import { and, either, GrammarError, literal, not, type Regex } from "#grammar";
import { EVERY_NAME } from "./shapes.ts";

const encoder = new TextEncoder();

/** Nodes of an automaton for one question, of which few need more than some thousand. */
const NODES = 40_000;

/** Questions about regular languages, with their answers kept. */
export class Languages {
  #automaton: Automaton | undefined;
  readonly #empty = new Map<Regex, boolean>();
  readonly #pairs = new Map<Regex, Map<Regex, Regex | undefined>>();

  /**
   * Whether a text is in the language.
   *
   * @throws {@link GrammarError} "limit" where that takes too many states to find out.
   */
  matches(regex: Regex, text: string): boolean {
    if (regex === EVERY_NAME) return true;
    return this.#ask((automaton) => automaton.matches(regex, encoder.encode(text)));
  }

  /** Whether no text is in the language; false, too, where that takes too many states to find out. */
  isNothing(regex: Regex): boolean {
    const known = this.#empty.get(regex);
    if (known !== undefined) return known;
    const answer = this.#decide(regex);
    this.#empty.set(regex, answer);
    return answer;
  }

  /** The texts in both languages; undefined if there are none. */
  intersect(a: Regex, b: Regex): Regex | undefined {
    if (a === EVERY_NAME || a === b) return b;
    if (b === EVERY_NAME) return a;
    const known = this.#pairs.get(a) ?? new Map<Regex, Regex | undefined>();
    if (known.has(b)) return known.get(b);
    const both = and(a, b);
    const answer = this.isNothing(both) ? undefined : both;
    this.#pairs.set(a, known.set(b, answer));
    return answer;
  }

  /** The texts of a language other than these. */
  without(regex: Regex, texts: readonly string[]): Regex {
    return texts.length === 0 ? regex : and(regex, not(either(...texts.map(literal))));
  }

  #decide(regex: Regex): boolean {
    try {
      return this.#ask((automaton) => automaton.isNothing(automaton.intern(regex)));
    } catch (error) {
      if (isLimit(error)) return false;
      throw error;
    }
  }

  /** Asks the automaton that all questions share, and a new one where its nodes are used up. */
  #ask<T>(question: (automaton: Automaton) => T): T {
    try {
      this.#automaton ??= new Automaton({ nodes: NODES });
      return question(this.#automaton);
    } catch (error) {
      if (!isLimit(error)) throw error;
      this.#automaton = new Automaton({ nodes: NODES });
      return question(this.#automaton);
    }
  }
}

const isLimit = (error: unknown): boolean => error instanceof GrammarError && error.code === "limit";
