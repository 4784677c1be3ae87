import { describe, expect, test } from "vitest";
import {
  ANY,
  ANY_TEXT,
  and,
  charClass,
  concat,
  either,
  literal,
  NOTHING,
  not,
  type Regex,
  repeat,
} from "#grammar";
import { Analyses } from "../../test/analyses.ts";
import { Automaton, jsonStringContent } from "./index.ts";

const analyses = new Analyses();
const letters = charClass("az");

describe("analyses", () => {
  test("compare languages", () => {
    const words = either(literal("foo"), literal("bar"));
    expect(analyses.intersects(literal("foo"), words)).toBe(true);
    expect(analyses.intersects(literal("baz"), words)).toBe(false);
    expect(analyses.intersects(words, repeat(letters, 4))).toBe(false);
    expect(analyses.intersects(repeat(letters, 3, 5), repeat(charClass("mp", "09"), 5, 7))).toBe(true);
    expect(analyses.intersects(repeat(letters, 1), repeat(charClass("09"), 1))).toBe(false);
    expect(analyses.isSubset(words, repeat(letters))).toBe(true);
    expect(analyses.isSubset(repeat(charClass("ax"), 2, 5), repeat(letters, 2))).toBe(true);
    expect(analyses.isSubset(repeat(letters, 2), repeat(charClass("ax"), 2, 5))).toBe(false);
    const even = repeat(concat(letters, letters));
    expect(analyses.equals(repeat(letters), either(even, concat(letters, even)))).toBe(true);
    expect(analyses.equals(not(NOTHING), ANY_TEXT)).toBe(false);
    expect(analyses.isAnyText(either(ANY_TEXT, literal("x")))).toBe(true);
    expect(analyses.isAnyText(repeat(ANY, 1))).toBe(false);
  });
});

test("the dead ends of a pattern with a greatest length are found at each step", () => {
  const automaton = new Automaton();
  const pattern = concat(ANY_TEXT, repeat(letters, 100), ANY_TEXT);
  let node = automaton.intern(jsonStringContent(and(pattern, repeat(ANY, 0, 300))));
  for (let step = 0; step < 200; step++) {
    node = automaton.derive(node, 0x41);
    expect(automaton.isNothing(node)).toBe(false);
  }
  expect(automaton.isNothing(automaton.derive(node, 0x41))).toBe(true);
  expect(automaton.isNothing(automaton.derive(node, 0x61))).toBe(false);
});

describe("jsonStringContent", () => {
  const texts = ["", 'a"b', "\\", "\n", "\u0001\u001f\b", "é😀\u2028\u007f", "a\\nb"];
  const spell = (text: string): string => JSON.stringify(text).slice(1, -1);

  test("spells texts as JSON.stringify does, and in no other way", () => {
    const any = jsonStringContent(ANY_TEXT);
    for (const text of texts) {
      expect(analyses.matches(jsonStringContent(literal(text)), spell(text))).toBe(true);
      expect(analyses.matches(any, spell(text))).toBe(true);
      expect(analyses.equals(jsonStringContent(literal(text)), literal(spell(text)))).toBe(true);
    }
    for (const wrong of ['"', "\\", "\n", "\\x", "\\u0041", "\\u000A", "\\/", "\\u000"]) {
      expect(analyses.matches(any, wrong), wrong).toBe(false);
    }
  });

  test("keeps the meaning of all constructors", () => {
    const control: Regex = charClass([0, 0x22]);
    const cases: readonly Regex[] = [
      repeat(control),
      not(repeat(control)),
      and(ANY_TEXT, not(concat(ANY_TEXT, literal("\n"), ANY_TEXT))),
      and(repeat(ANY, 2, 3), not(literal("\\"))),
      either(concat(charClass([0x5c, 0x5d]), repeat(ANY, 0, 1)), literal("é😀\u2028\u007f")),
      { type: "bytes", bytes: [0x61, 0x22, 0x62] },
      and(),
    ];
    for (const [index, regex] of cases.entries()) {
      for (const text of texts) {
        const isMatch = analyses.matches(regex, text);
        expect(
          analyses.matches(jsonStringContent(regex), spell(text)),
          `case ${index} on ${spell(text)}`,
        ).toBe(isMatch);
      }
      expect(analyses.isSubset(jsonStringContent(regex), jsonStringContent(ANY_TEXT))).toBe(true);
    }
  });

  test("has no limit of depth", () => {
    let deep: Regex = literal("\n");
    for (let level = 0; level < 20_000; level++) deep = either(deep, concat(deep, literal("x")));
    expect(jsonStringContent(deep).type).toBe("either");
  });
});
