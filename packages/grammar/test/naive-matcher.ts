import { type Grammar, type GrammarSymbol, listWords, type Regex } from "#grammar";

/** Letters of the texts that are tried, and the longest ones. */
const LETTERS = ["a", "b"];
const LONGEST_TEXT = 7;
/** Most lexemes of the sentences that are tried. */
const LONGEST_SENTENCE = 6;

const ALL_TEXTS: readonly string[] = textsUpTo(LONGEST_TEXT);

function textsUpTo(length: number): string[] {
  const texts = [""];
  for (let from = 0, size = 0; size < length; size++) {
    const end = texts.length;
    for (; from < end; from++) for (const letter of LETTERS) texts.push(`${texts[from]}${letter}`);
  }
  return texts;
}

function product(one: ReadonlySet<string>, other: ReadonlySet<string>, longest: number): Set<string> {
  const joined = new Set<string>();
  for (const left of one)
    for (const right of other) if (left.length + right.length <= longest) joined.add(left + right);
  return joined;
}

/** All texts of a regular expression over the letters, up to the longest. */
export function textsOf(regex: Regex): Set<string> {
  switch (regex.type) {
    case "literal":
      return new Set([regex.text]);
    case "words":
      return new Set(listWords(regex));
    case "bytes":
      return new Set([String.fromCharCode(...regex.bytes)]);
    case "class":
      return new Set(
        LETTERS.filter((letter) =>
          regex.ranges.some(([first, last]) => first <= letter.charCodeAt(0) && letter.charCodeAt(0) <= last),
        ),
      );
    case "concat":
      return regex.parts.reduce(
        (texts, part) => product(texts, textsOf(part), LONGEST_TEXT),
        new Set<string>([""]),
      );
    case "either":
      return new Set(regex.options.flatMap((option) => [...textsOf(option)]));
    case "repeat": {
      const of = textsOf(regex.of);
      const all = new Set<string>();
      let texts = new Set([""]);
      for (let times = 0; times <= (regex.max ?? regex.min + LONGEST_TEXT + 1); times++) {
        if (times >= regex.min) for (const text of texts) all.add(text);
        texts = product(texts, of, LONGEST_TEXT);
      }
      return all;
    }
    case "and": {
      const parts = regex.parts.map(textsOf);
      return new Set(ALL_TEXTS.filter((text) => parts.every((part) => part.has(text))));
    }
    case "not": {
      const of = textsOf(regex.of);
      return new Set(ALL_TEXTS.filter((text) => !of.has(text)));
    }
  }
}

/** Letter of a lexeme in sentences. */
const spell = (lexeme: number): string => String.fromCharCode(65 + lexeme);

/** The sentences of a symbol, and all beginnings of its sentences, up to the longest: a letter for each lexeme. */
interface Sentences {
  readonly whole: Set<string>;
  readonly begun: Set<string>;
  /** There are sentences at all, if only longer ones. */
  isProductive: boolean;
}

function sentencesOfLexeme(texts: ReadonlySet<string>, lexeme: number): Sentences {
  const whole = new Set<string>();
  if (texts.has("")) whole.add("");
  if (texts.size > (texts.has("") ? 1 : 0)) whole.add(spell(lexeme));
  return { whole, begun: prefixesOf(whole), isProductive: texts.size > 0 };
}

/** Adds what an alternative of these symbols says of its rule. */
function addAlternative(rule: Sentences, symbols: readonly Sentences[]): void {
  if (!symbols.every(({ isProductive }) => isProductive)) return;
  rule.isProductive = true;
  rule.begun.add("");
  let whole = new Set([""]);
  for (const symbol of symbols) {
    for (const sentence of product(whole, symbol.begun, LONGEST_SENTENCE)) rule.begun.add(sentence);
    whole = product(whole, symbol.whole, LONGEST_SENTENCE);
  }
  for (const sentence of whole) rule.whole.add(sentence);
}

/** Sentences of the start rule. */
function sentencesOf({ rules, start }: Grammar, texts: readonly ReadonlySet<string>[]): Sentences {
  const none = (): Sentences => ({ whole: new Set(), begun: new Set(), isProductive: false });
  const ofLexeme = texts.map(sentencesOfLexeme);
  const ofRule = rules.map(none);
  const ofSymbol = (symbol: GrammarSymbol): Sentences =>
    ("rule" in symbol ? ofRule[symbol.rule] : ofLexeme[symbol.lexeme]) ?? none();
  const sizes = () =>
    ofRule.map(({ whole, begun, isProductive }) => [whole.size, begun.size, isProductive]).join();
  for (let before = ""; before !== sizes(); ) {
    before = sizes();
    for (const [rule, { alternatives }] of rules.entries())
      for (const alternative of alternatives)
        addAlternative(ofRule[rule] ?? none(), alternative.map(ofSymbol));
  }
  return ofRule[start] ?? none();
}

