import fc from "fast-check";
import { expect, test } from "vitest";
import { inSchemaOrder } from "./argument-order.ts";

const schema = {
  type: "object",
  properties: {
    b: { type: "number" },
    a: { anyOf: [{ type: "null" }, { $ref: "#/$defs/point" }] },
    list: { type: "array", items: { $ref: "#/$defs/point" } },
  },
  required: ["c"],
  $defs: { point: { type: "object", properties: { y: {}, x: {}, next: { $ref: "#/$defs/point" } } } },
};

test("keys stand as the schema lists them, those that it requires next, others last; numbers keep their spelling", () => {
  expect(
    inSchemaOrder('{"z":1.0, "c" : "{\\"}", "\\u0061":{"x":1e2,"y":[]},"b":-12345678901234567890}', schema),
  ).toBe('{"b": -12345678901234567890, "a": {"y": [], "x": 1e2}, "c": "{\\"}", "z": 1.0}');
  expect(inSchemaOrder('{"list":[{"next":{"x":1,"y":2},"x":true,"y":null}],"a":null}', schema)).toBe(
    '{"a": null, "list": [{"y": null, "x": true, "next": {"y": 2, "x": 1}}]}',
  );
});

test("a schema that only refers to itself changes nothing", () => {
  const loop = { $ref: "#/$defs/a", $defs: { a: { $ref: "#/$defs/a" } } };
  expect(inSchemaOrder('{"b": {"d": 1, "c": 2}}', loop)).toBe('{"b": {"d": 1, "c": 2}}');
  expect(inSchemaOrder('{"b": 1, "a": 2}', { $ref: "#/%zz" })).toBe('{"b": 1, "a": 2}');
});

test("any JSON stays what it was", () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (value) => {
      for (const given of [undefined, true, schema])
        expect(JSON.parse(inSchemaOrder(JSON.stringify(value, null, 1), given))).toEqual(
          JSON.parse(JSON.stringify(value)),
        );
    }),
  );
});
