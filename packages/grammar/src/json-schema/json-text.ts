import {
  charClass,
  concat,
  either,
  type JsonWhitespace,
  literal,
  optional,
  type Regex,
  repeat,
} from "#grammar";

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
export const JSON_CHARACTER: Regex = either(
  charClass([0x20, 0x21], [0x23, 0x5b], [0x5d, 0x10ffff]),
  concat(literal("\\"), charClass('"', "\\", "/", "b", "f", "n", "r", "t")),
  ESCAPED_UNIT,
  ESCAPED_PAIR,
);

/** The quotes around a string's content. */
export const quoted = (content: Regex): Regex => concat(literal('"'), content, literal('"'));

/** White space that may stand in one place: nothing, or at most a line break and forty blanks. */
const BREAK_AND_BLANKS = concat(optional(literal("\n")), repeat(charClass(" ", "\t"), 0, 40));

/** The punctuation of JSON with the white space that may surround it. */
export interface Punctuation {
  /** After `{` and `[`. */
  readonly open: Regex;
  /** Before `}` and `]`, where something stands between the brackets. */
  readonly close: Regex;
  readonly comma: Regex;
  readonly colon: Regex;
}

/**
 * White space belongs to the punctuation before or after it, so that no lexeme begins where another one could go on: that would
 * make a greedy lexer miss texts.
 */
export function punctuation(whitespace: JsonWhitespace): Punctuation {
  if (whitespace === "compact") {
    const blank = optional(literal(" "));
    const none = concat();
    return {
      open: none,
      close: none,
      comma: concat(literal(","), blank),
      colon: concat(literal(":"), blank),
    };
  }
  const space = BREAK_AND_BLANKS;
  return {
    open: space,
    close: space,
    comma: concat(space, literal(","), space),
    colon: concat(space, literal(":"), space),
  };
}
