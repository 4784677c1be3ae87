import { expect, test } from "vitest";
import { GrammarError } from "#grammar";
import { isInLanguage } from "../../test/reference.ts";
import { parseGbnf } from "./gbnf.ts";

/** The texts of which a grammar allows the first list and refuses the second. */
function expectTexts(grammar: string, allowed: readonly string[], refused: readonly string[]): void {
  const parsed = parseGbnf(grammar);
  expect(allowed.filter((text) => !isInLanguage(parsed, text))).toEqual([]);
  expect(refused.filter((text) => isInLanguage(parsed, text))).toEqual([]);
}

const refusal = (grammar: string): string => {
  try {
    parseGbnf(grammar);
  } catch (error) {
    if (error instanceof GrammarError) return `${error.code}: ${error.message}`;
    throw error;
  }
  return "accepted";
};

const JSON_GRAMMAR = `
root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws

object ::=
  "{" ws (
            string ":" ws value
    ("," ws string ":" ws value)*
  )? "}" ws

array  ::=
  "[" ws (
            value
    ("," ws value)*
  )? "]" ws

string ::=
  "\\"" (
    [^"\\\\\\x7F\\x00-\\x1F] |
    "\\\\" (["\\\\bfnrt] | "u" [0-9a-fA-F]{4}) # escapes
  )* "\\"" ws

number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws

# Optional space: by convention, applied in this grammar after literal chars when allowed
ws ::= | " " | "\\n" [ \\t]{0,20}
`;

test("JSON in GBNF has lexemes of many characters", () => {
  expectTexts(
    JSON_GRAMMAR,
    ["{}", '{"a": [1, -2.5e3, "x\\n\\u00e9 é", true, {}], "b":\n  null}', '{ "a":{"a":{"a":[[[]]]}}}'],
    ["", "[]", "{", '{"a"}', '{"a": 01}', '{"a": "\n"}', '{"a": 1,}', "{}  "],
  );
  expect(parseGbnf(JSON_GRAMMAR).lexemes).toHaveLength(9);
});

test("a grammar that is regular is one lexeme, also where it is written with recursion at the end", () => {
  const grammar = `
    root ::= "yes" | "no " word | digits
    word ::= [a-z] word | [A-Z]
    digits ::= [0-9] (digits)?`;
  expectTexts(grammar, ["yes", "no abcD", "no X", "7", "123"], ["no", "no a", "no AB", "12a", ""]);
  expect(parseGbnf(grammar).lexemes).toHaveLength(1);
});

test("where the longest match would miss a text, each character is a lexeme", () => {
  const grammar = `
    root ::= "(" root ")" | item "ab"
    item ::= "a" item "b" | [a-z]*`;
  expectTexts(grammar, ["ab", "(xab)", "((abab))", "aabb".concat("ab"), "ababab"], ["", "(ab", "xa", "()"]);
  expect(parseGbnf(grammar).lexemes.every(({ regex }) => regex.type === "class")).toBe(true);
});

test("strings, classes, counts, tokens and comments", () => {
  expectTexts(
    `root ::= "\\x41\\u00e9\\U0001F600\\t" [^\\]a-c] . <|end|> # a comment
    `,
    [],
    ["Aé😀\tab", "Aé😀\t]b"],
  );
  expectTexts(
    'root ::= [-a] [a-] {2} "b"{1,2} "c"{,1} [0-9]{2,}',
    ["--ab01", "aaabb123", "aa-bc99"],
    ["aab01", "aaabbb11", "-aabcc12", "-aab1"],
  );
  expectTexts('root ::=\n  "a" |\n  "b"\n  | "c"\n\nx ::= "d"\n', ["a", "b", "c"], ["d", ""]);
  const bytes = new Uint8Array([0x61, 0xff, ...new TextEncoder().encode("<|end|>"), 0xff]);
  expect(isInLanguage(parseGbnf('root ::= "a" <|end|>'), bytes)).toBe(true);
  expect(isInLanguage(parseGbnf('root ::= "a" <|end|>'), "a<|end|>")).toBe(false);
});

