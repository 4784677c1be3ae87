import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isWhole, panned, type Range, zoomed } from "./range.ts";

const bounds: Range = { min: 0, max: 1000 };
const ranges = fc
  .tuple(fc.integer({ min: 0, max: 900 }), fc.integer({ min: 50, max: 1000 }))
  .map(([min, width]) => ({ min, max: Math.min(1000, min + width) }));

describe("ranges", () => {
  test("a panned range keeps its width and stays within the bounds", () => {
    fc.assert(
      fc.property(ranges, fc.integer({ min: -3000, max: 3000 }), (range, by) => {
        const moved = panned(range, by, bounds);
        expect(moved.max - moved.min).toBe(range.max - range.min);
        expect(moved.min).toBeGreaterThanOrEqual(0);
        expect(moved.max).toBeLessThanOrEqual(1000);
      }),
    );
  });

  test("zooming in and out about a value returns to the range", () => {
    const range = { min: 200, max: 600 };
    const near = zoomed(range, { at: 300, factor: 0.5 }, bounds);
    expect(near).toEqual({ min: 250, max: 450 });
    expect(zoomed(near, { at: 300, factor: 2 }, bounds)).toEqual(range);
  });

  test("a zoomed range ends at the bounds and at a thousandth of them", () => {
    expect(zoomed({ min: 10, max: 600 }, { at: 300, factor: 9 }, bounds)).toEqual(bounds);
    const least = { min: 5, max: 6 };
    expect(zoomed(least, { at: 5, factor: 0.5 }, bounds)).toBe(least);
  });

  test("the whole is what leaves nothing out", () => {
    expect(isWhole(bounds, bounds)).toBe(true);
    expect(isWhole({ min: 0, max: 999 }, bounds)).toBe(false);
  });
});
