export { grown, memo, only } from "./collections.ts";
export { GrammarError, type GrammarErrorCode, type GrammarErrorPlace, isLimit } from "./errors.ts";
export { type Grammar, type GrammarSymbol, type Lexeme, type Rule, specialTokenBytes } from "./grammar.ts";
export { GrammarBuilder } from "./grammar-builder.ts";
export { leastRules } from "./least-rules.ts";
export {
  ANY,
  ANY_TEXT,
  acceptsEmpty,
  and,
  charClass,
  compareBytes,
  concat,
  EMPTY,
  either,
  listWords,
  literal,
  NOTHING,
  normalizeRanges,
  not,
  optional,
  partsOf,
  type Regex,
  repeat,
  textWithout,
  words,
} from "./regex.ts";
export type { GrammarSource, JsonWhitespace, Notation, Quote } from "./source.ts";
