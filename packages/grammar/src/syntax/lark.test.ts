import { expect, test } from "vitest";
import { charClass, concat, type Grammar, GrammarError, literal, repeat } from "#grammar";
import { isInLanguage } from "../../test/reference.ts";
import { parseLark } from "./lark.ts";

/** Stands for the grammar of any schema. */
const SCHEMA: Grammar = {
  lexemes: [
    { name: "{", regex: literal("{") },
    { name: "}", regex: literal("}") },
    { name: "blank", regex: literal(" ") },
  ],
  rules: [{ name: "object", alternatives: [[{ lexeme: 0 }, { lexeme: 1 }]] }],
  start: 0,
  skip: 2,
};

const parse = (grammar: string): Grammar => parseLark(grammar, () => SCHEMA);

/** The texts of which a grammar allows the first list and refuses the second. */
function expectTexts(grammar: string, allowed: readonly string[], refused: readonly string[]): void {
  const parsed = parse(grammar);
  expect(allowed.filter((text) => !isInLanguage(parsed, text))).toEqual([]);
  expect(refused.filter((text) => isInLanguage(parsed, text))).toEqual([]);
}

const refusal = (grammar: string): string => {
  try {
    parse(grammar);
  } catch (error) {
    if (error instanceof GrammarError) return `${error.code}: ${error.message}`;
    throw error;
  }
  return "accepted";
};

test("rules, terminals before their definition, and what counts them", () => {
  expectTexts(
    `
    start: greeting ("," NAME)* [END] // a comment
    ?greeting: "Hello"i -> hello
             | "Good" (DAY | "night"){1,2}
    NAME: LETTER+ DIGIT~2..3 # another
    LETTER: "a".."z"
    DIGIT: /[0-9]/
    DAY: "day"
    !END: "." | "!" ~ 3
    `,
    ["hELLO", "Gooddaynight.", "Hello,abc12,d345!!!"],
    ["Good", "Hello,abc1", "Hello!", "Gooddaydaynight"],
  );
});

test("what is ignored is a lexeme of its own", () => {
  const grammar = parse('start: "a" "b"\n%ignore " "\n%ignore /\\t+/');
  expect(grammar.skip).toBeDefined();
  expect(grammar.lexemes[grammar.skip ?? -1]?.name).toBe("%ignore");
  expect(grammar.lexemes).toHaveLength(3);
});

test("a schema is its own grammar, in which nothing else is ignored", () => {
  expectTexts(
    `start: "a" %json { "type": "object", "title": "}" } "b"
     %ignore "\\t"`,
    ["a{}b", "a{ } b", "\ta\t{}\tb\t"],
    ["a{\t}b", " a{}b"],
  );
});

test("terminals of Lark's common", () => {
  expectTexts(
    `start: INT "i" | SIGNED_NUMBER | CNAME "c" | TEXT | WORD "w" | C_COMMENT
     %import common.INT
     %import common (SIGNED_NUMBER, CNAME, WORD,
                     C_COMMENT)
     %import common.ESCAPED_STRING -> TEXT`,
    ["12i", "-1.5e+3", "+.5", "7.", "_a1c", '"a\\"b"', '"\\\\"', "ww", "/* a **/"],
    ["-12i", "1e", "1ac", '"a"b"', '"\\"', "/* a */ */", '"a\nb"'],
  );
});

test("intersections and complements of terminals", () => {
  expectTexts(
    `start: WORD
     WORD: /[a-z]+/ & ~(/.*/ "x" /.*/) & ~"no"`,
    ["a", "nope"],
    ["", "axb", "no", "A"],
  );
});

test("flags and the dialect of regular expressions", () => {
  expectTexts(
    String.raw`start: /a.b/ | /c.d/s | /ef-[g-h]/i | /\-\"\/\#[\-x]/`,
    ["a.b", "c\nd", "Ef-G", '-"/#-', '-"/#x'],
    ["a\nb", "ef-i", '-"/#y'],
  );
});

test("special tokens are bytes that no text has", () => {
  const grammar = parse('start: "a" <|end|>');
  expect(isInLanguage(grammar, "a<|end|>")).toBe(false);
  expect(isInLanguage(grammar, new Uint8Array([0x61, 0xff, ...Buffer.from("<|end|>"), 0xff]))).toBe(true);
});

test("lazy rules end at their first match, captures change nothing", () => {
  const { lexemes } = parse(`start: a b
    a[capture, lazy]: /a+/
    b[capture="x", suffix="</b>"]: /[a-z]*/`);
  expect(lexemes.map(({ name, isLazy }) => [name, isLazy])).toEqual([
    ["a", true],
    ["b", true],
  ]);
  expect(lexemes[1]?.regex).toEqual(concat(repeat(charClass("az")), literal("</b>")));
});

test("recursive rules and empty alternatives", () => {
  expectTexts('start: "(" start ")" start |', ["", "()", "(())()"], ["(", ")("]);
});

