import { expect, test } from "vitest";
import { byteSize, decimal, given, namesOf, unescaped, whole } from "./option-values.ts";

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

test("sizes: bytes, or decimal and binary units", () => {
  const sizes = ["500", "10b", "2GB", "500 MB", "1TB", "64kb", "5GiB", "1.5GiB", "2TiB", "3 KiB", "4mib"];
  expect(sizes.map(byteSize(1))).toEqual([
    ...[500, 10, 2e9, 5e8, 1e12, 64e3],
    ...[5 * 2 ** 30, 1.5 * 2 ** 30, 2 ** 41, 3 * 2 ** 10, 4 * 2 ** 20],
  ]);
  expect(byteSize()("0")).toBe(0);
  for (const text of ["", "GB", "ib", "2 XB", "-1GB", "1e3MB", "5e9", "2  GB", "99999TB", "0GB", "0"])
    expect(() => byteSize(1)(text), text).toThrowError("a size of 1B or more, such as 500MB, 2GB or 1.5GiB");
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
