export { parsePattern } from "./ecma.ts";
export { parseGbnf } from "./gbnf.ts";
export { parseLark } from "./lark.ts";
