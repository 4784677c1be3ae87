import { Automaton, Complexity, mapRegex } from "#automaton";
import { either, type Grammar, type Lexeme, type Regex, words } from "#grammar";
import { type FlatGrammar, flatten } from "./flat-grammar.ts";

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

/** Bounds of the number of texts that a regular expression matches. */
interface Count {
  readonly least: number;
  readonly most: number;
}

/**
 * Whether no text matches a regular expression, if that is plain from how many texts its parts match at least and at most; undefined where
 * only its derivatives tell.
 */
export function isPlainlyNothing(regex: Regex): boolean | undefined {
  const { least, most } = count(regex);
  if (least > 0) return false;
  return most === 0 ? true : undefined;
}

function count(regex: Regex): Count {
  switch (regex.type) {
    case "literal":
    case "bytes":
      return { least: 1, most: 1 };
    case "words":
      return { least: regex.ends.length, most: regex.ends.length };
    case "class":
      return countClass(regex.ranges);
    case "concat":
      return countConcat(regex.parts.map(count));
    case "either": {
      const options = regex.options.map(count);
      return { least: Math.max(0, ...options.map(({ least }) => least)), most: sum(options) };
    }
    case "repeat":
      return countRepeat(count(regex.of), regex.min, regex.max);
    case "not":
      return { least: count(regex.of).most < Infinity ? Infinity : 0, most: Infinity };
    case "and":
      return countAnd(regex.parts);
  }
}

const sum = (counts: readonly Count[]): number => counts.reduce((total, { most }) => total + most, 0);

function countClass(ranges: readonly (readonly [number, number])[]): Count {
  const sizes = ranges.map(([first, last]) => Math.max(0, last - first + 1));
  // ranges may overlap
  return { least: Math.max(0, ...sizes), most: sizes.reduce((total, size) => total + size, 0) };
}

function countConcat(parts: readonly Count[]): Count {
  if (parts.some(({ most }) => most === 0)) return { least: 0, most: 0 };
  const most = parts.reduce((product, part) => product * part.most, 1);
  // with one text of each other part, the texts of a part still differ
  const least = parts.some((part) => part.least === 0) ? 0 : Math.max(1, ...parts.map((part) => part.least));
  return { least, most };
}

function countRepeat({ least, most }: Count, min: number, max: number | null): Count {
  if (max === 0) return { least: 1, most: 1 };
  if (most === 0) return min === 0 ? { least: 1, most: 1 } : { least: 0, most: 0 };
  const bound = max === 1 ? most + 1 : Infinity;
  if (least === 0) return { least: Number(min === 0), most: bound };
  // of two texts, one is not empty, so that there is no end to its repeats
  return { least: max === null && least > 1 ? Infinity : least, most: bound };
}

function countAnd(parts: readonly Regex[]): Count {
  const flat = parts.flatMap(conjuncts);
  const removed = sum(flat.flatMap((part) => (part.type === "not" ? [count(part.of)] : [])));
  const others = distinct(flat.filter(({ type }) => type !== "not"));
  const counts = others.map(count);
  const most = Math.min(Infinity, ...counts.map((other) => other.most));
  const [only = { least: Infinity }, another] = counts;
  // nothing is known of what two languages have in common
  if (another !== undefined || removed === Infinity) return { least: 0, most };
  return { least: Math.max(0, only.least - removed), most };
}

const conjuncts = (regex: Regex): readonly Regex[] =>
  regex.type === "and" ? regex.parts.flatMap(conjuncts) : [regex];

/** Without those that are spelled like another. */
function distinct(regexes: readonly Regex[]): readonly Regex[] {
  return regexes.length < 2
    ? regexes
    : [...new Map(regexes.map((regex) => [JSON.stringify(regex), regex])).values()];
}
