import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Grammar, GrammarError, type GrammarSymbol, type Regex } from "#grammar";
import { CompiledGrammar, type Matcher } from "#matcher";
import { NaiveMatcher, textsOf } from "./naive-matcher.ts";
import { vocabularyOf } from "./vocabularies.ts";

const letters = fc.constantFrom<Regex>(
  { type: "literal", text: "a" },
  { type: "literal", text: "b" },
  { type: "literal", text: "ab" },
  { type: "literal", text: "ba" },
  { type: "literal", text: "" },
  { type: "class", ranges: [[97, 98]] },
);

const { regex } = fc.letrec<{ regex: Regex }>((tie) => ({
  regex: fc.oneof(
    { maxDepth: 3, depthSize: "small" },
    { weight: 4, arbitrary: letters },
    {
      weight: 2,
      arbitrary: fc
        .array(tie("regex"), { maxLength: 2 })
        .map((parts) => ({ type: "concat", parts }) as const),
    },
    {
      weight: 2,
      arbitrary: fc
        .array(tie("regex"), { maxLength: 2 })
        .map((options) => ({ type: "either", options }) as const),
    },
    {
      weight: 2,
      arbitrary: fc
        .tuple(tie("regex"), fc.nat(1), fc.constantFrom(1, 2, null))
        .map(([of, min, max]) => ({ type: "repeat", of, min, max }) as const),
    },
    {
      weight: 1,
      arbitrary: fc
        .tuple(tie("regex"), tie("regex"))
        .map(([one, other]) => ({ type: "and", parts: [one, { type: "not", of: other }, AB] }) as const),
    },
  ),
}));

/** All texts of the letters of the naive matcher. */
const AB: Regex = { type: "repeat", of: { type: "class", ranges: [[97, 98]] }, min: 0, max: null };

const grammars = fc
  .record({
    lexemes: fc.array(fc.record({ regex, isLazy: fc.constantFrom(false, false, true) }), {
      minLength: 1,
      maxLength: 4,
    }),
    rules: fc.array(
      fc.array(fc.array(fc.record({ isRule: fc.boolean(), index: fc.nat(5) }), { maxLength: 3 }), {
        minLength: 1,
        maxLength: 3,
      }),
      { minLength: 1, maxLength: 4 },
    ),
    skip: fc.option(fc.nat(3), { nil: undefined, freq: 3 }),
  })
  .map(({ lexemes, rules, skip }): Grammar => {
    const symbol = ({ isRule, index }: { isRule: boolean; index: number }): GrammarSymbol =>
      isRule ? { rule: index % rules.length } : { lexeme: index % lexemes.length };
    return {
      lexemes: lexemes.map((lexeme, index) => ({ name: `L${index}`, ...lexeme })),
      rules: rules.map((alternatives, index) => ({
        name: `R${index}`,
        alternatives: alternatives.map((symbols) => symbols.map(symbol)),
      })),
      start: 0,
      ...(skip === undefined ? {} : { skip: skip % lexemes.length }),
    };
  })
  // lexemes with the same texts are one to the parser, so that the naive matcher would skip them differently
  .filter(({ lexemes }) => {
    const texts = lexemes.map((lexeme) => [...textsOf(lexeme.regex)].sort().join());
    return new Set(texts).size === texts.length;
  });

const TOKENS = ["a", "b", "aa", "ab", "ba", "bb", "aba", "bab", "abb", "aab"];
const END = TOKENS.length;
const vocabulary = vocabularyOf(TOKENS);

const IDS = Array.from({ length: END + 1 }, (_, id) => id);

const allowed = (matcher: Matcher): number[] => {
  const { words, count } = matcher.mask();
  const ids = IDS.filter((id) => isAllowed(words, id));
  expect(count).toBe(ids.length);
  return ids;
};

const isAllowed = (words: Uint32Array, id: number): boolean =>
  (((words[id >>> 5] ?? 0) >>> (id & 31)) & 1) === 1;

/** Compares what both allow here. Returns the tokens of text that are allowed. */
function compare(matcher: Matcher, naive: NaiveMatcher): number[] {
  const ids = allowed(matcher);
  const texts = TOKENS.flatMap((token, id) => (naive.allows(token) ? [id] : []));
  expect(matcher.canEnd).toBe(naive.canEnd);
  expect(ids).toEqual(naive.canEnd ? [...texts, END] : texts);
  expect(IDS.filter((id) => matcher.allows(id))).toEqual(ids);
  return texts;
}

describe("matcher, against sets of all texts", () => {
  it("has room for the last token of each vocabulary", () => {
    const a: Grammar = {
      lexemes: [{ name: "A", regex: { type: "literal", text: "a" } }],
      rules: [{ name: "S", alternatives: [[{ lexeme: 0 }]] }],
      start: 0,
    };
    for (let size = 30; size <= 70; size++) {
      const tokens = Array.from({ length: size }, (_, id) => (id === size - 1 ? "a" : `b${id}`));
      const { words, count } = new CompiledGrammar(a, vocabularyOf(tokens)).matcher().mask();
      expect([words.length, count]).toEqual([Math.ceil((size + 1) / 32), 1]);
      expect(isAllowed(words, size - 1)).toBe(true);
    }
  });

  it("allows the same tokens", () => {
    let compared = 0;
    const property = (grammar: Grammar, choices: readonly number[]): void => {
      const naive = new NaiveMatcher(grammar);
      if (!naive.isProductive) {
        expect(() => new CompiledGrammar(grammar, vocabulary)).toThrow(GrammarError);
        return;
      }
      const matcher = new CompiledGrammar(grammar, vocabulary).matcher();
      let length = 0;
      for (const choice of [...choices, 0]) {
        const ids = compare(matcher, naive);
        compared++;
        const id = ids[choice % ids.length];
        const text = TOKENS[id ?? -1] ?? "";
        length += text.length;
        if (id === undefined || length > 3) break;
        matcher.accept(id);
        naive.accept(text);
      }
    };
    fc.assert(fc.property(grammars, fc.array(fc.nat(1000), { maxLength: 4 }), property), {
      seed: 34,
      numRuns: 250,
    });
    expect(compared).toBeGreaterThan(250);
  });
});
