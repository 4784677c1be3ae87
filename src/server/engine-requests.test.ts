import fc from "fast-check";
import { expect, test } from "vitest";
import { answersOf } from "./engine-requests.ts";

const seedsOf = (seed: number, n: number): number[] =>
  answersOf({
    prompt: { ids: [1] },
    maxTokens: 1,
    adapter: null,
    fields: { model: "base", n },
    seed,
    tenant: "t",
  }).map(({ seed: own = -1 }) => own);

test("every whole number is a seed, and answers of one request have seeds of their own", () => {
  expect(seedsOf(5, 3)).toEqual([5, 6, 7]);
  expect(seedsOf(-1, 2)).toEqual([Number.MAX_SAFE_INTEGER, 0]);
  fc.assert(
    fc.property(fc.maxSafeInteger(), fc.integer({ min: 1, max: 128 }), (seed, n) => {
      const seeds = seedsOf(seed, n);
      expect(new Set(seeds).size).toBe(n);
      expect(seeds.every((one) => Number.isSafeInteger(one) && one >= 0)).toBe(true);
    }),
  );
});
