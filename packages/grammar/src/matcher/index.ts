export { CompiledGrammar, type MatcherLimits } from "./compiled-grammar.ts";
export { Matcher, type MatcherOptions, type TokenMask } from "./matcher.ts";
export { Vocabulary, type VocabularySource } from "./vocabulary.ts";
