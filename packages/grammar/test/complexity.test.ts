import { expect, test } from "vitest";
import { CompiledGrammar, type GrammarSource, grammarFromSource } from "../src/index.ts";
import { vocabularyOf } from "./vocabularies.ts";

const vocabulary = vocabularyOf(["a", "b", '"']);

/** Compiles a pattern as a source of its own, and as one of a schema. */
function compile(pattern: string): void {
  const sources: readonly GrammarSource[] = [
    { type: "regex", pattern },
    { type: "json_schema", schema: { type: "object", properties: { a: { type: "string", pattern } } } },
    { type: "json_schema", schema: { patternProperties: { [pattern]: {} } } },
  ];
  for (const source of sources) void new CompiledGrammar(grammarFromSource(source), vocabulary);
}

const refuses = (pattern: string): void => {
  const tooComplex = "is too complex: its regular expression has too many states";
  expect(() => compile(pattern)).toThrow(tooComplex);
  const schema = { type: "object", properties: { "a/b": { type: "string", pattern } } };
  expect(() => grammarFromSource({ type: "json_schema", schema })).toThrow(
    `At /properties/a~1b ${tooComplex}`,
  );
};
const REFUSED = "%s, whose states multiply, is refused when it is compiled";
test.each(["^(?=.*a.{20}$)(?=.*b.{21}$).*$"])(REFUSED, refuses);
test.each([
  "a[a-z ]{18}$",
  "^[ab]*a[ab]{20}$",
  // a state knows which of the last hundred letters were an a
  "^((a|b)*a(a|b){90}|(a|b)*b(a|b){91})$",
])(REFUSED, { tags: "thorough" }, refuses);

test.each([
  ["a count", "^.{1,5000}$"],
  ["a loop of two", "^[a-z]+(-[a-z]+)*$"],
  ["a password", "^(?=.*[a-z])(?=.*[A-Z])(?=.*\\d)(?=.*[@$!%*?&]).{8,64}$"],
  ["two counts", "^(.{1,50}\\n){1,500}$"],
  ["an address", "^((25[0-5]|2[0-4]\\d|1?\\d?\\d)\\.){3}(25[0-5]|2[0-4]\\d|1?\\d?\\d)$"],
  ["words", `^(${Array.from({ length: 1000 }, (_, i) => `word${(7919 * i) % 10_007}`).join("|")})$`],
  ["a long text", "a".repeat(10_000)],
])("%s is not", (_, pattern) => {
  compile(pattern);
});
