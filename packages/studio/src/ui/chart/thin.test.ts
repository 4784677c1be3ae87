import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Aligned } from "./align.ts";
import { thinned, toLevels } from "./thin.ts";

const column = fc.array(fc.option(fc.double({ min: -9, max: 9, noNaN: true }), { freq: 8 }), {
  minLength: 1,
  maxLength: 300,
});

describe("thinned", () => {
  test("keeps the extremes of each bucket, and both ends", () => {
    const x = [0, 1, 2, 3, 4, 5, 6, 7, 8];
    const y = [1, 1, 5, 0, 1, 1, 2, 1, 1];
    expect(thinned(x, [y], 2)).toEqual([0, 2, 3, 4, 6, 8]);
  });

  test("keeps every column's extremes", () => {
    expect(
      thinned(
        [0, 1, 2, 3],
        [
          [0, 0, 9, 0],
          [0, -9, 0, 0],
        ],
        1,
      ),
    ).toEqual([0, 1, 2, 3]);
  });

  test("has few rows, in order, among them the extremes of the whole", () => {
    fc.assert(
      fc.property(column, fc.integer({ min: 1, max: 20 }), (y, buckets) => {
        const kept = thinned(
          y.map((_, index) => 10 * index),
          [y],
          buckets,
        );
        expect(kept.length).toBeLessThanOrEqual(2 * buckets + 2);
        expect(kept).toEqual([...new Set(kept)].sort((one, other) => one - other));
        const values = y.filter((value) => value !== null);
        const drawn = kept.map((index) => y[index]).filter((value) => value != null);
        if (values.length === 0) return;
        expect(Math.min(...drawn)).toBe(Math.min(...values));
        expect(Math.max(...drawn)).toBe(Math.max(...values));
      }),
    );
  });

  test("of nothing is nothing, and points at one x are one bucket", () => {
    expect(thinned([], [[]], 5)).toEqual([]);
    expect(thinned([3, 3, 3], [[2, 1, 4]], 5)).toEqual([0, 1, 2]);
  });
});

describe("toLevels", () => {
  const x = Array.from({ length: 20_000 }, (_, index) => index);
  const noise = x.map((at) => Math.sin(at * at));
  const sparse = x.map((at) => (at % 1000 === 7 ? at : undefined));
  const levels = toLevels([x, noise, sparse]);

  test("has few points for a wide range, and all for a narrow one", () => {
    const whole = levels.at({ min: 0, max: 19_999 }, 1000);
    expect(whole[0].length).toBeLessThan(2100);
    expect(levels.at({ min: 500, max: 600 }, 1000)[0]).toBe(x);
  });

  test("keeps single points and what is drawn of the rest: its extremes in every pixel", () => {
    const [at, drawn = [], points = []] = levels.at({ min: 0, max: 19_999 }, 1000);
    expect(points.filter((value) => value !== undefined)).toHaveLength(20);
    for (let bucket = 0; bucket < 512; bucket += 50) {
      const from = (bucket * 19_999) / 512;
      const within = (place: number) => place >= from && place < from + 19_999 / 512;
      const seen = drawn.filter((value, row) => within(at[row]!) && value != null) as number[];
      const all = noise.filter((_, place) => within(place));
      expect([Math.min(...seen), Math.max(...seen)]).toEqual([Math.min(...all), Math.max(...all)]);
    }
  });

  test("leaves short data as it is", () => {
    const data: Aligned = [
      [1, 2, 3],
      [4, null, undefined],
    ];
    expect(toLevels(data).at({ min: 1, max: 3 }, 10)).toBe(data);
  });
});
