export { Automaton, type Copier } from "./automaton.ts";
export { type ByteClasses, refine } from "./byte-classes.ts";
export { Complexity } from "./complexity.ts";
export { jsonStringContent, spellText } from "./json-string.ts";
export { mapRegex } from "./map-regex.ts";
export { type Pace, Paused } from "./pace.ts";
