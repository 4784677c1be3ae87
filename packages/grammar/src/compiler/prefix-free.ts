import { Automaton } from "#automaton";
import { isLimit, partsOf, type Regex } from "#grammar";

/** States that are looked at, and nodes of the automaton. */
const [MAX_STATES, MAX_NODES] = [500, 20_000];

/** The nodes after one more byte. Of some of them no text may come, which is found out only where that matters. */
const successors = (automaton: Automaton, node: number): readonly number[] =>
  Array.from(automaton.classes(node).representatives, (byte) => automaton.derive(node, byte));

/** Whether a language is that of free text, or contains it: looking for its prefixes costs more than all else. */
const isFreeText = (regex: Regex): boolean =>
  regex.type === "and" || regex.type === "not" || partsOf(regex).some(isFreeText);

/**
 * Whether no text of a language is the beginning of another, so that it ends where it matches. False, too, where that takes too
 * long to find out.
 */
export function isPrefixFree(regex: Regex): boolean {
  if (isFreeText(regex)) return false;
  try {
    const automaton = new Automaton({ nodes: MAX_NODES });
    const start = automaton.intern(regex);
    const seen = new Set([start]);
    for (const node of seen) {
      const next = successors(automaton, node);
      if (seen.size > MAX_STATES) return false;
      if (automaton.accepts(node) && !next.every((one) => automaton.isNothing(one))) return false;
      // a set is read to its end also while it grows
      for (const one of next) seen.add(one);
    }
    return true;
  } catch (error) {
    if (isLimit(error)) return false;
    throw error;
  }
}
