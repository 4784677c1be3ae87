import fc from "fast-check";
import { expect, test } from "vitest";
import { makeRequests } from "./engine-requests.ts";

const choiceSeeds = (seed: number, n: number): number[] =>
  makeRequests({ ids: [1] }, { model: "base", n }, { maxTokens: 1, adapter: null, seed, tenant: "t" }).map(
    ({ seed: own = -1 }) => own,
  );

test("every whole number is a seed, and the choices of a request have different ones", () => {
  expect(choiceSeeds(5, 3)[0]).toBe(5);
  expect(choiceSeeds(-1, 1)).toEqual([Number.MAX_SAFE_INTEGER]);
  // requests with seeds in a row share no stream
  const seeds = Array.from({ length: 200 }, (_, seed) => choiceSeeds(seed - 100, 16)).flat();
  expect(new Set(seeds).size).toBe(200 * 16);
  fc.assert(
    fc.property(fc.maxSafeInteger(), fc.integer({ min: 1, max: 128 }), (seed, n) => {
      const seeds = choiceSeeds(seed, n);
      expect(new Set(seeds).size).toBe(n);
      expect(seeds.every((one) => Number.isSafeInteger(one) && one >= 0)).toBe(true);
    }),
  );
});
