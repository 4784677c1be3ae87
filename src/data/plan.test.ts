import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { randomStream } from "#core";
import { epochOrder, type PlanOptions, packExamples, planEpoch } from "./plan.ts";

const base: PlanOptions = { epoch: 0, seed: 0, batchSize: 4, maxLength: 64, packing: true };
const upTo = (n: number) => Array.from({ length: n }, (_, i) => i);
const ascending = (items: readonly number[]) => [...items].sort((a, b) => a - b);
const lengthsUpTo64 = fc.array(fc.integer({ min: 1, max: 64 }), { maxLength: 300 });

describe("planEpoch", () => {
  test("visits every example once, in rows that are not too long and batches that are full but the last", () => {
    fc.assert(
      fc.property(
        lengthsUpTo64,
        fc.boolean(),
        fc.boolean(),
        fc.nat(5),
        (lengths, packing, shuffle, epoch) => {
          const plan = planEpoch(lengths, { ...base, packing, shuffle, epoch });
          expect(ascending(plan.flat(2))).toEqual(upTo(lengths.length));
          for (const row of plan.flat()) {
            const used = row.reduce((sum, i) => sum + lengths[i]!, 0);
            expect(used).toBeLessThanOrEqual(64);
            if (!packing) expect(row).toHaveLength(1);
          }
          for (const batch of plan.slice(0, -1)) expect(batch).toHaveLength(4);
        },
      ),
    );
  });

  const lengths = upTo(500).map((i) => 1 + ((i * 37) % 60));

  test.each([true, false])("depends on seed and epoch only (packed %s)", (packing) => {
    const plan = (seed: number, epoch: number) => planEpoch(lengths, { ...base, packing, seed, epoch });
    expect(plan(3, 1)).toEqual(plan(3, 1));
    expect(plan(3, 1)).not.toEqual(plan(3, 2));
    expect(plan(3, 1)).not.toEqual(plan(4, 1));
  });

  test("is a fixed plan for a fixed seed", () => {
    const options = { ...base, batchSize: 2, maxLength: 10 };
    expect(planEpoch([4, 6, 5, 5, 9, 1], { ...options, shuffle: false })).toEqual([
      [
        [4, 5],
        [1, 0],
      ],
      [[2, 3]],
    ]);
    expect(planEpoch([3, 2, 1], { ...options, packing: false, shuffle: false })).toEqual([[[0], [1]], [[2]]]);
  });

  test("rows come in no order of their length", () => {
    const rows = planEpoch(lengths, base).flat();
    const longest = rows.map((row) => Math.max(...row.map((i) => lengths[i]!)));
    const half = Math.floor(rows.length / 2);
    const mean = (part: readonly number[]) => part.reduce((sum, x) => sum + x, 0) / part.length;
    expect(Math.abs(mean(longest.slice(0, half)) - mean(longest.slice(half)))).toBeLessThan(8);
  });

  test("has no batches without examples", () => expect(planEpoch([], base)).toEqual([]));

  test.each([
    [{ batchSize: 0 }, /batchSize is 0; give a whole number from 1 up/],
    [{ maxLength: 1.5 }, /maxLength is 1.5/],
    [{ maxLength: 59 }, /an example has 60 tokens, but a row holds 59/],
    [{ maxLength: 59, packing: false }, /an example has 60 tokens, but a row holds 59/],
    [{ seed: -1 }, /seed -1 is invalid/],
  ])("refuses %j", (options, message) => {
    expect(() => planEpoch(lengths, { ...base, ...options })).toThrowError(message);
  });
});

describe("packExamples", () => {
  test("holds its laws for any window", () => {
    fc.assert(
      fc.property(lengthsUpTo64, fc.integer({ min: 1, max: 50 }), (lengths, window) => {
        const rows = packExamples(lengths, { maxLength: 64, window });
        expect(ascending(rows.flat())).toEqual(upTo(lengths.length));
        for (const row of rows) expect(row.reduce((sum, i) => sum + lengths[i]!, 0)).toBeLessThanOrEqual(64);
      }),
    );
  });

  test("fills more than 95 % where examples are short against a row", () => {
    const random = randomStream(0, "lengths");
    const lengths = upTo(4000).map(() => 60 + random.below(240));
    const rows = packExamples(lengths, { maxLength: 512 });
    const fill = lengths.reduce((sum, length) => sum + length, 0) / (rows.length * 512);
    expect(fill).toBeGreaterThan(0.95);
  });
});

test("epochOrder is a permutation of its own for each epoch", () => {
  const order = (epoch: number) => Array.from(epochOrder(50, { seed: 1, epoch }));
  expect(ascending(order(0))).toEqual(upTo(50));
  expect(order(0)).toEqual(order(0));
  expect(order(0)).not.toEqual(order(1));
});
