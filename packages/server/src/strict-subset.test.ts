import { expect, test } from "vitest";
import { checkStrict } from "./strict-subset.ts";

const object = (properties: Record<string, unknown>, fields: object = {}): object => ({
  type: "object",
  properties,
  required: Object.keys(properties),
  additionalProperties: false,
  ...fields,
});

test("schemas of the subset pass", () => {
  const schema = object(
    {
      name: { type: ["string", "null"], pattern: "^a" },
      when: { type: "string", format: "date-time" },
      list: { type: "array", items: { $ref: "#/$defs/node" }, maxItems: 3 },
      kind: { anyOf: [{ const: "x" }, { enum: ["y", "z"] }] },
    },
    { $defs: { node: object({ next: { anyOf: [{ $ref: "#/$defs/node" }, { type: "null" }] } }) } },
  );
  expect(checkStrict(schema)).toBeUndefined();
});

test.each([
  [
    { type: "array", items: {} },
    "schema must be a JSON Schema of 'type: \"object\"', got 'type: \"array\"'.",
  ],
  [{ anyOf: [object({})] }, "schema must be a JSON Schema of 'type: \"object\"', got 'anyOf'."],
  [
    { type: "object", properties: {} },
    "In context=(), 'additionalProperties' is required to be supplied and to be false.",
  ],
  [
    object({ x: { type: "object" } }),
    "In context=('properties', 'x'), 'additionalProperties' is required to be supplied and to be false.",
  ],
  [
    object({ x: object({ y: { type: "string" } }, { required: [] }) }),
    "In context=('properties', 'x'), 'required' is required to be supplied and to be an array including every key in properties. Missing 'y'.",
  ],
  [object({}, { required: ["z"] }), "In context=(), Extra required key 'z' supplied."],
  [object({ x: {} }), "In context=('properties', 'x'), schema must have a 'type' key."],
  [object({ x: { type: "array" } }), "In context=('properties', 'x'), array schema missing items."],
  [
    object({ x: { allOf: [{ type: "string" }] } }),
    "In context=('properties', 'x'), 'allOf' is not permitted.",
  ],
  [
    object({ x: { type: "string", format: "colour" } }),
    "In context=('properties', 'x', 'format'), 'colour' is not a valid format.",
  ],
  [
    object({ x: { enum: Array.from({ length: 1001 }, (_, index) => index) } }),
    "In context=(), schema has more than 1000 enum values.",
  ],
])("%j", (schema, message) => {
  expect(checkStrict(schema)?.message).toBe(message);
});

test("levels are counted, not recursion", () => {
  const nest = (levels: number): object => (levels === 0 ? object({}) : object({ a: nest(levels - 1) }));
  expect(checkStrict(nest(9))).toBeUndefined();
  expect(checkStrict(nest(10))?.message).toContain("nested more than 10 levels");
  let deep: object = object({});
  for (let level = 0; level < 20_000; level++) deep = object({ a: deep });
  expect(checkStrict(deep)?.message).toContain("nested more than 10 levels");
});
