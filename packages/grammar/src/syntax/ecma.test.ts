import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { GrammarError, type GrammarErrorCode } from "#grammar";
import { Analyses } from "../../test/analyses.ts";
import { parsePattern } from "./ecma.ts";

const analyses = new Analyses();

const matches = (pattern: string, text: string, anchored = false): boolean =>
  analyses.matches(parsePattern(pattern, { anchored }), text);

const ALPHABET = ["a", "b", "c", "-", "\n", "é", "😀", "_"];
const texts = fc.array(fc.constantFrom(...ALPHABET), { maxLength: 7 }).map((letters) => letters.join(""));

/** Whether JavaScript finds a pattern, from each code point: V8's own search also starts within surrogate pairs. */
function found(pattern: string, text: string): boolean {
  const sticky = new RegExp(pattern, "uy");
  let at = 0;
  for (const letter of [...text, ""]) {
    sticky.lastIndex = at;
    if (sticky.test(text)) return true;
    at += letter.length;
  }
  return false;
}

/** Compares a pattern with JavaScript's own on random texts. */
function compare(pattern: string, samples: readonly string[]): void {
  const whole = new RegExp(`^(?:${pattern})$`, "u");
  const [ours, oursWhole] = [
    parsePattern(pattern, { anchored: false }),
    parsePattern(pattern, { anchored: true }),
  ];
  for (const text of samples) {
    const name = `${pattern} on ${JSON.stringify(text)}`;
    expect(analyses.matches(ours, text), name).toBe(found(pattern, text));
    expect(analyses.matches(oursWhole, text), `${name}, whole`).toBe(whole.test(text));
  }
}

const atoms = [
  "a",
  "b",
  ".",
  "[ab]",
  "[^a]",
  "\\w",
  "\\W",
  "\\s",
  "[^]",
  "é",
  "\\u{1f600}",
  "\\p{L}",
  "[\\w-]",
  "^",
  "$",
  "\\b",
  "\\B",
];

/** Patterns whose assertions are not within unlimited repeats. */
const pattern = fc.letrec<{ pattern: string; plain: string }>((tie) => ({
  plain: fc.oneof(
    { maxDepth: 3 },
    fc.constantFrom(...atoms.slice(0, 13)),
    fc.array(tie("plain"), { maxLength: 3 }).map((parts) => parts.join("")),
    fc.array(tie("plain"), { minLength: 1, maxLength: 3 }).map((parts) => `(?:${parts.join("|")})`),
    fc
      .tuple(tie("plain"), fc.constantFrom("*", "+", "?", "*?", "{2}", "{1,}", "{0,2}", "{1,3}?"))
      .map(([part, quantifier]) => `(${part})${quantifier}`),
  ),
  pattern: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom(...atoms),
    tie("plain"),
    fc.array(tie("pattern"), { maxLength: 3 }).map((parts) => parts.join("")),
    fc.array(tie("pattern"), { minLength: 1, maxLength: 3 }).map((parts) => `(${parts.join("|")})`),
    fc
      .tuple(tie("pattern"), fc.constantFrom("?", "{2}", "{0,2}", "{1,3}?"))
      .map(([part, quantifier]) => `(?:${part})${quantifier}`),
    fc.tuple(tie("pattern"), fc.constantFrom("?=", "?!")).map(([part, look]) => `(${look}${part})`),
  ),
})).pattern;

const errorOf = (
  source: string,
): { code: GrammarErrorCode; keyword: string | undefined; message: string } => {
  try {
    parsePattern(source, { anchored: false });
  } catch (error) {
    if (error instanceof GrammarError)
      return { code: error.code, keyword: error.keyword, message: error.message };
    throw error;
  }
  throw new Error(`${source} is accepted`);
};

