import {
  acceptsEmpty,
  type Grammar,
  GrammarError,
  type GrammarSymbol,
  type Lexeme,
  leastRules,
} from "#grammar";

/**
 * The rules of a grammar in one array, laid out for an Earley parser. A position in the array is a rule's alternative with a dot in it;
 * the code there is what follows the dot:
 *
 * - below `rules`: a rule
 * - below `ends`: the lexeme `code − rules`
 * - else: nothing more of the rule `code − ends`
 *
 * Alternatives that no text matches are left out. All alternatives of a rule share one position for their end.
 */
export interface FlatGrammar {
  readonly codes: Int32Array;
  readonly rules: number;
  readonly ends: number;
  /** Index of the start rule. */
  readonly start: number;
  /** Where the alternatives of each rule begin in `alternatives`, and a last entry. */
  readonly firstAlternatives: Int32Array;
  /** Positions of the alternatives' first symbols. */
  readonly alternatives: Int32Array;
  /** Position after each position: the rule's end where the alternative ends. */
  readonly nextPositions: Int32Array;
  /** Whether a rule matches the empty text. */
  readonly isNullableRule: Uint8Array;
  /** Whether a lexeme matches the empty text; the parser then goes past it without it. */
  readonly isNullableLexeme: Uint8Array;
}

/**
 * Lays out a grammar.
 * @param isNothing - whether no text at all matches a lexeme
 * @throws GrammarError `bad_grammar` if an index is out of range or the grammar matches no text
 */
export function flatten(grammar: Grammar, isNothing: (lexeme: Lexeme) => boolean): FlatGrammar {
  check(grammar);
  const { lexemes, rules } = grammar;
  const isNullableLexeme = Uint8Array.from(lexemes, ({ regex }) => Number(acceptsEmpty(regex)));
  const isNothingLexeme = Uint8Array.from(lexemes, (lexeme) => Number(isNothing(lexeme)));
  const isProductive = leastRules(rules, (lexeme) => isNothingLexeme[lexeme] === 0);
  if (isProductive[grammar.start] === 0)
    throw new GrammarError("bad_grammar", "The grammar matches no text at all.");
  const isNullableRule = leastRules(rules, (lexeme) => isNullableLexeme[lexeme] === 1);
  const kept = rules.map(({ alternatives }) =>
    alternatives.filter((symbols) =>
      symbols.every((symbol) =>
        "rule" in symbol ? isProductive[symbol.rule] === 1 : isNothingLexeme[symbol.lexeme] === 0,
      ),
    ),
  );
  return {
    ...layOut(kept, rules.length, lexemes.length),
    start: grammar.start,
    isNullableRule,
    isNullableLexeme,
  };
}

type Alternatives = readonly (readonly GrammarSymbol[])[];

function layOut(kept: readonly Alternatives[], rules: number, lexemes: number) {
  const ends = rules + lexemes;
  let symbols = rules;
  let count = 0;
  for (const alternatives of kept) {
    count += alternatives.length;
    for (const alternative of alternatives) symbols += alternative.length;
  }
  // the end of rule r is position r
  const codes = new Int32Array(symbols);
  const nextPositions = new Int32Array(symbols);
  const alternatives = new Int32Array(count);
  const firstAlternatives = new Int32Array(rules + 1);
  let position = rules;
  let alternative = 0;
  for (let rule = 0; rule < rules; rule++) {
    codes[rule] = ends + rule;
    firstAlternatives[rule] = alternative;
    for (const parts of kept[rule] ?? []) {
      alternatives[alternative++] = parts.length === 0 ? rule : position;
      parts.forEach((symbol, index) => {
        codes[position] = "rule" in symbol ? symbol.rule : rules + symbol.lexeme;
        nextPositions[position] = index === parts.length - 1 ? rule : position + 1;
        position++;
      });
    }
  }
  firstAlternatives[rules] = alternative;
  return { codes, rules, ends, alternatives, firstAlternatives, nextPositions };
}

function check({ lexemes, rules, start, skip }: Grammar): void {
  const refer = (what: string, index: number, length: number): void => {
    if (!Number.isInteger(index) || index < 0 || index >= length)
      throw new GrammarError("bad_grammar", `${what} refers to index ${index}, which does not exist.`);
  };
  refer("The start of the grammar", start, rules.length);
  if (skip !== undefined) refer("The grammar's skip", skip, lexemes.length);
  for (const { name, alternatives } of rules)
    for (const symbol of alternatives.flat())
      if ("rule" in symbol) refer(`Rule "${name}"`, symbol.rule, rules.length);
      else refer(`Rule "${name}"`, symbol.lexeme, lexemes.length);
}
