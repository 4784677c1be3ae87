import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { JsonValues, spacedJson } from "./json-text.ts";

/** JSON text as a template prints it, by `tojson`. */
const printed = (json: string, texts: readonly string[] = []): string => {
  const values = new JsonValues([json, ...texts]);
  return values.restore(spacedJson(values.parseObject(json, "the arguments")));
};

describe("JSON through a template", () => {
  test.each([
    '{"a": 1.0, "b": [12345678901234567890, -0, 1E5, 0.10]}',
    '{"10": "x", "2": {"1": 1, "0": "1.0"}}',
    '{"a\\"1": "2\\\\", "1": "\\u0001"}',
    '{"\u{e0f7}": 1.0, "\u{e0f7}n1\u{e0f7}": "\u{e0f7}k"}',
  ])("%s stays as it is", (json) => {
    expect(printed(json)).toBe(json);
  });

  test("numbers are restored in JSON within JSON, and where they stand alone", () => {
    const values = new JsonValues([]);
    const given = values.parseObject('{"x": 1.0}', "the arguments");
    expect(values.restore(JSON.stringify(spacedJson(given)))).toBe('"{\\"x\\": 1.0}"');
    expect(values.restore(`x=${String(given["x"])};`)).toBe("x=1.0;");
  });

  test("any object stays as it is", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string({ unit: "grapheme" }), fc.jsonValue()), (value) => {
        const json = spacedJson(value);
        expect(JSON.parse(json)).toEqual(JSON.parse(JSON.stringify(value)));
        expect(printed(json)).toBe(json);
      }),
    );
  });

  test("nothing is an object without members; what is none is refused", () => {
    expect(printed(" ")).toBe("{}");
    for (const json of ["[]", "1.0", '"{}"', "null", '{"a": '])
      expect(() => printed(json)).toThrowError(/^the arguments are no JSON object: /);
  });

  test.each([
    ["a run of private characters", '{"a": 1.0}', "\u{e0f7}".repeat(300_000)],
    [
      "marks of many numbers",
      '{"a": 1.0}',
      Array.from({ length: 50_000 }, (_, i) => `\u{e0f7}${i}\u{e0f7}`).join(""),
    ],
    ["strings without an end", '"\\'.repeat(300_000), ""],
  ])("%s takes time in proportion to its length", (_, json, text) => {
    const before = process.cpuUsage();
    const values = new JsonValues([json, text]);
    if (text === "") expect(() => values.parseObject(json, "the arguments")).toThrow("no JSON object");
    else
      expect(values.restore(spacedJson(values.parseObject(json, "the arguments"))).length).toBe(json.length);
    expect(process.cpuUsage(before).user).toBeLessThan(1e6);
  });
});
