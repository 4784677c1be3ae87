import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  ANY_TEXT,
  and,
  charClass,
  concat,
  either,
  type Grammar,
  GrammarError,
  type GrammarSymbol,
  type Lexeme,
  literal,
  not,
  type Regex,
  repeat,
  specialTokenBytes,
} from "#grammar";
import { CompiledGrammar, type Matcher } from "#matcher";
import { bundledVocabulary, vocabularyOf } from "./vocabularies.ts";

const encoder = new TextEncoder();
const bundled = bundledVocabulary();

/** A grammar by names: capital letters are rules, all else are lexemes. */
function grammarOf(
  lexemes: Readonly<Record<string, Regex | Omit<Lexeme, "name">>>,
  rules: Readonly<Record<string, readonly string[]>>,
  skip?: string,
): Grammar {
  const lexemeNames = Object.keys(lexemes);
  const ruleNames = Object.keys(rules);
  const symbol = (name: string): GrammarSymbol =>
    ruleNames.includes(name) ? { rule: ruleNames.indexOf(name) } : { lexeme: lexemeNames.indexOf(name) };
  return {
    lexemes: Object.entries(lexemes).map(([name, lexeme]) =>
      "regex" in lexeme ? { name, ...lexeme } : { name, regex: lexeme },
    ),
    rules: Object.entries(rules).map(([name, alternatives]) => ({
      name,
      alternatives: alternatives.map((text) =>
        text
          .split(" ")
          .filter((word) => word !== "")
          .map(symbol),
      ),
    })),
    start: 0,
    ...(skip === undefined ? {} : { skip: lexemeNames.indexOf(skip) }),
  };
}

const digit = charClass("09");
const string = concat(
  literal('"'),
  repeat(
    either(
      charClass([0x20, 0x21], [0x23, 0x5b], [0x5d, 0x7e], [0x80, 0x10ffff]),
      concat(literal("\\"), either(charClass('"', "\\", "/", "b", "f", "n", "r", "t"))),
    ),
  ),
  literal('"'),
);

/** JSON, with white space of at most four characters anywhere. */
const json = grammarOf(
  {
    string,
    number: concat(
      repeat(literal("-"), 0, 1),
      either(literal("0"), concat(charClass("19"), repeat(digit, 0, 15))),
    ),
    word: either(literal("true"), literal("false"), literal("null")),
    "{": literal("{"),
    "}": literal("}"),
    "[": literal("["),
    "]": literal("]"),
    ",": literal(","),
    ":": literal(":"),
    space: repeat(charClass(" ", "\n"), 1, 4),
  },
  {
    VALUE: ["string", "number", "word", "{ }", "{ MEMBERS }", "[ ]", "[ ITEMS ]"],
    MEMBERS: ["MEMBER", "MEMBER , MEMBERS"],
    MEMBER: ["string : VALUE"],
    ITEMS: ["VALUE", "VALUE , ITEMS"],
  },
  "space",
);

const allowedBy = (matcher: Matcher, size: number): number[] => {
  const { words, count } = matcher.mask();
  const ids = Array.from({ length: size }, (_, id) => id).filter(
    (id) => (((words[id >>> 5] ?? 0) >>> (id & 31)) & 1) === 1,
  );
  expect(ids).toHaveLength(count);
  return ids;
};

const accepts = (grammar: Grammar, text: string): boolean => {
  const matcher = new CompiledGrammar(grammar, bundled).matcher();
  return matcher.acceptBytes(encoder.encode(text)) && matcher.canEnd;
};

