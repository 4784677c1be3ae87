import { jsonStringContent } from "#automaton";
import {
  ANY,
  ANY_TEXT,
  and,
  charClass,
  concat,
  either,
  type JsonWhitespace,
  literal,
  type Notation,
  optional,
  type Quote,
  type Regex,
  repeat,
  specialTokenBytes,
  textWithout,
} from "#grammar";
import { EVERY_NAME } from "./shapes.ts";

const HEX = charClass("09", "AF", "af");

/** `\uXXXX` of a code point that is no surrogate. */
const ESCAPED_UNIT = concat(
  literal("\\u"),
  either(
    concat(charClass("09", "AC", "ac", "EF", "ef"), repeat(HEX, 3, 3)),
    concat(charClass("D", "d"), charClass("07"), repeat(HEX, 2, 2)),
  ),
);

/** `\uD83D\uDE00`: a high surrogate and a low one, which are one code point. */
const ESCAPED_PAIR = concat(
  literal("\\u"),
  charClass("D", "d"),
  charClass("89", "AB", "ab"),
  repeat(HEX, 2, 2),
  literal("\\u"),
  charClass("D", "d"),
  charClass("CF", "cf"),
  repeat(HEX, 2, 2),
);

/** One code point of a JSON string, in any of its spellings. */
const JSON_CHARACTER: Regex = either(
  charClass([0x20, 0x21], [0x23, 0x5b], [0x5d, 0x10ffff]),
  concat(literal("\\"), charClass('"', "\\", "/", "b", "f", "n", "r", "t")),
  ESCAPED_UNIT,
  ESCAPED_PAIR,
);

/** White space that may stand in one place: nothing, or at most a line break and forty blanks. */
const BREAK_AND_BLANKS = concat(optional(literal("\n")), repeat(charClass(" ", "\t"), 0, 40));

/** How the values of one level are written. */
export interface Style {
  /** After `{` and `[`. */
  readonly open: Regex;
  /** Before `}` and `]`, where something stands between the brackets. */
  readonly close: Regex;
  readonly comma: Regex;
  readonly colon: Regex;
  /** Objects have no brackets. */
  readonly isOpen?: boolean;
  readonly word: (word: string) => Regex;
  /** Strings of a language. */
  readonly string: (language: Regex) => Regex;
  /** Strings of so many code points. */
  readonly ofLength: (min: number, max: number | null) => Regex;
  /** The names that can be written. */
  readonly names: Regex;
  /** Names of a language, each with what stands before its value. */
  readonly name: (language: Regex) => Regex;
  /** After a value; strings end with it themselves. */
  readonly end?: Regex;
}

/**
 * JSON. White space belongs to the punctuation before or after it, so that no lexeme begins where another one could go on: that would
 * make a greedy lexer miss texts.
 */
function jsonStyle(whitespace: JsonWhitespace): Style {
  const isCompact = whitespace === "compact";
  const space = isCompact ? concat() : BREAK_AND_BLANKS;
  const after = isCompact ? optional(literal(" ")) : space;
  const colon = concat(space, literal(":"), after);
  const quoted = (content: Regex): Regex => concat(literal('"'), content, literal('"'));
  return {
    open: space,
    close: space,
    comma: concat(space, literal(","), after),
    colon,
    word: literal,
    string: (language) => quoted(jsonStringContent(language)),
    ofLength: (min, max) => quoted(repeat(JSON_CHARACTER, min, max)),
    names: EVERY_NAME,
    name: (language) => concat(quoted(jsonStringContent(language)), colon),
  };
}

const NAME_START = charClass("az", "AZ", "09", "_", "-", ".", "/", "$", "@", [0xa1, 0x10ffff]);

/** Names that need no quotes where any of these characters ends one. */
const bareNames = (ends: string): Regex => concat(NAME_START, textWithout([...ends]));

/** A string between marks. */
function markedBy({ mark, isToken, isEscaped }: Quote, language: Regex): Regex {
  const quote: Regex = isToken ? { type: "bytes", bytes: [...specialTokenBytes(mark)] } : literal(mark);
  const content = isEscaped
    ? jsonStringContent(language, mark)
    : textWithout([mark], and(ANY_TEXT, language));
  return concat(quote, content, quote);
}

/** How values are written: those of the outermost level, of the next, and so on. */
export function stylesOf(whitespace: JsonWhitespace, notation?: Notation): readonly [Style, ...Style[]] {
  const json = jsonStyle(whitespace);
  if (notation === undefined) return [json];
  const { quotes, isBare, words = {}, members } = notation;
  const string: Style["string"] = (language) => either(...quotes.map((quote) => markedBy(quote, language)));
  const names = isBare === true ? bareNames(":") : EVERY_NAME;
  const values: Style = {
    ...json,
    word: (word) => either(...[word, words[word] ?? word].map(literal)),
    string,
    ofLength: (min, max) => string(repeat(ANY, min, max)),
    names,
    name: (language) => concat(names === EVERY_NAME ? string(language) : language, json.colon),
  };
  if (members === undefined) return [values];
  const { name: around, separator, end } = members;
  const [before, after] = around;
  const outermost: Style = {
    ...values,
    isOpen: true,
    comma: literal(separator),
    names: bareNames(after),
    name: (language) => concat(literal(before), language, literal(after)),
  };
  if (end === "") return [outermost, values];
  const unquoted: Style["string"] = (language) =>
    concat(textWithout([end], and(ANY_TEXT, language)), literal(end));
  const raw: Style = {
    ...json,
    word: values.word,
    string: unquoted,
    ofLength: (min, max) => unquoted(repeat(ANY, min, max)),
    end: literal(end),
  };
  return [outermost, raw, json];
}
