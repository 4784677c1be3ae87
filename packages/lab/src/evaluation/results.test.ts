import fc from "fast-check";
import { expect, test } from "vitest";
import { markdownTable, percentDecimals, percentText, pointsText } from "./results.ts";

test("few questions are counted, more have a percentage in as many digits as they allow", () => {
  expect(percentText({ percent: 100 / 3, error: 33.3, questions: 3, right: 1 })).toBe("1 of 3");
  expect(percentText({ percent: 100 / 3, questions: 3 })).toBe("33");
  expect(percentText({ percent: 40, error: 6.999, questions: 50, right: 20 })).toBe("20 of 50 (40 ± 7)");
  expect(percentText({ percent: 0, error: 0, questions: 50, right: 0 })).toBe("0 of 50");
  expect(percentText({ percent: 43.5, error: 3.514, questions: 200, right: 87 })).toBe("43.5 ± 3.5");
  expect(percentText({ percent: 26.2828, error: 1.2125, questions: 1319, right: 347 })).toBe("26.28 ± 1.21");
  expect(percentText({ percent: 48.67, questions: 5077 })).toBe("48.67");
});

test("a difference has a sign, and none where it rounds to nothing", () => {
  expect(pointsText({ percent: 2.104, error: 1.02, questions: 1319 })).toBe("+2.10 ± 1.02");
  expect(pointsText({ percent: -2.1, error: 1.02, questions: 200 })).toBe("−2.1 ± 1.0");
  expect(pointsText({ percent: -0.04, error: 0.6, questions: 200 })).toBe("0.0 ± 0.6");
  expect(pointsText({ percent: 33.3, error: 20, questions: 3 })).toBe("+33");
});

test("one question more changes a percentage by at least a unit of its last digit, up to 10,000 questions", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 10_000 }), (questions) => {
      const unit = 10 ** -percentDecimals(questions);
      expect(100 / questions).toBeGreaterThanOrEqual(unit);
    }),
  );
});

test("a table in Markdown", () => {
  expect(
    markdownTable([
      ["", "a|b"],
      ["base", "1 of 3"],
    ]),
  ).toBe("|  | a\\|b |\n|---|---:|\n| base | 1 of 3 |");
});
