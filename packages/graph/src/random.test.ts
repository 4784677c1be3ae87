import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { randomFromState, randomStream } from "./random.ts";

const take = <T>(count: number, draw: () => T): readonly T[] => Array.from({ length: count }, draw);

describe("a stream never changes between versions", () => {
  // Saved adapters and resumed runs depend on these numbers. A change here breaks them.
  test("integers", () => {
    const random = randomStream(0, "q_proj.I_a");
    expect(take(4, random.uint32)).toEqual([3984109321, 1258092155, 2616184595, 2251932367]);
    expect(random.uniform()).toBe(0.9339274556904119);
    expect(random.normal()).toBeCloseTo(2.373788628607305, 12);
    expect(random.below(10)).toBe(8);
    expect([...random.permutation(8)]).toEqual([2, 5, 7, 3, 4, 0, 1, 6]);
    expect(random.state).toEqual([2581298664, 2172659710, 1462629218, 792578227]);
  });

  test("a seed above 32 bits and a label beyond ASCII", () => {
    expect(take(2, randomStream(2 ** 40 + 5, "ü").uint32)).toEqual([4110818220, 1023616462]);
  });

  test("xoshiro128** from the state that its implementations test with", () => {
    expect(take(4, randomFromState([1, 2, 3, 4]).uint32)).toEqual([11520, 0, 5927040, 70819200]);
  });
});

test("seed and label, all of both, choose the stream", () => {
  const first = (seed: number, label: string): string => take(4, randomStream(seed, label).uint32).join();
  expect(first(1, "a")).toBe(first(1, "a"));
  const streams = [
    first(0, ""),
    first(0, "a"),
    first(0, "b"),
    first(1, "a"),
    first(2 ** 32, "a"),
    first(2 ** 32 + 1, "a"),
    first(Number.MAX_SAFE_INTEGER, "a"),
  ];
  expect(new Set(streams).size).toBe(streams.length);
});

test.each([-1, 0.5, Number.NaN, 2 ** 53])("seed %d is refused", (seed) => {
  expect(() => randomStream(seed, "a")).toThrowError(
    expect.objectContaining({
      code: "bad_option",
      message: `seed ${seed} is invalid; give a whole number from 0 to 2⁵³ − 1`,
    }),
  );
});

test("a saved state resumes where it was", () => {
  fc.assert(
    fc.property(fc.nat(), fc.nat({ max: 20 }), (seed, skipped) => {
      const random = randomStream(seed, "resume");
      take(skipped, random.normal);
      const resumed = randomFromState(random.state);
      expect(take(5, resumed.normal)).toEqual(take(5, random.normal));
    }),
    { numRuns: 20 },
  );
});

describe("permutation", () => {
  test("has every number once", () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat({ max: 60 }), (seed, n) => {
        const order = randomStream(seed, "order").permutation(n);
        expect([...order].sort((a, b) => a - b)).toEqual(take(n, () => 0).map((_, i) => i));
      }),
      { numRuns: 30 },
    );
  });

  test("takes all orders equally often", () => {
    const random = randomStream(3, "orders");
    const counts = new Map<string, number>();
    for (let i = 0; i < 24_000; i++) {
      const order = random.permutation(4).join();
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    expect(counts.size).toBe(24);
    // chi² with 23 degrees of freedom is above 49.7 once in a thousand streams; this stream is fixed
    const squares = [...counts.values()].map((count) => (count - 1000) ** 2 / 1000);
    expect(squares.reduce((a, b) => a + b)).toBeLessThan(49.7);
  });
});

describe("below", () => {
  test("stays inside", () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 2 ** 32 }), (seed, limit) => {
        const x = randomStream(seed, "below").below(limit);
        expect(Number.isInteger(x) && x >= 0 && x < limit).toBe(true);
      }),
      { numRuns: 50 },
    );
  });

  test("has no modulo bias", () => {
    // of 2³² values, x mod 3·2³⁰ would fall below 2³⁰ half of the time; it should be a third
    const random = randomStream(0, "bias");
    const low = take(6000, () => random.below(3 * 2 ** 30)).filter((x) => x < 2 ** 30).length;
    expect(low / 6000).toBeGreaterThan(0.31);
    expect(low / 6000).toBeLessThan(0.36);
  });
});

test("uniform and normal have the right moments", () => {
  const random = randomStream(0, "moments");
  const mean = (xs: readonly number[]): number => xs.reduce((a, b) => a + b) / xs.length;
  const uniform = take(20_000, random.uniform);
  expect(Math.min(...uniform)).toBeGreaterThanOrEqual(0);
  expect(Math.max(...uniform)).toBeLessThan(1);
  expect(Math.abs(mean(uniform) - 0.5)).toBeLessThan(0.01);
  const normal = take(20_000, random.normal);
  expect(Math.abs(mean(normal))).toBeLessThan(0.03);
  expect(Math.abs(mean(normal.map((x) => x * x)) - 1)).toBeLessThan(0.05);
});
