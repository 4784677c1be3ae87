import { Automaton } from "#automaton";
import { and, either, isLimit, literal, memo, not, type Regex } from "#grammar";
import type { Budget } from "./budget.ts";
import { EVERY_NAME } from "./shapes.ts";

const encoder = new TextEncoder();

/** Nodes of an automaton for one question, of which few need more than some thousand. */
const NODES = 8000;

/** Characters of an example. */
const MAX_EXAMPLE = 1000;

/** Steps that a question counts for, by which many of them run out of time. */
const STEPS = 512;

/** Questions about regular languages, with their answers kept. */
export class Languages {
  readonly #budget: Budget;
  #automaton: Automaton | undefined;
  readonly #empty = new Map<Regex, boolean>();
  readonly #pairs = new Map<Regex, Map<Regex, Regex | undefined>>();

  constructor(budget: Budget) {
    this.#budget = budget;
  }

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
    return memo(this.#empty, regex, () => this.#decide(regex));
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
    this.#budget.spend(STEPS);
    try {
      // most languages have a text that is found without a search
      const parts = regex.type === "and" ? regex.parts : [regex];
      if (parts.some((part) => this.#hasExample(regex, exampleOf(part)))) return false;
      return this.#ask((automaton) => automaton.isNothing(automaton.intern(regex)));
    } catch (error) {
      if (isLimit(error)) return false;
      throw error;
    }
  }

  #hasExample(regex: Regex, text: string | undefined): boolean {
    return text !== undefined && text.length <= MAX_EXAMPLE && this.matches(regex, text);
  }

  /** Asks the automaton that all questions share, and a new one where its nodes are used up. */
  #ask<T>(question: (automaton: Automaton) => T): T {
    const shared = this.#automaton;
    try {
      this.#automaton ??= new Automaton({ nodes: NODES });
      return question(this.#automaton);
    } catch (error) {
      if (!isLimit(error) || shared === undefined) throw error;
      this.#automaton = new Automaton({ nodes: NODES });
      return question(this.#automaton);
    }
  }
}

/** A text of a language that is plain from its expression; undefined where none is. */
function exampleOf(regex: Regex): string | undefined {
  switch (regex.type) {
    case "literal":
      return regex.text;
    case "class":
      return regex.ranges[0] && String.fromCodePoint(regex.ranges[0][0]);
    case "concat": {
      const parts = regex.parts.map(exampleOf);
      return parts.includes(undefined) ? undefined : parts.join("");
    }
    case "either":
    case "and": {
      const options = regex.type === "either" ? regex.options : regex.parts;
      return options.map(exampleOf).find((text) => text !== undefined);
    }
    case "repeat": {
      const text = regex.min === 0 ? "" : exampleOf(regex.of);
      return text !== undefined && text.length * regex.min <= MAX_EXAMPLE
        ? text.repeat(regex.min)
        : undefined;
    }
    default:
      return undefined;
  }
}
