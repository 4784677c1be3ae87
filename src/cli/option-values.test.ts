import { expect, test } from "vitest";
import { decimal, given, namesOf, unescaped, whole } from "./option-values.ts";

test("whole numbers", () => {
  expect(whole(1)("10_000")).toBe(10_000);
  for (const text of ["0", "-1", "1.5", "", "1e3", "0x10", "99999999999999999999"])
    expect(() => whole(1)(text), text).toThrowError("a whole number, 1 or more");
});

test("decimal numbers", () => {
  expect(decimal("5e-4")).toBe(0.0005);
  for (const text of ["", " ", "1,5", "NaN", "Infinity", "x"])
    expect(() => decimal(text), text).toThrowError("a number");
});

test("names with commas", () => {
  const parse = namesOf(["q_proj", "v_proj"]);
  expect(parse("q_proj, v_proj")).toEqual(["q_proj", "v_proj"]);
  for (const text of ["", "q_proj,,v_proj", ",", "w_proj"])
    expect(() => parse(text), text).toThrowError("one or more of q_proj");
});

test("backslash escapes, once", () => {
  expect(unescaped("a\\nb\\tc\\\\n")).toBe("a\nb\tc\\n");
});

test("given leaves out what is undefined only", () => {
  expect(given({ a: undefined, b: 0, c: false, d: "" })).toEqual({ b: 0, c: false, d: "" });
});