interface NaivePlace {
  /** Sentences of the lexemes that have ended. */
  readonly sentences: ReadonlySet<string>;
  readonly isSkipped: boolean;
  /** Text since the last boundary. */
  readonly text: string;
}

/**
 * Says the same as a matcher by sets of all texts of lexemes and all sentences of the grammar up to some length, which suffices for
 * small grammars over the letters a and b.
 */
export class NaiveMatcher {
  readonly #grammar: Grammar;
  readonly #lexemes: readonly ReadonlySet<string>[];
  readonly #prefixes: readonly ReadonlySet<string>[];
  readonly #sentences: Sentences;
  #place: NaivePlace = { sentences: new Set([""]), isSkipped: false, text: "" };

  constructor(grammar: Grammar) {
    this.#grammar = grammar;
    this.#lexemes = grammar.lexemes.map(({ regex }) => textsOf(regex));
    this.#prefixes = this.#lexemes.map(prefixesOf);
    this.#sentences = sentencesOf(grammar, this.#lexemes);
  }

  /** Whether the grammar has any sentence at all. */
  get isProductive(): boolean {
    return this.#sentences.isProductive;
  }

  get canEnd(): boolean {
    const { text } = this.#place;
    const after = text === "" ? this.#place : this.#end(this.#place);
    return [...(after?.sentences ?? [])].some((sentence) => this.#sentences.whole.has(sentence));
  }

  allows(text: string): boolean {
    return this.#advance(text) !== undefined;
  }

  accept(text: string): boolean {
    const place = this.#advance(text);
    if (place) this.#place = place;
    return place !== undefined;
  }

  #advance(text: string): NaivePlace | undefined {
    let place: NaivePlace | undefined = this.#place;
    for (const letter of text) place = place && this.#step(place, letter);
    return place;
  }

  #step(place: NaivePlace, letter: string): NaivePlace | undefined {
    const grown = { ...place, text: place.text + letter };
    if (this.#goesOn(grown)) return this.#settle(grown);
    const ended = place.text === "" ? undefined : this.#end(place);
    if (!ended) return undefined;
    const begun = { ...ended, text: letter };
    return this.#goesOn(begun) ? this.#settle(begun) : undefined;
  }

  /** Whether an allowed lexeme begins with the text. */
  #goesOn(place: NaivePlace): boolean {
    return this.#allowed(place).some((lexeme) => this.#prefixes[lexeme]?.has(place.text));
  }

  #settle(place: NaivePlace): NaivePlace | undefined {
    const matching = this.#matching(place);
    if (matching.length === 0) return place;
    const isLazy = matching.some((lexeme) => this.#grammar.lexemes[lexeme]?.isLazy);
    const goesOn = LETTERS.some((letter) => this.#goesOn({ ...place, text: place.text + letter }));
    return isLazy || !goesOn ? this.#end(place) : place;
  }

  #allowed({ sentences, isSkipped }: NaivePlace): number[] {
    return this.#grammar.lexemes.flatMap((_, lexeme) =>
      (lexeme === this.#grammar.skip && !isSkipped) ||
      [...sentences].some((sentence) => this.#sentences.begun.has(sentence + spell(lexeme)))
        ? [lexeme]
        : [],
    );
  }

  #matching(place: NaivePlace): number[] {
    return this.#allowed(place).filter((lexeme) => this.#lexemes[lexeme]?.has(place.text));
  }

  #end(place: NaivePlace): NaivePlace | undefined {
    const matching = this.#matching(place);
    if (matching.length === 0) return undefined;
    const sentences = new Set<string>();
    for (const sentence of place.sentences)
      for (const lexeme of matching)
        if (this.#sentences.begun.has(sentence + spell(lexeme))) sentences.add(sentence + spell(lexeme));
    const isSkipped = sentences.size === 0;
    if (!place.isSkipped && matching.some((lexeme) => this.#isSkip(lexeme)))
      for (const sentence of place.sentences) sentences.add(sentence);
    return { sentences, isSkipped, text: "" };
  }

  #isSkip(lexeme: number): boolean {
    return lexeme === this.#grammar.skip;
  }
}

function prefixesOf(texts: ReadonlySet<string>): Set<string> {
  const prefixes = new Set<string>();
  for (const text of texts) for (let end = 0; end <= text.length; end++) prefixes.add(text.slice(0, end));
  return prefixes;
}