test("an empty alternative ends before the next rule", () => {
  expectTexts('root ::= "a" ws "b"\nws ::= " " |\nother ::= "x"', ["ab", "a b"], ["a  b"]);
});

test("recursion on the left", () => {
  expectTexts(
    'root ::= root "+" term | term\nterm ::= "(" root ")" | [0-9]+',
    ["1", "1+23", "(1+2)+3"],
    ["+", "1+", "()"],
  );
});

test("what is wrong is said with line and column", () => {
  expect(
    [
      "",
      'start ::= "a"',
      'root ::= "a" thing',
      'root ::= "a"\nroot ::= "b"',
      'root ::= "a',
      "root ::= [a-z",
      "root ::= [z-a]",
      'root ::= ("a" "b"',
      'root ::= "a" )',
      'root = "a"',
      'root ::= "a"{3,2}',
      'root ::= "a"{,}',
      'root ::= "a"{0,1000000}',
      'root ::= "\\q"',
      'root ::= "\\ud800"',
      "root ::= <[12]>",
      "root ::= !<end>",
      "root ::= <end",
      `root ::= ${"(".repeat(1000)}`,
      "/x/",
    ].map(refusal),
  ).toMatchInlineSnapshot(`
    [
      "bad_grammar: GBNF grammar, line 1, column 1: root is not defined; the grammar begins with it",
      "bad_grammar: GBNF grammar, line 1, column 1: root is not defined; the grammar begins with it",
      "bad_grammar: GBNF grammar, line 1, column 14: thing is not defined",
      "bad_grammar: GBNF grammar, line 2, column 1: root is defined twice, first in line 1, column 1",
      "bad_grammar: GBNF grammar, line 1, column 10: the string does not end in its line",
      "bad_grammar: GBNF grammar, line 1, column 10: the class does not end in its line",
      "bad_grammar: GBNF grammar, line 1, column 10: a range of the class is upside down",
      "bad_grammar: GBNF grammar, line 1, column 18: ) at the end of the group is expected, but there is the end of the line",
      "bad_grammar: GBNF grammar, line 1, column 14: an element or the end of the line is expected, but there is ")"",
      "bad_grammar: GBNF grammar, line 1, column 6: ::= after root is expected, but there is "= \\"a\\""",
      "bad_grammar: GBNF grammar, line 1, column 13: the maximum 2 is below the minimum 3",
      "bad_grammar: GBNF grammar, line 1, column 13: a repetition has neither a minimum nor a maximum",
      "limit: GBNF grammar, line 1, column 13: at most 10000 repetitions can be counted",
      "bad_grammar: GBNF grammar, line 1, column 11: \\q is not an escape sequence",
      "bad_grammar: GBNF grammar, line 1, column 11: \\u is not an escape sequence",
      "unsupported: GBNF grammar, line 1, column 10: a token by its number is not supported",
      "unsupported: GBNF grammar, line 1, column 10: any token but one (!) is not supported",
      "bad_grammar: GBNF grammar, line 1, column 10: a token is written as <name>",
      "limit: GBNF grammar, line 1, column 211: groups are nested more than 200 levels deep",
      "bad_grammar: GBNF grammar, line 1, column 1: the name of a rule is expected, but there is "/x/"",
    ]
  `);
});

test("expressions that double with every rule are refused", () => {
  const rules = Array.from({ length: 40 }, (_, i) => `r${i} ::= r${i + 1} r${i + 1}`);
  expect(refusal(`root ::= r0\n${rules.join("\n")}\nr40 ::= "a"`)).toMatch(
    /^limit: .* more than 200000 parts/,
  );
});

test("blanks in a count are read once", () => {
  expect(() => parseGbnf(`root ::= "a"{${" ".repeat(2000)}x`)).toThrow("{");
});
