export { CompiledGrammar, type MatcherLimits } from "./compiled-grammar.ts";
export { Matcher, type MatcherOptions, type TokenMask } from "./matcher.ts";
export { type PreparedGrammar, prepareGrammar } from "./prepared-grammar.ts";
export { Vocabulary, type VocabularySource } from "./vocabulary.ts";
