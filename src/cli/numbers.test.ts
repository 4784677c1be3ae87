import { expect, test } from "vitest";
import { formatBar, formatDuration, formatInteger, formatRate } from "./numbers.ts";

test.each([
  [0, "0.0 s"],
  [0.42, "0.42 s"],
  [9.94, "9.9 s"],
  [9.96, "10 s"],
  [59.6, "1 min 00 s"],
  [185, "3 min 05 s"],
  [3599.7, "1 h 00 min"],
  [7620, "2 h 07 min"],
  [86_399, "1 d 00 h"],
  [273_600, "3 d 04 h"],
  [-1, "?"],
  [Number.POSITIVE_INFINITY, "?"],
])("formatDuration(%d) is %s", (seconds, text) => expect(formatDuration(seconds)).toBe(text));

test("counts, rates and bars", () => {
  expect(formatInteger(4_815_162)).toBe("4,815,162");
  expect(formatRate(1240, "tokens")).toBe("1.24 k tokens/s");
  expect(formatRate(12.345, "tokens")).toBe("12.3 tokens/s");
  expect(formatRate(3e6, "bytes")).toBe("3.00 MB/s");
  expect(formatRate(Number.NaN, "tokens")).toBe("? tokens/s");
  expect(formatBar(0.5, 10)).toBe("#####-----");
  expect(formatBar(0.999, 10)).toBe("#########-");
  expect(formatBar(7, 4)).toBe("####");
  expect(formatBar(Number.NaN, 4)).toBe("----");
});
