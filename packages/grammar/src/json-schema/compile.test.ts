import { describe, expect, test } from "vitest";
import { GrammarError } from "#grammar";
import { Recognizer } from "../../test/recognize.ts";
import { compileSchema } from "./compile.ts";

interface Case {
  readonly name: string;
  readonly schema: unknown;
  readonly allowed: readonly string[];
  readonly refused: readonly string[];
}

const CASES: readonly Case[] = [
  {
    name: "any JSON",
    schema: {},
    allowed: ["1", "-2.5e10", '{"a": [1, 2, "x"]}', "{}", "[ 1 , 2 ]", '"\\ud83d\\ude00"', "null"],
    refused: ["tru", '"\\ud800"', '{"a":1,}', "01", "1.", ""],
  },
  {
    name: "members in the order of the schema, then others",
    schema: {
      type: "object",
      properties: { a: { type: "string" }, b: { type: "integer" } },
      required: ["b"],
    },
    allowed: ['{"b":1}', '{"a":"x", "b": 2}', '{"b":2,"c":null,"d":[]}'],
    refused: ["{}", '{"a":"x"}', '{"b":1,"a":"x"}', '{"b":1,"\\u0061":1}', '{"b":1.5}'],
  },
  {
    name: "closed objects",
    schema: { type: "object", properties: { a: {}, b: {} }, additionalProperties: false, minProperties: 1 },
    allowed: ['{"a":1}', '{"b":[]}', '{"a":1,"b":2}'],
    refused: ["{}", '{"c":1}', '{"a":1,"c":2}'],
  },
  {
    name: "items by number",
    schema: { type: "array", items: { type: "number" }, minItems: 2, maxItems: 4 },
    allowed: ["[1,2]", "[1, 2.5, 3e5, -4]"],
    refused: ["[1]", "[1,2,3,4,5]", '[1,"x"]', "[1,]"],
  },
  {
    name: "bounds of integers",
    schema: { type: "integer", minimum: -5, maximum: 120 },
    allowed: ["-5", "-1", "0", "9", "99", "120"],
    refused: ["-6", "121", "1000", "-50", "01", "1.5"],
  },
  {
    name: "bounds of decimals",
    schema: { type: "number", exclusiveMinimum: 0.25, maximum: 10.5 },
    allowed: ["0.2500001", "0.3", "1", "10.5", "10.50", "9.99"],
    refused: ["0.25", "0.250", "10.51", "11", "0", "-1", "100"],
  },
  {
    name: "bounds beyond doubles",
    schema: { type: "integer", maximum: 2 ** 63, minimum: 2 ** 63 - 5000 },
    allowed: ["9223372036854775807"],
    refused: ["9223372036854775808", "9223372036854775807.0"],
  },
  {
    name: "enum",
    schema: { enum: [1, "a", null, true, { x: 1 }, [1, 2]] },
    allowed: ["1", '"a"', "null", "true", '{"x":1}', "[1, 2]"],
    refused: ["2", '"b"', "false", "{}", "[1]"],
  },
  {
    name: "recursion by $ref",
    schema: {
      anyOf: [{ type: "string", maxLength: 3 }, { $ref: "#/$defs/node" }],
      $defs: {
        node: {
          type: "object",
          properties: { next: { $ref: "#" } },
          required: ["next"],
          additionalProperties: false,
        },
      },
    },
    allowed: ['"abc"', '"\\n\u{1F600}\\\\"', '{"next":{"next":"ab"}}'],
    refused: ['"abcd"', '{"next":1}', "{}"],
  },
];

describe("schemas allow what they describe", () => {
  test.each(CASES)("$name", ({ schema, allowed, refused }) => {
    const recognizer = new Recognizer(compileSchema(schema));
    expect(allowed.filter((text) => !recognizer.accepts(text))).toEqual([]);
    expect(refused.filter((text) => recognizer.accepts(text))).toEqual([]);
  });
});

const refusal = (schema: unknown): Partial<GrammarError> => {
  try {
    compileSchema(schema);
  } catch (error) {
    if (error instanceof GrammarError)
      return { code: error.code, pointer: error.pointer, keyword: error.keyword };
    throw error;
  }
  return {};
};

