export { Analyses } from "./analyses.ts";
export { Automaton } from "./automaton.ts";
export type { ByteClasses } from "./byte-classes.ts";
export { jsonStringContent } from "./json-string.ts";
export { mapRegex } from "./map.ts";
export { type Pace, Paused } from "./pace.ts";
