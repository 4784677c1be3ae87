import { Automaton } from "#automaton";
import { GrammarError, type Regex } from "#grammar";

/** States that are looked at, and nodes of the automaton. */
const [MAX_STATES, MAX_NODES] = [2000, 20_000];

/** The nodes after one more byte, without those of which no text can come. */
function successors(automaton: Automaton, node: number): readonly number[] {
  const nodes = Array.from(automaton.classes(node).representatives, (byte) => automaton.derive(node, byte));
  return nodes.filter((next) => !automaton.isNothing(next));
}

/**
 * Whether no text of a language is the beginning of another, so that it ends where it matches. False, too, where that takes too long
 * to find out.
 */
export function isPrefixFree(regex: Regex): boolean {
  try {
    const automaton = new Automaton({ nodes: MAX_NODES });
    const start = automaton.intern(regex);
    const seen = new Set([start]);
    for (const node of seen) {
      const next = successors(automaton, node);
      if (seen.size > MAX_STATES || (automaton.accepts(node) && next.length > 0)) return false;
      // a set is read to its end also while it grows
      for (const one of next) seen.add(one);
    }
    return true;
  } catch (error) {
    if (error instanceof GrammarError && error.code === "limit") return false;
    throw error;
  }
}