describe("parsePattern", () => {
  test("agrees with JavaScript on random patterns", () => {
    fc.assert(
      fc.property(pattern, fc.array(texts, { minLength: 6, maxLength: 6 }), (source, samples) => {
        compare(source, samples);
      }),
      { numRuns: 100 },
    );
  });

  test("agrees with JavaScript on assertions in repeats and at the beginning", () => {
    const sources = [
      "(^a|b)*c",
      "(?:^|-)a",
      "((^|-)[ab])+$",
      "(a|b$)*",
      "(?:[ab]+(?:-|$)){2,}",
      "^([ab](-|$))+$",
      "(?:^a|b|c$)+-?",
      "(^a){2}",
      "(^|a){2,}b",
      "(a|$){3,}",
      "^((?!ab)(?!b-).)*$",
      "^((?=[ab]).)+$",
      "((?!a).)*",
      "(?<=a)b",
      "(?<!a)b|c",
      "(?<=^|-)[ab]",
      "(?<!^)a",
      "(?<=\\bab)-",
      "(?=.*b)(?!.*c)a",
      "a(?=b)b(?=c)c",
      "a(?!$)",
      "^(?![^]*-)[^]+$",
      "a\\b.\\B.",
      "\\b(?:a|-b)\\b",
      "[]|a",
      "",
      "^",
      "$",
      "a|",
    ];
    const samples = fc.sample(texts, { numRuns: 60, seed: 1 });
    for (const source of sources) compare(source, [...samples, "", "a", "ab-ab", "a-b-a", "abc"]);
  });

  test("has the classes and escapes of JavaScript", () => {
    const sources = [
      "\\d",
      "\\D",
      "\\w",
      "\\W",
      "\\s",
      "\\S",
      ".",
      "\\t",
      "\\cJ",
      "\\0",
      "\\x41",
      "\\u0041",
      "\\u{0041}",
      "\\ud83d\\ude00",
      "[\\b]",
      "[\\]\\-\\\\]",
      "\\/",
      "\\p{Lu}",
      "\\P{Lu}",
      "\\p{Script=Greek}",
      "[^\\p{L}\\d]",
      "\\p{General_Category=Decimal_Number}",
      "[a\\-z]",
      "[-a]",
      "[a-]",
      "[\\w.-]",
      "[^]",
      "[]",
    ];
    const points = [
      ...Array.from({ length: 0x180 }, (_, point) => point),
      ...[
        0x370, 0x3a9, 0x661, 0x1680, 0x180e, 0x2028, 0x2029, 0x202f, 0x3000, 0xfeff, 0xffff, 0x1d400, 0x1f600,
        0x10ffff,
      ],
    ];
    for (const source of sources)
      compare(
        source,
        points.map((point) => String.fromCodePoint(point)),
      );
  });

  test("takes what only the flag u forbids", () => {
    expect(matches("^a\\-b\\_\\ \\@$", "a-b_ @")).toBe(true);
    expect(matches("^[\\w-.]+$", "a-.")).toBe(true);
    expect(matches("^{a}]$", "{a}]")).toBe(true);
    expect(matches("^(?P<name>a)(?<other>b)$", "ab")).toBe(true);
  });

  test("names what it refuses", () => {
    expect(errorOf("(a)\\1")).toMatchObject({ code: "unsupported", keyword: "backreference" });
    expect(errorOf("(?<x>a)\\k<x>")).toMatchObject({ code: "unsupported", keyword: "backreference" });
    expect(errorOf("a(?<=a)b")).toMatchObject({ code: "unsupported", keyword: "lookbehind" });
    expect(errorOf("(\\ba)*")).toMatchObject({ code: "unsupported", keyword: "\\b" });
    expect(errorOf("((?=a).b)*c")).toMatchObject({ code: "unsupported", keyword: "lookahead" });
    expect(errorOf("(?i)a")).toMatchObject({ code: "unsupported", keyword: "(?i)" });
    for (const bad of [
      "(",
      ")",
      "[a",
      "*",
      "a**",
      "a{2,1}",
      "\\",
      "\\p{Nothing}",
      "\\u12",
      "[b-a]",
      "{2}",
      "\\A",
      "a{,3}",
    ]) {
      expect(errorOf(bad), bad).toMatchObject({ code: "bad_grammar" });
    }
    expect(errorOf("ab(c").message).toBe('pattern "ab(c", character 4: a group has no )');
    expect(errorOf("(".repeat(1000))).toMatchObject({ code: "limit" });
  });

  test("answers hostile patterns within limits", () => {
    const hostile = [
      "(a|a)*",
      "(a*)*b",
      "((a+)+)+$",
      "(a?){30}a{30}",
      "[a-z]{1,1000}.*[a-z]{1,1000}",
      "(((a{1,100}){1,100}){1,100})",
      "(((ab{1,100}c){1,100}d){1,100})",
      "a{0,1000000000}",
      "(.*a){1,100}",
      "(x+x+)+y",
      "(a|b|ab)*(?=c)",
      "(((^a|b){0,60}){0,60}){0,60}",
      "(?:(?:(?:\\ba|b){0,60}){0,60}){0,60}",
      `(${"a|".repeat(5000)}b)*`,
      "(.*)*(.*)*(.*)*x",
      `^(?!.*${"(a|b)".repeat(20)})(?=.*a)(?=.*b)(?=.*c).*$`,
      "(a{1,1000}b{1,1000}){1,1000}",
      "(?=(a|b)*c)".repeat(50),
    ];
    for (const source of hostile) {
      const begin = process.cpuUsage();
      try {
        matches(source, `${"ab".repeat(50)}c`);
      } catch (error) {
        expect(error).toMatchObject({ code: "limit" });
      }
      // milliseconds; some 50
      expect(process.cpuUsage(begin).user / 1000, source).toBeLessThan(5000);
    }
  });
});