describe("matcher", () => {
  it("follows JSON", () => {
    for (const text of ['{"a": [1, -2, true], "b": {}}', '"é\\n"', " \n[ ]", "null   "])
      expect(accepts(json, text), text).toBe(true);
    for (const text of ["{", '{"a"}', "[1 2]", "01", "[1,]", "null     ", '"\\x"', ""])
      expect(accepts(json, text), text).toBe(false);
  });

  it("masks what it allows, and takes back what it accepted", () => {
    const compiled = new CompiledGrammar(json, bundled);
    fc.assert(
      fc.property(fc.array(fc.nat(100_000), { maxLength: 12 }), fc.nat(12), (choices, back) => {
        const matcher = compiled.matcher();
        const masks: number[][] = [];
        const taken: number[] = [];
        for (const choice of choices) {
          const ids = allowedBy(matcher, bundled.size);
          masks.push(ids);
          const id = ids[choice % ids.length] ?? 0;
          if (bundled.endTokens.includes(id)) break;
          matcher.accept(id);
          taken.push(id);
        }
        const ids = allowedBy(matcher, bundled.size);
        const byOne = Array.from({ length: bundled.size }, (_, id) => id).filter((id) => matcher.allows(id));
        expect(ids).toEqual(byOne);
        const whole = compiled.matcher();
        expect(whole.acceptBytes(Buffer.concat(taken.map((id) => bundled.bytesOf(id))))).toBe(true);
        expect(allowedBy(whole, bundled.size)).toEqual(ids);
        const steps = Math.min(back, taken.length);
        matcher.rollback(steps);
        expect(allowedBy(matcher, bundled.size)).toEqual([...masks, ids][taken.length - steps]);
      }),
      { seed: 34, numRuns: 40 },
    );
  });

  it("ends every text that it begins, if it is told to hurry", () => {
    const compiled = new CompiledGrammar(json, bundled);
    const closing = new Set(['"', "}", "]", "1", ":", "0"].map((text) => encoder.encode(text)[0]));
    fc.assert(
      fc.property(fc.array(fc.nat(100_000), { maxLength: 30 }), (choices) => {
        const matcher = compiled.matcher();
        for (const choice of choices) {
          const ids = allowedBy(matcher, bundled.size).filter((id) => !bundled.endTokens.includes(id));
          if (ids.length === 0) break;
          matcher.accept(ids[choice % ids.length] ?? 0);
        }
        for (let step = 0; step < 200 && !matcher.canEnd; step++) {
          const ids = allowedBy(matcher, bundled.size);
          const [first = 0] = ids;
          const short = ids.find(
            (id) => bundled.bytesOf(id).length === 1 && closing.has(bundled.bytesOf(id)[0]),
          );
          matcher.accept(short ?? first);
        }
        expect(matcher.canEnd).toBe(true);
      }),
      { seed: 34, numRuns: 40 },
    );
  });

  it("refuses a token with its text, and stays as it was", () => {
    const matcher = new CompiledGrammar(json, vocabularyOf(["{", "}", "x"])).matcher();
    matcher.accept(0);
    expect(() => matcher.accept(2)).toThrow('The grammar does not allow token 2 ("x") here.');
    expect(() => matcher.accept(3)).toThrow("does not allow token 3");
    expect(matcher.canEnd).toBe(false);
    matcher.accept(1);
    expect(matcher.canEnd).toBe(true);
    expect(matcher.mustEnd).toBe(false);
    matcher.accept(3);
    expect(matcher.mustEnd).toBe(true);
    expect(matcher.mask().count).toBe(0);
    expect(() => matcher.accept(3)).toThrow("after the end of the text");
    matcher.rollback(1);
    expect(matcher.allows(3)).toBe(true);
    expect(() => matcher.rollback(3)).toThrow(RangeError);
  });

  it("puts characters together from tokens of their bytes", () => {
    const grammar = grammarOf({ "é€😀": charClass("é", "€", "😀") }, { S: ["é€😀 S", ""] });
    const bytes = [0xc3, 0xa9, 0xe2, 0x82, 0xac, 0xf0, 0x9f, 0x98, 0x80];
    const vocabulary = vocabularyOf(bytes.map((byte) => Uint8Array.of(byte)));
    const matcher = new CompiledGrammar(grammar, vocabulary).matcher();
    const steps: number[][] = [];
    for (let id = 0; id < bytes.length; id++) {
      steps.push(allowedBy(matcher, vocabulary.size));
      matcher.accept(id);
    }
    const starts = [0, 2, 5, 9];
    expect(steps).toEqual([starts, [1], starts, [3], [4], starts, [6], [7], [8]]);
    expect(matcher.canEnd).toBe(true);
  });

  it("allows special tokens by name only", () => {
    const special: Regex = { type: "bytes", bytes: [...specialTokenBytes("<call>")] };
    const grammar = grammarOf({ text: ANY_TEXT, call: special }, { S: ["text call text"] });
    const vocabulary = vocabularyOf(["<call>", "x", "<", "call>"], ["<call>", "<other>", "<end>"]);
    const matcher = new CompiledGrammar(grammar, vocabulary).matcher();
    expect(allowedBy(matcher, vocabulary.size)).toEqual([0, 1, 2, 3, 4]);
    for (const id of [0, 2, 3]) matcher.accept(id);
    expect(matcher.canEnd).toBe(false);
    matcher.accept(4);
    expect(allowedBy(matcher, vocabulary.size)).toEqual([0, 1, 2, 3, 6]);
    // an end token that the grammar names is both
    const ends = vocabularyOf(["x"], ["<call>"]);
    const both = new CompiledGrammar(grammarOf({ call: special }, { S: ["call S", ""] }), ends).matcher();
    both.accept(1);
    expect(both.mustEnd).toBe(false);
    expect(both.mask().count).toBe(1);
  });

  it("takes blanks that are stripped as nothing", () => {
    const vocabulary = vocabularyOf([" ", "  ", " a", "  a", "a", "   a"]);
    const compiled = new CompiledGrammar(grammarOf({ a: literal("a") }, { S: ["a"] }), vocabulary);
    const after = (strippedBlanks: number, ...ids: number[]) => {
      const matcher = compiled.matcher({ strippedBlanks });
      for (const id of ids) matcher.accept(id);
      const allowed = allowedBy(matcher, vocabulary.size);
      expect(Array.from({ length: 7 }, (_, id) => id).filter((id) => matcher.allows(id))).toEqual(allowed);
      return allowed;
    };
    expect(after(0)).toEqual([4]);
    expect(after(1)).toEqual([0, 2, 4]);
    expect(after(2)).toEqual([0, 1, 2, 3, 4]);
    expect(after(1, 0)).toEqual([4]);
    expect(after(2, 0)).toEqual([0, 2, 4]);
    expect(after(2, 3)).toEqual([6]);
  });

  it("knows the bytes that must come, and when nothing can", () => {
    const grammar = grammarOf(
      { open: literal('{"name":'), number: repeat(digit, 2, 2), close: literal("}") },
      { S: ["open number close"] },
    );
    const matcher = new CompiledGrammar(grammar, bundled).matcher();
    const forced = () => new TextDecoder().decode(matcher.forcedBytes());
    expect(forced()).toBe('{"name":');
    expect(matcher.acceptBytes(encoder.encode('{"name":4'))).toBe(true);
    expect(forced()).toBe("");
    expect(matcher.acceptBytes(encoder.encode("2"))).toBe(true);
    expect(forced()).toBe("}");
    expect(matcher.mustEnd).toBe(false);
    expect(matcher.acceptBytes(encoder.encode("x"))).toBe(false);
    expect(matcher.acceptBytes(encoder.encode("}"))).toBe(true);
    expect(matcher.mustEnd).toBe(true);
    expect(allowedBy(matcher, bundled.size)).toEqual(bundled.endTokens);
  });

  it.each<[string, Regex]>([
    [
      "a string of at most seven characters",
      concat(literal('"'), repeat(charClass([0x20, 0x21], [0x23, 0x10ffff]), 0, 7), literal('"')),
    ],
    ["text of at most five characters", repeat(charClass([0x20, 0x10ffff]), 2, 5)],
    ["words", concat(literal('"'), repeat(charClass("az", " "), 3, 30), literal('"'))],
    [
      "all names but some",
      concat(
        literal('"'),
        and(repeat(charClass([0x20, 0x21], [0x23, 0x10ffff])), not(either(literal("the"), literal("and")))),
        literal('"'),
      ),
    ],
    ["any text before a mark", concat(repeat(charClass([0x20, 0x3b], [0x3d, 0x10ffff])), literal("<"))],
  ])("masks %s, and what comes after it", (_, regex) => {
    const other = charClass("AZ", ",");
    // a small cache is forgotten all the time
    const grammar = grammarOf(
      { regex, other, lazy: { regex: literal(",,"), isLazy: true } },
      { S: ["regex T"], T: ["other T", "lazy regex", ""] },
    );
    const [compiled, forgetful] = [
      new CompiledGrammar(grammar, bundled),
      new CompiledGrammar(grammar, bundled, { cacheBytes: 2000 }),
    ];
    fc.assert(
      fc.property(fc.array(fc.nat(100_000), { maxLength: 10 }), (choices) => {
        const matcher = compiled.matcher();
        const other = forgetful.matcher();
        for (const choice of choices) {
          const ids = allowedBy(matcher, bundled.size);
          expect(allowedBy(other, bundled.size)).toEqual(ids);
          const byOne = Array.from({ length: bundled.size }, (_, id) => id).filter((id) =>
            matcher.allows(id),
          );
          expect(ids).toEqual(byOne);
          const id = ids[choice % ids.length];
          if (id === undefined || bundled.endTokens.includes(id)) break;
          matcher.accept(id);
          other.accept(id);
        }
      }),
      { seed: 34, numRuns: 12 },
    );
  });

  it("stops at a limit where a grammar is too ambiguous", () => {
    const ambiguous = grammarOf({ a: literal("a") }, { S: ["S S", "a"] });
    const matcher = new CompiledGrammar(ambiguous, bundled, { rowItems: 500 }).matcher();
    const refusal = () => {
      for (let index = 0; index < 1000; index++) matcher.acceptBytes(encoder.encode("a"));
    };
    expect(refusal).toThrow("The grammar is too ambiguous: there are more than 500 ways");
    matcher.rollback(10);
    expect(matcher.canEnd).toBe(true);
  });

  it("begins anew where nodes have become many, so that its life has no limit", () => {
    const text = concat(literal('"'), repeat(charClass("az"), 0, 100_000), literal('"'));
    const compiled = new CompiledGrammar(grammarOf({ text }, { S: ["text"] }), bundled, {
      nodes: 5000,
      cacheBytes: 100_000,
    });
    for (let index = 0; index < 10; index++) {
      const matcher = compiled.matcher();
      expect(matcher.acceptBytes(encoder.encode(`"${"x".repeat(1000)}`))).toBe(true);
      expect(matcher.mask().count).toBeGreaterThan(0);
    }
    expect(() => compiled.matcher().acceptBytes(encoder.encode(`"${"x".repeat(10_000)}`))).toThrow(
      GrammarError,
    );
  });

  it("goes on with a new automaton in the middle of a text", () => {
    const letters = repeat(charClass("ac"), 0, 100_000);
    const quoted = (text: Regex): Regex => concat(literal('"'), text, literal('"'));
    const grammar = grammarOf(
      { text: quoted(and(letters, not(literal("abc")))), other: quoted(repeat(literal("ab"), 1, 90_000)) },
      { S: ["text S", "other"] },
    );
    const few = new CompiledGrammar(grammar, bundled, { cacheBytes: 400_000 });
    const many = new CompiledGrammar(grammar, bundled);
    const [one, other, paused] = [few.matcher(), many.matcher(), few.matcher()];
    paused.acceptBytes(encoder.encode('"ab'));
    const stop = (): boolean => true;
    expect(paused.attempt(stop, () => paused.mask())).toBeUndefined();
    const accept = (text: string): void => {
      const bytes = encoder.encode(text);
      expect(one.acceptBytes(bytes)).toBe(true);
      other.acceptBytes(bytes);
      expect(one.mask()).toEqual(other.mask());
    };
    accept('"');
    for (let step = 0; step < 600; step++) {
      accept(step === 300 ? '""' : "abab");
      if (step % 100 !== 99) continue;
      one.rollback(60);
      other.rollback(60);
      expect(one.mask()).toEqual(other.mask());
    }
    expect(few.bytes).toBeLessThan(many.bytes / 2);
    const begun = many.matcher();
    begun.acceptBytes(encoder.encode('"ab'));
    expect(paused.mask()).toEqual(begun.mask());
    expect(paused.acceptBytes(encoder.encode('c"'))).toBe(false);
  });

  it("ends a lazy lexeme at its first match", () => {
    const until = { regex: concat(ANY_TEXT, literal("</a>")), isLazy: true };
    const grammar = grammarOf({ until, b: literal("b") }, { S: ["until b"] });
    expect(accepts(grammar, "x</a>b")).toBe(true);
    expect(accepts(grammar, "x</a>x</a>b")).toBe(false);
  });

  it("takes the same work for each element of a long list", () => {
    const compiled = new CompiledGrammar(json, bundled);
    for (const item of ["1,", "[", '{"a":']) {
      const matcher = compiled.matcher();
      matcher.acceptBytes(encoder.encode("["));
      for (let index = 0; index < 3000; index++) {
        expect(matcher.acceptBytes(encoder.encode(item))).toBe(true);
      }
      matcher.mask();
      // some hundred bytes for each element, not a share of all elements before it
      expect(matcher.bytes).toBeLessThan(3000 * 1000);
    }
  });
});
