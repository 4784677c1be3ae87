import {
  ANY_TEXT,
  and,
  charClass,
  concat,
  either,
  literal,
  not,
  optional,
  type Regex,
  repeat,
} from "#grammar";

const many = (of: Regex): Regex => repeat(of, 1);

const DIGIT = charClass("09");
const INT = many(DIGIT);
const SIGN = charClass("+", "-");
const SIGNED_INT = concat(optional(SIGN), INT);
const DECIMAL = either(concat(INT, literal("."), optional(INT)), concat(literal("."), INT));
const EXPONENT = concat(charClass("e", "E"), SIGNED_INT);
const FLOAT = either(concat(INT, EXPONENT), concat(DECIMAL, optional(EXPONENT)));
const NUMBER = either(FLOAT, INT);
const LCASE_LETTER = charClass("az");
const UCASE_LETTER = charClass("AZ");
const LETTER = either(UCASE_LETTER, LCASE_LETTER);
const LINE = repeat(charClass([0, 9], [11, 0x10ffff]));
const WORD_BEGIN = either(literal("_"), LETTER);
const STRING_PART = either(
  charClass([0, 9], [11, 0x21], [0x23, 0x5b], [0x5d, 0x10ffff]),
  concat(literal("\\"), charClass([0, 9], [11, 0x10ffff])),
);

/** The terminals that grammars import from Lark's `common`. */
export const COMMON_TERMINALS: Readonly<Record<string, Regex>> = {
  DIGIT,
  HEXDIGIT: charClass("09", "af", "AF"),
  INT,
  SIGNED_INT,
  DECIMAL,
  _EXP: EXPONENT,
  FLOAT,
  SIGNED_FLOAT: concat(optional(SIGN), FLOAT),
  NUMBER,
  SIGNED_NUMBER: concat(optional(SIGN), NUMBER),
  ESCAPED_STRING: concat(literal('"'), repeat(STRING_PART), literal('"')),
  LCASE_LETTER,
  UCASE_LETTER,
  LETTER,
  WORD: many(LETTER),
  CNAME: concat(WORD_BEGIN, repeat(either(WORD_BEGIN, DIGIT))),
  WS_INLINE: many(charClass(" ", "\t")),
  WS: many(charClass(" ", "\t", "\f", "\r", "\n")),
  CR: literal("\r"),
  LF: literal("\n"),
  NEWLINE: many(concat(optional(literal("\r")), literal("\n"))),
  SH_COMMENT: concat(literal("#"), LINE),
  CPP_COMMENT: concat(literal("//"), LINE),
  SQL_COMMENT: concat(literal("--"), LINE),
  C_COMMENT: concat(
    literal("/*"),
    and(ANY_TEXT, not(concat(ANY_TEXT, literal("*/"), ANY_TEXT))),
    literal("*/"),
  ),
};