test("what is wrong is said with line and column", () => {
  expect(
    [
      "",
      "begin: x",
      'start: "a" thing',
      'start: A\nA: "a" A',
      'start: A\nA: b\nb: "c"',
      'start: "a"\nstart: "b"',
      'start: "a',
      "start: /a",
      'start: ("a" "b"',
      'start: "a" )',
      'start "a"',
      'start: "b".."a"',
      'start: "ab".."c"',
      'start: "a"{3,2}',
      'start: "a"{1000000}',
      'start: "\\q"',
      'start: "a" A\nA.2: "b"',
      'start: x{"a"}',
      "start: @other",
      'start[max_tokens=3]: "a"',
      "start: <[12]>",
      "start: /[[:alpha:]]/",
      "start: /a/x",
      "start: /[^a]/i",
      'start: %regex { "substring_words": "a b" }',
      'start: "a"\n%declare X',
      "%import common.THING",
      "%import python.NAME",
      'start: "a"\n%ignore /x*/',
      'start: %json { "type": ',
      `start: ${"(".repeat(1000)}`,
    ].map(refusal),
  ).toMatchInlineSnapshot(`
    [
      "bad_grammar: Lark grammar, line 1, column 1: start is not defined; the grammar begins with it",
      "bad_grammar: Lark grammar, line 1, column 1: start is not defined; the grammar begins with it",
      "bad_grammar: Lark grammar, line 1, column 12: thing is not defined",
      "bad_grammar: Lark grammar, line 2, column 8: the terminal A contains itself, which only rules can",
      "bad_grammar: Lark grammar, line 2, column 4: the rule b stands where only terminals can",
      "bad_grammar: Lark grammar, line 2, column 1: start is defined twice, first in line 1, column 1",
      "bad_grammar: Lark grammar, line 1, column 8: the string does not end in its line",
      "bad_grammar: Lark grammar, line 1, column 8: the regular expression does not end in its line",
      "bad_grammar: Lark grammar, line 1, column 16: ) at the end of the group is expected, but there is the end of the line",
      "bad_grammar: Lark grammar, line 1, column 12: an operator or the end of the line is expected, but there is ")"",
      "bad_grammar: Lark grammar, line 1, column 7: : after start is expected, but there is "\\"a\\""",
      "bad_grammar: Lark grammar, line 1, column 8: the range "b".."a" is upside down",
      "bad_grammar: Lark grammar, line 1, column 8: a range goes from one character to another",
      "bad_grammar: Lark grammar, line 1, column 11: the maximum 2 is below the minimum 3",
      "limit: Lark grammar, line 1, column 11: at most 10000 repetitions can be counted",
      "bad_grammar: Lark grammar, line 1, column 9: \\q is not an escape sequence",
      "unsupported: Lark grammar, line 2, column 1: a priority is not supported",
      "unsupported: Lark grammar, line 1, column 8: a template is not supported",
      "unsupported: Lark grammar, line 1, column 8: a reference to another grammar (@) is not supported",
      "unsupported: Lark grammar, line 1, column 7: the attribute max_tokens is not supported",
      "unsupported: Lark grammar, line 1, column 8: a token by its number is not supported",
      "unsupported: Lark grammar, line 1, column 8: a named class such as [:alpha:] is not supported",
      "unsupported: Lark grammar, line 1, column 8: the flag x of a regular expression is not supported",
      "unsupported: Lark grammar, line 1, column 8: a negated class with the flag i is not supported",
      "unsupported: Lark grammar, line 1, column 8: %regex is not supported",
      "unsupported: Lark grammar, line 2, column 1: %declare is not supported",
      "bad_grammar: Lark grammar, line 1, column 16: common has no THING, but DIGIT, HEXDIGIT, INT, SIGNED_INT, DECIMAL, _EXP, FLOAT, SIGNED_FLOAT, NUMBER, SIGNED_NUMBER, ESCAPED_STRING, LCASE_LETTER, UCASE_LETTER, LETTER, WORD, CNAME, WS_INLINE, WS, CR, LF, NEWLINE, SH_COMMENT, CPP_COMMENT, SQL_COMMENT, C_COMMENT",
      "unsupported: Lark grammar, line 1, column 9: an import of anything but common is not supported",
      "bad_grammar: Lark grammar, line 2, column 9: what is ignored matches the empty text",
      "bad_grammar: Lark grammar, line 1, column 14: the schema after %json is not JSON: Unexpected end of JSON input",
      "limit: Lark grammar, line 1, column 209: groups are nested more than 200 levels deep",
    ]
  `);
});

test("terminals that double with every name are refused", () => {
  const terminals = Array.from({ length: 40 }, (_, i) => `T${i}: T${i + 1} T${i + 1}`);
  expect(refusal(`start: T0\n${terminals.join("\n")}\nT40: "a"`)).toMatch(
    /^limit: .* more than 200000 parts/,
  );
});

test("blanks in a count are read once", () => {
  expect(() => parse(`start: "a"{${" ".repeat(2000)}x`)).toThrow("{");
});
