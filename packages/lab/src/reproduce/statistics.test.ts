// The expected numbers are scipy's and numpy's (scipy 1.17, numpy 2.4): stats.ttest_rel(a, b), numpy.std(a, ddof=1),
// and for Holm numpy.minimum(1, numpy.maximum.accumulate((m - numpy.arange(m)) * numpy.sort(p))).
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { holm, median, pairedTest, summarize } from "./statistics.ts";

const ours = [0.7712, 0.7498, 0.7633, 0.7581, 0.7655];
const theirs = [0.7801, 0.7612, 0.764, 0.7699, 0.7702];
const paired = (a: readonly number[], b: readonly number[]) => a.map((x, i) => [x, b[i]!] as const);

describe("paired t test", () => {
  test("five seeds", () => {
    const found = pairedTest(paired(ours, theirs))!;
    expect(found.pairs).toBe(5);
    expect(found.difference).toBeCloseTo(-0.0075, 12);
    expect(found.t).toBeCloseTo(-3.5406518798582565, 9);
    expect(found.p).toBeCloseTo(0.023999343750157637, 9);
    expect(found.effect).toBeCloseTo(-1.583427657605096, 9);
  });

  test("two seeds", () => {
    const found = pairedTest(paired([1, 2], [1.5, 2.1]))!;
    expect(found.t).toBeCloseTo(-1.5, 12);
    expect(found.p).toBeCloseTo(0.3743340836219975, 9);
  });

  test("a difference far beyond chance keeps its digits", () => {
    const found = pairedTest(
      paired([10.1, 10.2, 10.15, 10.12, 10.18, 10.11, 10.16], [1.1, 1.15, 1.22, 1.09, 1.3, 1.0, 1.21]),
    )!;
    expect(found.t).toBeCloseTo(303.21948051579585, 6);
    expect(found.p / 8.68333952980932e-14).toBeCloseTo(1, 6);
  });

  test.each([
    ["no pair", []],
    ["one pair", [[1, 2]]],
    ["equal differences", paired([0.1, 0.2, 0.3], [0.2, 0.3, 0.4])],
  ] as const)("%s: not available", (_, pairs) => {
    expect(pairedTest(pairs)).toBeUndefined();
  });

  test("is antisymmetric", () => {
    const numbers = fc.array(fc.integer({ min: -1000, max: 1000 }), { minLength: 6, maxLength: 6 });
    fc.assert(
      fc.property(numbers, numbers, (a, b) => {
        const [one, other] = [pairedTest(paired(a, b)), pairedTest(paired(b, a))];
        if (one === undefined) return expect(other).toBeUndefined();
        expect(other!.p).toBeCloseTo(one.p, 12);
        expect(other!.t).toBeCloseTo(-one.t, 9);
        expect(one.p).toBeGreaterThanOrEqual(0);
        expect(one.p).toBeLessThanOrEqual(1);
      }),
      {
        numRuns: 50,
        // a mean difference of exactly 0
        examples: [
          [
            [7, 793, 877, -720, -31, -310],
            [-326, 999, -704, -510, 180, 977],
          ],
        ],
      },
    );
  });
});

test("Holm's adjustment keeps the order given and is monotone in p", () => {
  const found = holm([0.01, 0.04, 0.03, 0.005, 0.6]);
  const expected = [0.04, 0.09, 0.09, 0.025, 0.6];
  for (const [i, p] of expected.entries()) expect(found[i]).toBeCloseTo(p, 12);
  expect(holm([0.7, 0.8])).toEqual([1, 1]);
  expect(holm([])).toEqual([]);
});

test("mean and sample standard deviation", () => {
  const found = summarize(ours)!;
  expect(found.count).toBe(5);
  expect(found.mean).toBeCloseTo(0.76158, 12);
  expect(found.deviation).toBeCloseTo(0.008089313938771308, 12);
  expect(summarize([3])).toEqual({ count: 1, mean: 3, deviation: undefined });
  expect(summarize([])).toBeUndefined();
});

test("median", () => {
  expect(median(ours)).toBe(0.7633);
  expect(median([4, 1, 3, 2])).toBe(2.5);
  expect(median([])).toBeNaN();
});
