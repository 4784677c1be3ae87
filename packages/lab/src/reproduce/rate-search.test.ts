import { describe, expect, test } from "vitest";
import { findBest, findRateSteps, nextRates, type TriedRate } from "./rate-search.ts";

/** Runs a search to its end: the rates in the order in which they were tried. */
function search(coarse: readonly number[], lossAt: (rate: number) => number): readonly TriedRate[] {
  const tried = coarse.map((learningRate) => ({ learningRate, loss: lossAt(learningRate) }));
  for (let next = nextRates(tried, coarse); next.length > 0; next = nextRates(tried, coarse)) {
    tried.push(...next.map((learningRate) => ({ learningRate, loss: lossAt(learningRate) })));
    if (tried.length > 100) throw new Error("the search does not end");
  }
  return tried;
}

const valley = (best: number) => (rate: number) => Math.log(rate / best) ** 2;
const listRates = (tried: readonly TriedRate[]) => tried.map(({ learningRate }) => learningRate);

/** The ratios of the best rate to its neighbours. */
function gaps(tried: readonly TriedRate[]): readonly number[] {
  const rates = [...listRates(tried)].sort((a, b) => a - b);
  const at = rates.indexOf(findBest(tried)?.learningRate ?? Number.NaN);
  return [rates[at]! / rates[at - 1]!, rates[at + 1]! / rates[at]!];
}

describe("a search", () => {
  test.each([0.0011, 0.0019, 0.0042, 0.01, 0.017, 0.029, 0.07, 0.2])(
    "ends with neighbours within a factor of 1.5 of the best rate, here near %d",
    (best) => {
      const tried = search([1e-3, 3e-3, 1e-2, 3e-2, 1e-1], valley(best));
      for (const gap of gaps(tried)) {
        expect(gap).toBeGreaterThan(1);
        expect(gap).toBeLessThanOrEqual(1.5 * 1.011);
      }
      // on such a valley the best rate tried is at most half a step away
      expect(Math.abs(Math.log(findBest(tried)!.learningRate / best))).toBeLessThanOrEqual(
        Math.log(1.51) / 2,
      );
    },
  );

  test("adds nothing to a grid that is fine enough", () => {
    expect(listRates(search([0.01, 0.015, 0.0225], valley(0.015)))).toEqual([0.01, 0.015, 0.0225]);
  });

  test("refines next to the best rate only, and follows it", () => {
    const tried = search([1e-3, 1e-2, 1e-1], valley(0.018));
    expect(listRates(tried).slice(0, 5)).toEqual([1e-3, 1e-2, 1e-1, 0.00681, 0.0147]);
    expect(listRates(tried)).toEqual([1e-3, 1e-2, 1e-1, 0.00681, 0.0147, 0.0216, 0.0317]);
  });

  test("extends the grid by a coarse step where the best rate is at an end", () => {
    expect(listRates(search([0.01, 0.03], valley(0.002))).slice(0, 4)).toEqual([
      0.01, 0.03, 0.00333, 0.00111,
    ]);
    expect(listRates(search([0.01, 0.03], valley(0.2))).slice(0, 4)).toEqual([0.01, 0.03, 0.09, 0.27]);
  });

  test("ends within a bounded range, at most at 10, where the loss keeps falling", () => {
    expect(Math.max(...listRates(search([0.01, 0.03], (rate) => -rate)))).toBeLessThanOrEqual(3.04);
    expect(Math.max(...listRates(search([1, 3], (rate) => -rate)))).toBe(10);
    expect(Math.min(...listRates(search([0.01, 0.03], (rate) => rate)))).toBeGreaterThanOrEqual(0.99e-4);
  });

  test("tries lower rates where all diverge", () => {
    const tried = search([0.1, 0.3], (rate) => (rate < 0.02 ? valley(0.01)(rate) : Number.POSITIVE_INFINITY));
    expect(findBest(tried)?.learningRate).toBeCloseTo(0.0111, 3);
    expect(findBest(search([0.1, 0.3], () => Number.POSITIVE_INFINITY))).toBeUndefined();
  });
});

describe("a step", () => {
  const tried = [
    { learningRate: 0.02, loss: 1.25 },
    { learningRate: 0.01, loss: 1 },
    { learningRate: 0.005, loss: 1.5 },
    { learningRate: 0.001, loss: 9 },
  ];
  test("has the size of the smaller difference to its neighbours, in any order", () => {
    expect(findRateSteps(tried)).toEqual({
      below: { learningRate: 0.005, change: 0.5 },
      above: { learningRate: 0.02, change: 0.25 },
      change: 0.5,
    });
  });

  test("to a rate that diverged, or without a neighbour, has no size", () => {
    const diverged = [...tried.slice(1), { learningRate: 0.02, loss: Number.POSITIVE_INFINITY }];
    expect(findRateSteps(diverged)).toMatchObject({
      above: { change: Number.POSITIVE_INFINITY },
      change: 0.5,
    });
    expect(findRateSteps(tried.slice(0, 2))).toMatchObject({ below: undefined, change: 0.25 });
    expect(findRateSteps(tried.slice(1, 2))).toMatchObject({ change: undefined });
    expect(findRateSteps([])).toBeUndefined();
  });
});
