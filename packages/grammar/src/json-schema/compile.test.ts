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
