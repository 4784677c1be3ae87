export { Analyses } from "./analyses.ts";
export { Automaton, type AutomatonLimits } from "./automaton.ts";
export type { ByteClasses } from "./byte-classes.ts";
export { ANY_JSON_STRING_CONTENT, jsonStringContent } from "./json-string.ts";
