export type { SchemaLimits } from "./budget.ts";
export { compileSchema, jsonObjectGrammar, type SchemaOptions } from "./compile.ts";
export { FORMATS } from "./formats.ts";
export { KEYWORDS, type KeywordStatus } from "./keywords.ts";
export { checkStrict } from "./strict.ts";
