import fc from "fast-check";
import { expect, it } from "vitest";
import { Automaton } from "#automaton";
import { concat, either, type Grammar, literal, type Regex } from "#grammar";
import { prepareGrammar } from "./prepared-grammar.ts";

const grammarOf = (...regexes: readonly Regex[]): Grammar => ({
  lexemes: regexes.map((regex, i) => ({ name: `lexeme ${i}`, regex })),
  rules: [{ name: "start", alternatives: [regexes.map((_, lexeme) => ({ lexeme }))] }],
  start: 0,
});

const encoder = new TextEncoder();

it("unions of many texts match the same texts as lists of words", () => {
  // lone surrogates, of which two in a row would be one character, and what decoders leave out at the beginning
  const letter = fc.constantFrom("a", "b", "é", "😀", "\u{feff}", "\ud83d", "\ude00");
  const text = fc.array(letter, { maxLength: 5 }).map((letters) => letters.join(""));
  const property = (texts: readonly string[], others: readonly string[]) => {
    const regex = concat(literal("<"), either(...texts.map(literal), concat(literal("a"), literal("b"))));
    const { lexemes } = structuredClone(prepareGrammar(grammarOf(regex)));
    const [one, other] = [new Automaton(), new Automaton()];
    for (const tried of [...texts, ...others]) {
      const bytes = encoder.encode(`<${tried}`);
      expect(other.matches(lexemes[0]?.regex as Regex, bytes), JSON.stringify(tried)).toBe(
        one.matches(regex, bytes),
      );
    }
  };
  const many = fc.array(text, { minLength: 64, maxLength: 200 });
  fc.assert(fc.property(many, fc.array(text, { minLength: 20, maxLength: 20 }), property), { numRuns: 50 });
});

it("what lexemes share they share afterwards, and 50,000 texts are one value", () => {
  const shared = either(...Array.from({ length: 50_000 }, (_, i) => literal(`value ${i}`)));
  const { lexemes } = prepareGrammar(grammarOf(concat(literal("a"), shared), concat(literal("b"), shared)));
  const [one, other] = lexemes.map(({ regex }) => (regex.type === "concat" ? regex.parts[1] : undefined));
  expect(one).toBe(other);
  expect(one).toEqual({
    type: "either",
    options: [{ type: "words", text: expect.any(String), ends: expect.any(Array) }],
  });
});
