export type { SchemaLimits } from "./budget.ts";
export { compileSchema, jsonObjectGrammar, type SchemaOptions } from "./compile.ts";
export { childPointer } from "./documents.ts";
export { FORMATS } from "./formats.ts";
export { KEYWORDS, type KeywordStatus } from "./keywords.ts";
