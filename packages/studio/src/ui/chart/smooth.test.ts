import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { smoothed } from "./smooth.ts";

const curve = fc
  .array(
    fc.tuple(fc.double({ min: 0.1, max: 10, noNaN: true }), fc.double({ min: -5, max: 5, noNaN: true })),
    {
      minLength: 1,
    },
  )
  .map((pairs) => {
    let at = 0;
    const x = pairs.map(([gap]) => (at += gap));
    return { x, y: pairs.map(([, value]) => value) };
  });
const widths = fc.double({ min: 0.1, max: 100, noNaN: true });
const steps = (count: number) => Array.from({ length: count }, (_, index) => index + 1);

describe("smoothed", () => {
  test("is a mean of means, as far ahead as behind", () => {
    expect(smoothed([0, 1, 2, 3, 4], [0, 0, 9, 0, 0], 4)).toEqual([0, 2, 3, 2, 0]);
    expect(smoothed([0, 1, 2], [3, 1, 2], 0)).toEqual([3, 1, 2]);
  });

  test("does not lag behind a curve that falls", () => {
    const x = steps(400);
    const line = x.map((at) => 5 - at / 100);
    smoothed(x, line, 64).forEach((value, index) => {
      expect(value).toBeCloseTo(line[index] ?? 0, 9);
    });
    // nor behind one that falls fast at first
    const loss = x.map((at) => 1 + 4 * Math.exp(-at / 40));
    smoothed(x, loss, 32).forEach((value, index) => {
      expect(Math.abs((value ?? 0) - (loss[index] ?? 0))).toBeLessThan(0.08);
    });
  });

  test("the past stays as it is while the run grows", () => {
    fc.assert(
      fc.property(curve, widths, fc.nat(), ({ x, y }, width, cut) => {
        const count = 1 + (cut % x.length);
        const before = smoothed(x.slice(0, count), y.slice(0, count), width);
        const after = smoothed(x, y, width);
        before.forEach((value, index) => {
          if (Number(x[count - 1]) - Number(x[index]) > width / 2 + 1e-6)
            expect(after[index]).toBeCloseTo(value ?? Number.NaN, 9);
        });
      }),
    );
  });

  test("leaves gaps as gaps, without a trace in what surrounds them", () => {
    const withGap = smoothed([0, 1, 2, 3], [1, null, Number.NaN, 5], 9);
    expect(withGap.slice(1, 3)).toEqual([null, null]);
    expect([withGap[0], withGap[3]]).toEqual(smoothed([0, 3], [1, 5], 9));
  });

  test("stays between the least and the greatest value, and keeps a constant", () => {
    expect(smoothed([5, 6, 9], [2, 2, 2], 50)).toEqual([2, 2, 2]);
    fc.assert(
      fc.property(curve, widths, ({ x, y }, width) => {
        for (const value of smoothed(x, y, width)) {
          expect(value).toBeGreaterThanOrEqual(Math.min(...y) - 1e-9);
          expect(value).toBeLessThanOrEqual(Math.max(...y) + 1e-9);
        }
      }),
    );
  });

  test("depends on ratios of x to the width only", () => {
    fc.assert(
      fc.property(curve, widths, fc.constantFrom(0.5, 2, 8), ({ x, y }, width, factor) => {
        const scaled = smoothed(
          x.map((at) => at * factor),
          y,
          width * factor,
        );
        expect(scaled).toEqual(smoothed(x, y, width));
      }),
    );
  });
});
