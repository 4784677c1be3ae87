export { Automaton, type AutomatonLimits } from "./automaton.ts";
export type { ByteClasses } from "./byte-classes.ts";
