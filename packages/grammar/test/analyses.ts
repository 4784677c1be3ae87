import { ANY_TEXT, and, not, type Regex } from "#grammar";
import { Automaton, type AutomatonLimits } from "../src/automaton/automaton.ts";
import { bytesOfLiteral } from "../src/automaton/intern.ts";

const NODES = 200_000;

const encoder = new TextEncoder();

/**
 * Questions about languages, which share an automaton. Answers are exact. Where one takes too long, or too many nodes, methods
 * throw a {@link GrammarError} of code "limit".
 */
export class Analyses {
  readonly #limits: AutomatonLimits;
  #current: Automaton;

  /** @param limits - Limits of each question ({@link AutomatonLimits}, 200,000 nodes). */
  constructor(limits: AutomatonLimits = {}) {
    this.#limits = { nodes: NODES, ...limits };
    this.#current = new Automaton(this.#limits);
  }

  /** The automaton of all questions, or a new one where they have used up half of its nodes. */
  get #automaton(): Automaton {
    const { nodes = NODES } = this.#limits;
    if (this.#current.size > nodes / 2) this.#current = new Automaton(this.#limits);
    return this.#current;
  }

  /** Whether no text matches. */
  isNothing(regex: Regex): boolean {
    const automaton = this.#automaton;
    return automaton.isNothing(automaton.intern(regex));
  }

  /** Whether an expression matches a text, or bytes. */
  matches(regex: Regex, text: string | Uint8Array): boolean {
    return this.#automaton.matches(regex, typeof text === "string" ? encoder.encode(text) : text);
  }

  /** Whether a text matches both. */
  intersects(one: Regex, other: Regex): boolean {
    const words = listWords(one);
    if (words !== undefined) return words.some((word) => this.matches(other, word));
    const others = listWords(other);
    if (others !== undefined) return others.some((word) => this.matches(one, word));
    return !this.isNothing(and(one, other));
  }

  /** Whether all texts that match one also match the other. */
  isSubset(one: Regex, other: Regex): boolean {
    const words = listWords(one);
    if (words !== undefined) return words.every((word) => this.matches(other, word));
    return this.isNothing(and(one, not(other)));
  }

  /** Whether the same texts match both. */
  equals(one: Regex, other: Regex): boolean {
    return this.isSubset(one, other) && this.isSubset(other, one);
  }

  /** Whether all texts match. */
  isAnyText(regex: Regex): boolean {
    return this.isSubset(ANY_TEXT, regex);
  }
}

/** Words of an expression that has no other texts; undefined for other expressions. */
function listWords(regex: Regex): readonly Uint8Array[] | undefined {
  if (regex.type !== "either") {
    const bytes = bytesOfLiteral(regex);
    return bytes === undefined ? undefined : [bytes];
  }
  const words: Uint8Array[] = [];
  for (const option of regex.options) {
    const bytes = bytesOfLiteral(option);
    if (bytes === undefined) return undefined;
    words.push(bytes);
  }
  return words;
}
