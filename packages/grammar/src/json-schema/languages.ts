import { Automaton } from "#automaton";
import { and, either, GrammarError, literal, not, type Regex } from "#grammar";
import { EVERY_NAME } from "./shapes.ts";

const encoder = new TextEncoder();

/** Questions about regular languages, with their answers kept. */
export class Languages {
  #automaton: Automaton | undefined;
  readonly #nodes = new Map<Regex, number>();
  readonly #empty = new Map<Regex, boolean>();
  readonly #pairs = new Map<Regex, Map<Regex, Regex | undefined>>();

  /** Whether a text is in the language. */
  matches(regex: Regex, text: string): boolean {
    if (regex === EVERY_NAME) return true;
    const automaton = this.#lazyAutomaton();
    let node = this.#node(regex);
    for (const byte of encoder.encode(text)) {
      node = automaton.derive(node, byte);
      if (node === 0) return false;
    }
    return automaton.accepts(node);
  }

  /** Whether no text is in the language; false, too, where that takes too long to find out. */
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
      return this.#lazyAutomaton().isNothing(this.#node(regex));
    } catch (error) {
      if (error instanceof GrammarError && error.code === "limit") return false;
      throw error;
    }
  }

  /** Most schemas ask nothing. */
  #lazyAutomaton(): Automaton {
    this.#automaton ??= new Automaton({ nodes: 300_000 });
    return this.#automaton;
  }

  #node(regex: Regex): number {
    const known = this.#nodes.get(regex);
    if (known !== undefined) return known;
    const node = this.#lazyAutomaton().intern(regex);
    this.#nodes.set(regex, node);
    return node;
  }
}
