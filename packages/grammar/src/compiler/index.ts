export { grammarFromSource } from "./source.ts";
