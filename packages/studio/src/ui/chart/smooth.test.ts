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
const spans = fc.double({ min: 0.1, max: 100, noNaN: true });

describe("smoothed", () => {
  test("is the mean weighted by distance", () => {
    const half = 1 / Math.LN2; // a distance of 1 halves a weight
    expect(smoothed([0, 1, 3], [8, 2, 4], half)).toEqual([
      8,
      expect.closeTo((8 / 2 + 2) / 1.5, 12),
      expect.closeTo((8 / 8 + 2 / 4 + 4) / (1 / 8 + 1 / 4 + 1), 12),
    ]);
  });

  test("begins at the first value and keeps a constant", () => {
    expect(smoothed([5, 6, 9], [2, 2, 2], 50)).toEqual([2, 2, 2]);
  });

  test("leaves gaps as gaps, without a trace in what follows", () => {
    const withGap = smoothed([0, 1, 2, 3], [1, null, Number.NaN, 5], 2);
    expect(withGap.slice(1, 3)).toEqual([null, null]);
    expect([withGap[0], withGap[3]]).toEqual(smoothed([0, 3], [1, 5], 2));
  });

  test("stays between the least and the greatest value so far", () => {
    fc.assert(
      fc.property(curve, spans, ({ x, y }, span) => {
        smoothed(x, y, span).forEach((value, index) => {
          const seen = y.slice(0, index + 1);
          expect(value).toBeGreaterThanOrEqual(Math.min(...seen) - 1e-9);
          expect(value).toBeLessThanOrEqual(Math.max(...seen) + 1e-9);
        });
      }),
    );
  });

  test("depends on ratios of x to the span only", () => {
    fc.assert(
      fc.property(curve, spans, fc.double({ min: 0.5, max: 20, noNaN: true }), ({ x, y }, span, factor) => {
        const scaled = smoothed(
          x.map((at) => at * factor),
          y,
          span * factor,
        );
        smoothed(x, y, span).forEach((value, index) => {
          expect(scaled[index]).toBeCloseTo(value ?? Number.NaN, 6);
        });
      }),
    );
  });
});
