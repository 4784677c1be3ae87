export { type PatternOptions, parsePattern } from "./ecma.ts";
