import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  ANY,
  ANY_TEXT,
  and,
  charClass,
  concat,
  EMPTY,
  either,
  GrammarError,
  literal,
  NOTHING,
  not,
  optional,
  type Regex,
  repeat,
} from "#grammar";
import { Analyses } from "../../test/analyses.ts";
import { Automaton } from "./index.ts";

const encoder = new TextEncoder();

const analyses = new Analyses();
const matches = (regex: Regex, text: string | Uint8Array): boolean => analyses.matches(regex, text);

/** Number of states that are reachable, at most `limit`. */
function countStates(regex: Regex, limit = 5000): number {
  const automaton = new Automaton();
  const states = new Set([automaton.intern(regex)]);
  for (const state of states) {
    for (const byte of automaton.classes(state).representatives) states.add(automaton.derive(state, byte));
    if (states.size > limit) break;
  }
  return states.size;
}

/** Same as a pattern of JavaScript. */
function toPattern(regex: Regex): string {
  switch (regex.type) {
    case "literal":
      return regex.text;
    case "class":
      return `[${regex.ranges.map(([first, last]) => `\\u{${first.toString(16)}}-\\u{${last.toString(16)}}`).join("")}]`;
    case "concat":
      return `(?:${regex.parts.map(toPattern).join("")})`;
    case "either":
      return regex.options.length === 0 ? "[]" : `(?:${regex.options.map(toPattern).join("|")})`;
    case "repeat":
      return `(?:${toPattern(regex.of)}){${regex.min},${regex.max ?? ""}}`;
    default:
      throw new Error(`no pattern for ${regex.type}`);
  }
}

const LETTERS = ["a", "b", "é", "😀"];

const plain: fc.Arbitrary<Regex> = fc.letrec<{ regex: Regex }>((tie) => ({
  regex: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    fc.constantFrom(EMPTY, NOTHING, ANY),
    fc.array(fc.constantFrom(...LETTERS), { maxLength: 3 }).map((letters) => literal(letters.join(""))),
    fc.constantFrom(
      charClass("ab"),
      charClass("bé"),
      charClass("éé", "😀😀"),
      charClass("a", [0x80, 0xffff]),
    ),
    fc.array(tie("regex"), { maxLength: 3 }).map((parts) => concat(...parts)),
    fc.array(tie("regex"), { maxLength: 4 }).map((options) => either(...options)),
    fc
      .tuple(tie("regex"), fc.nat(3), fc.option(fc.nat(3)))
      .map(([of, min, more]) => repeat(of, min, more === null ? null : min + more)),
  ),
})).regex;

const text = fc.array(fc.constantFrom(...LETTERS), { maxLength: 6 }).map((letters) => letters.join(""));

describe("derivatives", () => {
  test("agree with the expressions of JavaScript", () => {
    fc.assert(
      fc.property(plain, fc.array(text, { minLength: 5, maxLength: 5 }), (regex, texts) => {
        const pattern = new RegExp(`^${toPattern(regex)}$`, "u");
        for (const one of texts)
          expect(matches(regex, one), `${pattern} on "${one}"`).toBe(pattern.test(one));
      }),
      { numRuns: 300 },
    );
  });

  test("intersect and complement", () => {
    fc.assert(
      fc.property(plain, plain, text, (one, other, sample) => {
        const [a, b] = [matches(one, sample), matches(other, sample)];
        expect(matches(and(one, other), sample)).toBe(a && b);
        expect(matches(not(one), sample)).toBe(!a);
        expect(matches(and(one, not(other)), sample)).toBe(a && !b);
        expect(matches(either(not(one), other), sample)).toBe(!a || b);
        expect(matches(concat(not(one), other), sample)).toBe(
          splits(sample).some(([left, right]) => !matches(one, left) && matches(other, right)),
        );
      }),
      { numRuns: 100 },
    );
  });

  test("do not split code points, and leave out surrogates", () => {
    expect(matches(ANY, Uint8Array.of(0xc3, 0xa9))).toBe(true);
    expect(matches(ANY, Uint8Array.of(0xc3))).toBe(false);
    expect(matches(ANY, Uint8Array.of(0xed, 0xa0, 0x80))).toBe(false);
    expect(matches(ANY, Uint8Array.of(0xc0, 0x80))).toBe(false);
    expect(matches(ANY, Uint8Array.of(0xf4, 0x90, 0x80, 0x80))).toBe(false);
    const points = [0, 0x7f, 0x80, 0x7ff, 0x800, 0xd7ff, 0xe000, 0xffff, 0x10000, 0x10ffff];
    for (const point of points) {
      for (const range of [
        [point, point],
        [0, point],
        [point, 0x10ffff],
      ] as const) {
        for (const other of points) {
          const isIn = other >= range[0] && other <= range[1];
          expect(matches(charClass(range), String.fromCodePoint(other))).toBe(isIn);
        }
      }
    }
  });

  test("take bytes that are no UTF-8", () => {
    expect(matches(concat({ type: "bytes", bytes: [0xff] }, literal("a")), Uint8Array.of(0xff, 0x61))).toBe(
      true,
    );
  });
});

const splits = (sample: string): readonly [Uint8Array, Uint8Array][] => {
  const bytes = encoder.encode(sample);
  return Array.from({ length: bytes.length + 1 }, (_, at) => [bytes.subarray(0, at), bytes.subarray(at)]);
};

