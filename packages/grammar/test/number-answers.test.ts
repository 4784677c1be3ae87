import { Ajv2020 } from "ajv/dist/2020.js";
import fc from "fast-check";
import { expect, test } from "vitest";
import { CompiledGrammar, GrammarError, grammarFromSource } from "../src/index.ts";
import { withExactMultiples } from "./exact-multiples.ts";
import { randomAnswer } from "./random-answer.ts";
import { bundledVocabulary } from "./vocabularies.ts";

const RUNS = process.env["MOS_TEST_RUNS"] === "all" ? 1000 : 50;

const vocabulary = bundledVocabulary();
const ajv = withExactMultiples(new Ajv2020({ strict: false, logger: false }));

/** Numbers with few digits, which meet each other, and some that JavaScript prints with an exponent. */
const number = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: -12, max: 12 }) },
  { weight: 4, arbitrary: fc.integer({ min: -2000, max: 2000 }).map((units) => units / 100) },
  fc.constantFrom(9.99, 0.1, 0.25, 100, 123456.789, 2 ** 53, 1e21, 1.5e-7, -0),
);
const numbers = fc.array(number, { minLength: 1, maxLength: 4 });

const KEYWORDS: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
  type: fc.constantFrom("number", "integer"),
  enum: numbers,
  const: number,
  minimum: number,
  maximum: number,
  exclusiveMinimum: number,
  exclusiveMaximum: number,
  multipleOf: fc.constantFrom(1, 2, 3, 7, 12, 100, 0.5, 0.25, 0.1, 0.01, 2.5),
  not: fc.oneof(
    fc.record({ enum: numbers }),
    fc.record({ const: number }),
    fc.record({ type: fc.constant("integer") }),
    fc.record({ multipleOf: fc.constantFrom(2, 5, 0.5) }),
    fc.record({ minimum: number }),
  ),
};

/** A keyword for numbers, or several: more than three rarely leave a number. */
const keywords: fc.Arbitrary<object> = fc
  .subarray(Object.keys(KEYWORDS), { minLength: 1, maxLength: 3 })
  .chain((names) => fc.record(Object.fromEntries(names.map((name) => [name, KEYWORDS[name] ?? number]))));

/** Narrow on purpose: bounds that are equal, or a hundredth apart. */
const narrow = fc
  .tuple(number, fc.constantFrom(0, 0.01, 0.25, 1), fc.boolean(), fc.boolean())
  .map(([least, width, isOpenBelow, isOpenAbove]) => ({
    type: "number",
    [isOpenBelow ? "exclusiveMinimum" : "minimum"]: least,
    [isOpenAbove ? "exclusiveMaximum" : "maximum"]: least + width,
  }));

const oneValue = fc.oneof(
  { weight: 6, arbitrary: keywords },
  { weight: 2, arbitrary: narrow },
  fc.record({ anyOf: fc.array(keywords, { minLength: 1, maxLength: 3 }) }),
  fc.record({ allOf: fc.array(keywords, { minLength: 1, maxLength: 3 }) }),
);

/** The value on top, as a member that may be left out, and as an item. */
const schemas = fc.tuple(fc.constantFrom("top", "member", "item"), oneValue).map(([place, value]) => {
  if (place === "top") return value;
  if (place === "item") return { type: "array", items: value, minItems: 1, maxItems: 3 };
  return { type: "object", properties: { v: value }, required: ["v"], additionalProperties: false };
});

test.each<object>([
  { enum: [1, 2, 3] },
  { const: 1 },
  { const: 9.99 },
  { enum: [0.5, 1.5] },
  { type: "number", enum: [0.25, 0.5] },
  { type: "number", minimum: 0.5, maximum: 0.5 },
])("%j has its numbers in one spelling", (schema) => {
  const validate = ajv.compile(schema);
  const source = { properties: { v: schema }, required: ["v"], additionalProperties: false };
  const compiled = new CompiledGrammar(
    grammarFromSource({ type: "json_schema", schema: source }),
    vocabulary,
  );
  for (const value of [0.25, 0.5, 1, 1.5, 2, 3, 9.99]) {
    const text = JSON.stringify({ v: value });
    const matcher = compiled.matcher();
    // each byte by a mask, which is what failed
    const isWritten = [...Buffer.from(text)].every((byte) => {
      matcher.mask();
      return matcher.acceptBytes(Uint8Array.of(byte));
    });
    expect({ value, isWritten }).toEqual({ value, isWritten: validate(value) });
    const more = compiled.matcher();
    expect(more.acceptBytes(Buffer.from(`{"v":${value.toFixed(4)}`))).toBe(false);
  }
});

test("numbers that JavaScript prints with an exponent are written so, or in plain digits", () => {
  const schema = { type: "array", items: { enum: [1e21, 1.5e-7] } } as const;
  const compiled = new CompiledGrammar(grammarFromSource({ type: "json_schema", schema }), vocabulary);
  for (const text of ["[1e+21,1.5e-7]", "[1000000000000000000000,0.00000015]"])
    expect(compiled.matcher().acceptBytes(Buffer.from(text)), text).toBe(true);
});

test("random answers to schemas of numbers end, and are valid", () => {
  const counts = { compiled: 0, answers: 0 };
  const property = (schema: object, seeds: readonly number[]): void => {
    let compiled: CompiledGrammar;
    try {
      const source = { type: "json_schema", schema } as const;
      compiled = new CompiledGrammar(grammarFromSource(source), vocabulary);
    } catch (error) {
      // no value is valid, or the multiples have no pattern
      if (error instanceof GrammarError) return;
      throw error;
    }
    counts.compiled++;
    const validate = ajv.compile(schema);
    for (const seed of seeds) {
      let state = seed;
      const random = (): number => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        return state / 2 ** 32;
      };
      const text = randomAnswer(compiled.matcher(), { vocabulary, random, budget: 12 });
      expect(text).toBeDefined();
      expect({ text, isValid: validate(JSON.parse(text ?? "")) }).toEqual({ text, isValid: true });
      counts.answers++;
    }
  };
  fc.assert(fc.property(schemas, fc.array(fc.nat(), { minLength: 3, maxLength: 3 }), property), {
    numRuns: RUNS,
    seed: 46,
  });
  expect(counts.compiled).toBeGreaterThan(0.6 * RUNS);
  expect(counts.answers).toBe(3 * counts.compiled);
});
