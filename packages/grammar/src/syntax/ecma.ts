import { and, concat, EMPTY, either, not, type Regex } from "#grammar";
import { PatternLanguage } from "./pattern-language.ts";
import { EMPTY_NODE, type LookNode, type PatternNode, sequenceNode } from "./pattern-nodes.ts";
import { readPattern } from "./pattern-parser.ts";
import { ANY_REST, END_OF_TEXT, inAll } from "./pattern-rests.ts";

/**
 * The language of a regular expression of ECMAScript with the flag u: what a text must be so that it, or some part of it, matches.
 * Lookaheads, ^, $ and \b have their exact meaning. Escapes and characters that only the flag u forbids, such as `\-`, mean
 * themselves. Where it is `anchored`, the whole text must match.
 *
 * @throws {@link GrammarError} "bad_grammar" where it is not well formed; "unsupported", with the construct as its keyword, where
 * the language is not regular (backreferences) or would be too complex: lookarounds and \b within an unlimited repeat, lookbehinds but
 * at the beginning, flags within the pattern.
 */
export function parsePattern(pattern: string, { anchored }: { readonly anchored: boolean }): Regex {
  const node = readPattern(pattern);
  const options = node.type === "alternatives" ? node.options : [node];
  const hasLookbehind = options.some((option) => splitLookbehinds(option).lookbehinds.length > 0);
  if (hasLookbehind) return either(...options.map((option) => matchAfter(option, anchored)));
  return matchAfter(node, anchored);
}

/** The language of one alternative, or of all where none begins with a lookbehind. */
function matchAfter(option: PatternNode, anchored: boolean): Regex {
  const { lookbehinds, rest } = splitLookbehinds(option);
  const language = new PatternLanguage();
  const before = lookbehinds.map(({ of, isNegative }) => {
    const ending = language.search(of, END_OF_TEXT, []);
    return isNegative ? not(ending) : ending;
  });
  if (!anchored) return language.search(rest, ANY_REST, before);
  const whole = language.follow(rest, inAll(END_OF_TEXT)).start.regex;
  return before.length === 0 ? whole : concat(and(EMPTY, ...before), whole);
}

/** Lookbehinds at the beginning of an alternative, and what follows them. */
function splitLookbehinds(node: PatternNode): { lookbehinds: readonly LookNode[]; rest: PatternNode } {
  const parts = node.type === "sequence" ? node.parts : [node];
  const lookbehinds: LookNode[] = [];
  for (const part of parts) {
    if (part.type !== "look" || part.isAhead) break;
    lookbehinds.push(part);
  }
  if (lookbehinds.length === 0) return { lookbehinds, rest: node };
  const rest = parts.slice(lookbehinds.length);
  return { lookbehinds, rest: rest.length === 0 ? EMPTY_NODE : sequenceNode(rest) };
}