describe("emptiness", () => {
  const isNothing = (regex: Regex): boolean => {
    const automaton = new Automaton();
    return automaton.isNothing(automaton.intern(regex));
  };
  const letters = charClass("az");

  test("is found for intersections and complements", () => {
    expect(isNothing(NOTHING)).toBe(true);
    expect(isNothing(EMPTY)).toBe(false);
    expect(isNothing(and(literal("ab"), literal("ac")))).toBe(true);
    expect(isNothing(and(repeat(literal("ab")), repeat(literal("aba"), 1)))).toBe(true);
    expect(isNothing(and(repeat(literal("ab"), 1), repeat(literal("abab"), 1)))).toBe(false);
    expect(isNothing(and(ANY_TEXT, not(ANY_TEXT)))).toBe(true);
    expect(isNothing(and(repeat(letters, 1), not(repeat(charClass("ax"), 1))))).toBe(false);
    expect(isNothing(and(repeat(charClass("ax")), not(repeat(letters))))).toBe(true);
    expect(isNothing(not(repeat(charClass([0, 0x10ffff]))))).toBe(false);
    expect(isNothing(concat(and(literal("a"), repeat(literal("aa"))), ANY_TEXT))).toBe(true);
    expect(isNothing(not(not(concat(literal("a"), NOTHING))))).toBe(true);
  });

  test("compares counts of code points without a search", () => {
    const long = concat(ANY_TEXT, repeat(letters, 1_000_000), ANY_TEXT);
    expect(isNothing(and(long, repeat(ANY, 0, 999_999)))).toBe(true);
    expect(isNothing(and(repeat(ANY, 5, 1e15), repeat(ANY, 0, 4)))).toBe(true);
  });

  test("agrees with De Morgan's laws", () => {
    fc.assert(
      fc.property(plain, plain, (one, other) => {
        const left = not(and(one, other));
        const right = either(not(one), not(other));
        expect(isNothing(and(left, not(right)))).toBe(true);
        expect(isNothing(and(right, not(left)))).toBe(true);
        const union = not(and(not(one), not(other)));
        expect(isNothing(and(union, not(either(one, other))))).toBe(true);
        expect(isNothing(and(either(one, other), not(union)))).toBe(true);
      }),
      { numRuns: 100 },
    );
  });
});

describe("size", () => {
  const letters = charClass("az");

  test("is small where counts are large", () => {
    expect(matches(repeat(literal("a"), 0, 1_000_000_000), "aaa")).toBe(true);
    expect(matches(repeat(literal("a"), 1_000_000_000), "aaa")).toBe(false);
    expect(countStates(repeat(ANY, 0, 100))).toBeLessThan(1000);
    const nested = repeat(repeat(repeat(literal("a"), 1, 100), 1, 100), 1, 100);
    expect(matches(nested, "a".repeat(500))).toBe(true);
    expect(countStates(nested, 100)).toBeGreaterThan(100);
  });

  test("is small for ambiguous expressions", () => {
    const a = literal("a");
    expect(countStates(repeat(either(a, a)))).toBe(2);
    expect(countStates(repeat(repeat(a)))).toBe(2);
    expect(countStates(repeat(repeat(either(a, repeat(a)))))).toBe(2);
    expect(countStates(concat(repeat(optional(a), 30, 30), repeat(a, 30, 30)))).toBe(62);
    const counted = concat(repeat(letters, 1, 1000), repeat(ANY), repeat(letters, 1, 1000));
    expect(countStates(counted)).toBeLessThan(5000);
  });

  test("stays at one state after a search has succeeded", () => {
    const automaton = new Automaton();
    const everything = automaton.intern(ANY_TEXT);
    let node = automaton.intern(
      concat(ANY_TEXT, either(literal("foo"), concat(literal("b"), letters)), ANY_TEXT),
    );
    for (const byte of encoder.encode("xfob-bz")) node = automaton.derive(node, byte);
    expect(node).toBe(everything);
  });

  test("of many words is that of a trie", () => {
    const words = Array.from({ length: 1000 }, (_, index) => literal(`word number ${index}`));
    const begin = process.cpuUsage();
    expect(matches(either(...words), "word number 17")).toBe(true);
    expect(matches(either(...words), "word number 1000")).toBe(false);
    expect(process.cpuUsage(begin).user / 1000).toBeLessThan(5000);
    expect(matches(either(concat(literal("ab"), letters), literal("abc"), literal("a"), EMPTY), "abz")).toBe(
      true,
    );
  });

  test("has no limit of depth", () => {
    let deep: Regex = literal("a");
    for (let level = 0; level < 5000; level++) deep = concat(either(deep, literal("b")), literal("c"));
    expect(matches(deep, "acc")).toBe(false);
    let left: Regex = literal("a");
    for (let level = 0; level < 5000; level++) left = concat(left, charClass("ab"));
    expect(matches(left, "aaa")).toBe(false);
  });

  test("has a limit of nodes", () => {
    const automaton = new Automaton({ nodes: 1000 });
    const start = automaton.intern(
      concat(repeat(charClass("ab")), literal("a"), repeat(charClass("ab"), 500, 500)),
    );
    const run = (): void => {
      let node = start;
      for (let step = 0; step < 5000; step++) node = automaton.derive(node, step % 3 === 0 ? 0x61 : 0x62);
    };
    expect(run).toThrow(GrammarError);
    expect(run).toThrow("a regular expression needs more than 1000 states");
    expect(automaton.derive(start, 0x63)).toBe(0);
  });
});
