import fc from "fast-check";
import { expect, test } from "vitest";
import { CompiledGrammar, GrammarError, type GrammarSource, grammarFromSource } from "../src/index.ts";
import { vocabularyOf } from "./vocabularies.ts";

const vocabulary = vocabularyOf(["a", "b", "(", ")"]);
/** A grammar that is not regular. */
const NESTED = 'start: "(" start? ")"';
const PATTERNS = ["a*", "[ab]+", "b?a", "(?:ab)*", "a{1,2}", "[ab]*b", "a|ab|aba"];

type Ends = ReadonlySet<number>;
const join = (starts: Ends, next: (start: number) => Ends): Ends =>
  new Set([...starts].flatMap((start) => [...next(start)]));
const all = (text: string, start: number): readonly number[] =>
  Array.from({ length: text.length - start + 1 }, (_, i) => start + i);

/** Where a part of a text that begins at `start` may end, by trying all ways. */
function ends(source: GrammarSource, text: string, start: number): Ends {
  const fits = (isPart: (part: string) => boolean): Ends =>
    new Set(all(text, start).filter((end) => isPart(text.slice(start, end))));
  switch (source.type) {
    case "text":
      return fits((part) => part === source.text);
    case "choice":
      return fits((part) => source.choices.includes(part));
    case "regex":
      return fits((part) => new RegExp(`^(?:${source.pattern})$`, "u").test(part));
    case "lark":
      return fits(
        (part) => part !== "" && part === "(".repeat(part.length / 2) + ")".repeat(part.length / 2),
      );
    case "sequence":
      return source.parts.reduce<Ends>(
        (starts, part) => join(starts, (at) => ends(part, text, at)),
        new Set([start]),
      );
    case "any_of":
      return new Set(source.options.flatMap((option) => [...ends(option, text, start)]));
    case "repeat":
      return repeatEnds(source, text, start);
    default:
      throw new Error(source.type);
  }
}

function repeatEnds(
  { of, min, max = 9, separator }: Extract<GrammarSource, { type: "repeat" }>,
  text: string,
  start: number,
): Ends {
  let reached: Ends = new Set([start]);
  const found = new Set(min === 0 ? [start] : []);
  for (let count = 1; count <= max; count++) {
    const begin =
      separator === undefined || count === 1 ? reached : join(reached, (at) => ends(separator, text, at));
    reached = join(begin, (at) => ends(of, text, at));
    if (count >= min) for (const end of reached) found.add(end);
  }
  return found;
}

const word = fc.constantFrom("", "a", "b", "ab", "ba", "aa", "aba");
const { source } = fc.letrec<{ source: GrammarSource }>((tie) => ({
  source: fc.oneof(
    { maxDepth: 3, depthSize: "small" },
    fc.record({ type: fc.constant("text" as const), text: word }),
    fc.record({ type: fc.constant("lark" as const), text: fc.constant(NESTED) }),
    fc.record({ type: fc.constant("regex" as const), pattern: fc.constantFrom(...PATTERNS) }),
    fc.record({
      type: fc.constant("choice" as const),
      choices: fc.array(word, { minLength: 1, maxLength: 3 }),
    }),
    fc.record({
      type: fc.constant("sequence" as const),
      parts: fc.array(tie("source"), { maxLength: 3 }),
    }),
    fc.record({
      type: fc.constant("any_of" as const),
      options: fc.array(tie("source"), { minLength: 1, maxLength: 3 }),
    }),
    fc.record(
      {
        type: fc.constant("repeat" as const),
        of: tie("source"),
        min: fc.constantFrom(0, 1, 2),
        max: fc.constantFrom(2, 3),
        separator: tie("source"),
      },
      { requiredKeys: ["type", "of", "min"] },
    ),
  ) as fc.Arbitrary<GrammarSource>,
}));

/** All texts of at most so many letters. */
const texts = (length: number): readonly string[] =>
  length === 0
    ? [""]
    : ["", ...texts(length - 1).flatMap((rest) => ["a", "b", "(", ")"].map((one) => one + rest))];
const TEXTS = [...new Set(texts(5))];

function compile(from: GrammarSource): CompiledGrammar | undefined {
  try {
    return new CompiledGrammar(grammarFromSource(from), vocabulary);
  } catch (error) {
    if (error instanceof GrammarError) return undefined;
    throw error;
  }
}

function expectLaw(from: GrammarSource, compiled: CompiledGrammar): void {
  const allowed = TEXTS.filter((one) => {
    const matcher = compiled.matcher();
    return matcher.acceptBytes(Buffer.from(one)) && matcher.canEnd;
  });
  expect(allowed).toEqual(TEXTS.filter((one) => ends(from, one, 0).has(one.length)));
}

test("a source allows the texts that its parts allow side by side", () => {
  fc.assert(
    fc.property(source, (from) => {
      const compiled = compile(from);
      if (compiled === undefined) return;
      expectLaw(from, compiled);
    }),
    { seed: 3 },
  );
});

const nested = { type: "lark", text: NESTED } as const;
const text = (of: string) => ({ type: "text", text: of }) as const;
const mixed: GrammarSource = { type: "any_of", options: [text("aa"), nested, text("")] };

test.each<GrammarSource>([
  { type: "repeat", of: mixed, min: 0, separator: { type: "choice", choices: ["aba"] } },
  { type: "repeat", of: mixed, min: 2, separator: text("aba") },
  { type: "repeat", of: mixed, min: 0, max: 2, separator: text("aba") },
  { type: "repeat", of: { type: "regex", pattern: "[ab]*b" }, min: 0, separator: nested },
  { type: "sequence", parts: [text("a"), mixed, { type: "regex", pattern: "a*b" }, mixed] },
])("regular and other parts meet in %j", (from) => {
  expectLaw(from, new CompiledGrammar(grammarFromSource(from), vocabulary));
});
