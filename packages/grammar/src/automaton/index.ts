export { Automaton } from "./automaton.ts";
export { type ByteClasses, refine } from "./byte-classes.ts";
export { Complexity } from "./complexity.ts";
export type { Copier } from "./copier.ts";
export { jsonStringContent } from "./json-string.ts";
export { mapRegex } from "./map-regex.ts";
export { type Pace, Paused } from "./pace.ts";
