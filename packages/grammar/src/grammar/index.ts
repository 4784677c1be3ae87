export { GrammarBuilder } from "./builder.ts";
export { GrammarError, type GrammarErrorCode, type GrammarErrorPlace } from "./errors.ts";
export { type Grammar, type GrammarSymbol, type Lexeme, type Rule, specialTokenBytes } from "./grammar.ts";
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
  not,
  optional,
  type Regex,
  repeat,
  words,
} from "./regex.ts";
export type { GrammarSource, JsonWhitespace } from "./source.ts";
