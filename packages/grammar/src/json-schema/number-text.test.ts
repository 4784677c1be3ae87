import fc from "fast-check";
import { expect, test } from "vitest";
import { Budget, DEFAULT_LIMITS } from "./budget.ts";
import { compare, decimal, decimalOf, textOf } from "./decimal.ts";
import { Languages } from "./languages.ts";
import { rangeText } from "./number-text.ts";
import { ANY_NUMBER, type Bound, complementRange, includes, type NumberRange, normalize } from "./numbers.ts";

/** A decimal number with few digits, so that numbers meet the bounds. */
const anyDecimal = fc
  .record({ units: fc.integer({ min: -1200, max: 1200 }), scale: fc.integer({ min: 0, max: 3 }) })
  .map(({ units, scale }) => decimal(BigInt(units), scale));
const bound = fc.option(fc.record({ at: anyDecimal, isOpen: fc.boolean() }), { nil: undefined });
const step = fc
  .constantFrom(1, 2, 3, 4, 5, 6, 7, 9, 10, 12, 25, 100, 0.5, 0.1, 0.01, 0.25, 2.5)
  .map(decimalOf);
const anyRange: fc.Arbitrary<NumberRange> = fc.record({
  min: bound,
  max: bound,
  kind: fc.constantFrom("any" as const, "integer" as const, "fractional" as const),
  multiples: fc.array(step, { maxLength: 2 }),
  others: fc.array(step, { maxLength: 1 }),
});

test("the pattern of a range has its numbers", () => {
  const languages = new Languages(new Budget({ ...DEFAULT_LIMITS, time: 60_000 }));
  let described = 0;
  fc.assert(
    fc.property(anyRange, fc.array(anyDecimal, { minLength: 10, maxLength: 10 }), (given, values) => {
      const range = normalize(given);
      if (range === undefined) {
        expect(values.filter((value) => includes(given, value))).toEqual([]);
        return;
      }
      const regex = rangeText(range);
      if (regex === undefined) return;
      described++;
      for (const value of values) {
        const text = textOf(value);
        expect({ text, matches: languages.matches(regex, text) }).toEqual({
          text,
          matches: includes(range, value),
        });
        // other spellings need not be allowed, but must not be where the number is not
        for (const other of [`${text}.0`, `${text}0`, `${text}.50`, `-${text}`])
          if (/^-?(0|[1-9]\d*)(\.\d+)?$/.test(other) && languages.matches(regex, other))
            expect({ other, isIn: includes(range, decimalOf(Number(other))) }).toEqual({ other, isIn: true });
      }
    }),
    { numRuns: 50 },
  );
  expect(described).toBeGreaterThan(20);
});

test("a number is in a range or in its complement", () => {
  fc.assert(
    fc.property(anyRange, anyDecimal, (range, value) => {
      expect(complementRange(range).some((other) => includes(other, value))).toBe(!includes(range, value));
    }),
    { numRuns: 300 },
  );
});

test("numbers beside an open bound are told apart by doubles", () => {
  const languages = new Languages(new Budget({ ...DEFAULT_LIMITS, time: 60_000 }));
  const open = (at: number): Bound => ({ at: decimalOf(at), isOpen: true });
  const regex = rangeText({ ...ANY_NUMBER, max: open(10) });
  expect(regex && languages.matches(regex, "9.9999999999999")).toBe(true);
  expect(regex && languages.matches(regex, "9.99999999999999999999")).toBe(false);
});

test("decimals", () => {
  expect(textOf(decimalOf(1e21))).toBe("1000000000000000000000");
  expect(textOf(decimalOf(-1.5e-7))).toBe("-0.00000015");
  expect(compare(decimalOf(0.1), decimalOf(0.10001))).toBeLessThan(0);
  expect(textOf(decimalOf(-0))).toBe("0");
});
