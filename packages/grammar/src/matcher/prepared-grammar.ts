import { Automaton, Complexity, mapRegex } from "#automaton";
import { either, type Grammar, type Lexeme, type Regex, words } from "#grammar";
import { type FlatGrammar, flatten } from "./flat-grammar.ts";
import { isPlainlyNothing } from "./text-counts.ts";

/**
 * A grammar with all that matchers need of it whatever the vocabulary is: its rules as arrays, and unions of many texts as lists of words.
 * It survives structured cloning, and is read in a small part of the time that a grammar takes.
 */
export interface PreparedGrammar {
  readonly lexemes: readonly Lexeme[];
  /** Index of the lexeme that may stand between all others. */
  readonly skip: number | undefined;
  readonly flat: FlatGrammar;
}

/**
 * Prepares a grammar, which can take a second where lexemes are intersections.
 * @param limits - `nodes`: nodes of regular expressions and their derivatives
 * @throws GrammarError `bad_grammar` if the grammar refers to what does not exist, or matches no text at all; `limit`
 */
export function prepareGrammar(
  grammar: Grammar,
  { nodes }: { readonly nodes?: number | undefined } = {},
): PreparedGrammar {
  const automaton = new Automaton({ nodes });
  const isNothing = ({ regex }: Lexeme): boolean =>
    // most lexemes need not be interned before they are used
    isPlainlyNothing(regex) ?? automaton.isNothing(automaton.intern(regex));
  const flat = flatten(grammar, isNothing);
  const joined = new Map<Regex, Regex>();
  const lexemes = grammar.lexemes.map((lexeme) => ({
    ...lexeme,
    regex: mapRegex(lexeme.regex, joinTexts, joined),
  }));
  const complexity = new Complexity();
  for (const { name, regex, isSmall } of lexemes)
    if (isSmall !== true) complexity.check(regex, { what: `The lexeme "${name}"` });
  return { lexemes, skip: grammar.skip, flat };
}

/** Texts of a union from which on they are joined. */
const MANY = 64;

/** A union with its texts as one list, if they are many. */
function joinTexts(regex: Regex): Regex {
  if (regex.type !== "either" || regex.options.length < MANY) return regex;
  const [texts, others]: [string[], Regex[]] = [[], []];
  for (const option of regex.options)
    if (option.type === "literal" && option.text !== "") texts.push(option.text);
    else others.push(option);
  return texts.length < MANY ? regex : either(words(texts), ...others);
}