const range = (length: number): readonly number[] => Array.from({ length }, (_, index) => index);
const nest = (levels: number, around: (inner: unknown) => unknown): unknown =>
  range(levels).reduce<unknown>(around, { type: "string" });

/** Schemas by which others have made servers hang or crash. */
const HOSTILE: Readonly<Record<string, unknown>> = {
  "oneOf, 2 to the power of 20": nest(20, (inner) => ({
    oneOf: [inner, { type: "object", properties: { a: inner } }],
  })),
  "allOf of anyOf": {
    allOf: range(30).map((i) => ({ anyOf: [{ required: [`a${i}`] }, { required: [`b${i}`] }] })),
  },
  "deep objects": nest(1000, (inner) => ({ type: "object", properties: { a: inner } })),
  "deep arrays": nest(1000, (items) => ({ type: "array", items })),
  "deep allOf": nest(5000, (inner) => ({ allOf: [inner] })),
  "deep not": nest(5000, (inner) => ({ not: inner })),
  "deep const": { const: nest(5000, (inner) => [inner]) },
  "long chain of references": {
    $ref: "#/$defs/d0",
    $defs: Object.fromEntries(
      range(1000).map((i) => [`d${i}`, i === 999 ? { type: "string" } : { $ref: `#/$defs/d${i + 1}` }]),
    ),
  },
  "large counts": { type: ["string", "array", "object"], maxLength: 1e9, minItems: 1e9, minProperties: 1e9 },
  "patterns of names": { patternProperties: Object.fromEntries(range(150).map((i) => [`a.*${i}`, {}])) },
  "long pattern": { pattern: "a".repeat(100_000) },
  "repeats of repeats": { pattern: "^((a{1,1000}){1,1000}){1,1000}$" },
  dependencies: {
    dependentRequired: Object.fromEntries(range(30).map((i) => [`k${i}`, [`x${i}`, `y${i}`]])),
  },
};

test.each(Object.entries(HOSTILE))("%s: an answer or an error of this package", (_, schema) => {
  try {
    // less than by default, which some would take whole
    expect(compileSchema(schema, { limits: { time: 300 } }).rules.length).toBeGreaterThan(0);
  } catch (error) {
    expect(error).toBeInstanceOf(GrammarError);
  }
});

test("OpenAI's limits are within ours", () => {
  const properties = Object.fromEntries(range(5000).map((i) => [`name${i}`, { type: "string" }]));
  const strict = {
    type: "object",
    properties,
    required: Object.keys(properties),
    additionalProperties: false,
  };
  const limits = { time: 60_000 };
  expect(compileSchema(strict, { limits }).lexemes.length).toBeGreaterThan(5000);
  // every member optional: rules grow with the number of members, not with its square
  expect(compileSchema({ type: "object", properties }, { limits }).rules.length).toBeLessThan(11_000);
  expect(compileSchema({ enum: range(1000).map((i) => `value ${i}`) }, { limits }).lexemes).toHaveLength(1);
});

test("errors name the place and the keyword", () => {
  const inside = (schema: unknown): unknown => ({ properties: { "a/b": schema } });
  const pointer = "/properties/a~1b";
  expect(refusal(inside({ $ref: "https://example.com/x" }))).toEqual({
    code: "unsupported",
    pointer,
    keyword: "$ref",
  });
  expect(refusal(inside({ divisibleBy: 2 }))).toEqual({
    code: "unsupported",
    pointer,
    keyword: "divisibleBy",
  });
  expect(refusal(inside({ format: "colour" }))).toEqual({ code: "unsupported", pointer, keyword: "format" });
  expect(refusal(inside({ minLength: "1" }))).toEqual({ code: "bad_grammar", pointer, keyword: "minLength" });
  expect(refusal(inside({ type: "text" }))).toEqual({ code: "bad_grammar", pointer, keyword: "type" });
  expect(refusal({ allOf: [{ $ref: "#" }] })).toEqual({ code: "bad_grammar", pointer: "", keyword: "$ref" });
  expect(refusal(false)).toEqual({ code: "bad_grammar", pointer: "", keyword: undefined });
});
