export { spellText } from "#automaton";
export {
  type CompiledSource,
  type CompileOptions,
  GrammarCompiler,
  type GrammarCompilerOptions,
  type GrammarCompilerStats,
  grammarFromSource,
} from "#compiler";
export {
  type Grammar,
  GrammarError,
  type GrammarErrorCode,
  type GrammarErrorPlace,
  type GrammarSource,
  type GrammarSymbol,
  type JsonWhitespace,
  type Lexeme,
  type Notation,
  type Regex,
  type Rule,
} from "#grammar";
export {
  childPointer,
  compileSchema,
  FORMATS,
  jsonObjectGrammar,
  KEYWORDS,
  type KeywordStatus,
  type SchemaLimits,
  type SchemaOptions,
} from "#json-schema";
export {
  CompiledGrammar,
  Matcher,
  type MatcherLimits,
  type MatcherOptions,
  type PreparedGrammar,
  type TokenMask,
  Vocabulary,
  type VocabularySource,
} from "#matcher";
