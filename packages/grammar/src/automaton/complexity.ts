import {
  charClass,
  GrammarError,
  type GrammarErrorPlace,
  listWords,
  literal,
  only,
  type Regex,
  repeat,
  words,
} from "#grammar";
import { Automaton } from "./automaton.ts";
import { mapRegex } from "./map-regex.ts";

/** Repeats that are counted. Where states multiply with counts, those of a language that counts so far are too many already. */
const COUNT = 14;
/** Texts of a list that are looked at: each adds the states of its own bytes only. */
const WORDS = 16;
/** Stand for all characters beyond ASCII, in place of the first bytes, since their own would be states of their own. */
const OTHERS = [0xa0, 0xe9, 0x4e2d];
/** States of a lexeme. A mask follows its tokens through a part of them. */
const STATES = 10_000;
/** Nodes of an expression and its states. */
const NODES = 60_000;

/**
 * Tells regular expressions whose states are few enough for masks from those in which they multiply, such as `(a|b)*a(a|b){20}`. What a
 * lazy automaton could only find out in the middle of an answer is so found out before.
 */
export class Complexity {
  #automaton: Automaton | undefined;
  readonly #reduced = new Map<Regex, Regex>();

  /**
   * @param place - with a name of the expression for the message
   * @throws GrammarError `limit` if an expression has too many states
   */
  check(regex: Regex, { what, ...place }: GrammarErrorPlace & { readonly what: string }): void {
    const known = this.#automaton;
    const automaton = known && known.size < NODES / 2 ? known : new Automaton({ nodes: NODES });
    this.#automaton = automaton;
    try {
      if (isNarrow(automaton, mapRegex(regex, reduce, this.#reduced))) return;
    } catch (error) {
      if (!(error instanceof GrammarError)) throw error;
    }
    throw new GrammarError(
      "limit",
      `${what} is too complex: its regular expression has too many states to find the tokens that may come next.`,
      place,
    );
  }
}

function isNarrow(automaton: Automaton, regex: Regex): boolean {
  const states = new Set([automaton.intern(regex)]);
  // the set grows while it is read
  for (const state of states) {
    if (automaton.isNothing(state)) continue;
    if (states.size > STATES) return false;
    for (const byte of automaton.classes(state).representatives) states.add(automaton.derive(state, byte));
  }
  return true;
}

/** An expression without what only makes it long: large counts, many texts, and texts that are excluded. */
function reduce(regex: Regex): Regex {
  switch (regex.type) {
    case "class": {
      const { ranges } = regex;
      const ascii = ranges.map(
        ([first, last]) => [Math.max(first, OTHERS.length), Math.min(last, 0x7f)] as const,
      );
      const others = OTHERS.flatMap((other, index) =>
        ranges.some(([first, last]) => first <= other && other <= last) ? [[index, index] as const] : [],
      );
      return charClass(...ascii.filter(([first, last]) => first <= last), ...others);
    }
    case "repeat": {
      const min = Math.min(regex.min, COUNT);
      const max = regex.max === null ? null : min + Math.min(regex.max - regex.min, COUNT);
      return repeat(regex.of, min, max);
    }
    case "literal":
      return literal(regex.text.slice(0, COUNT));
    case "words":
      return regex.ends.length <= WORDS ? regex : words(listWords(regex).slice(0, WORDS));
    case "and": {
      const parts = regex.parts.filter((part) => part.type !== "not" || !listsTexts(part.of));
      return only(parts) ?? { type: "and", parts };
    }
    default:
      return regex;
  }
}

/** Whether an expression plainly lists texts. */
const listsTexts = (regex: Regex): boolean =>
  regex.type === "literal" ||
  regex.type === "words" ||
  (regex.type === "either" && regex.options.every(listsTexts));
