import fc from "fast-check";
import { expect, test } from "vitest";
import { splitValidation } from "./split.ts";

const numbers = (n: number) => Array.from({ length: n }, (_, i) => i);

test("both parts keep the order and together are the whole", () => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 200 }), fc.nat(1000), fc.nat(), (n, seed, pick) => {
      const count = 1 + (pick % (n - 1));
      const { train, validation } = splitValidation(numbers(n), { count, seed });
      expect(validation).toHaveLength(count);
      for (const part of [train, validation]) expect(part).toEqual([...part].sort((a, b) => a - b));
      expect([...train, ...validation].sort((a, b) => a - b)).toEqual(numbers(n));
    }),
  );
});

test("the seed decides, and only the seed", () => {
  const split = (seed: number) => splitValidation(numbers(100), { fraction: 0.1, seed }).validation;
  expect(split(1)).toEqual(split(1));
  expect(split(1)).not.toEqual(split(2));
  expect(split(1)).not.toEqual(numbers(10));
});

test("a fraction is rounded, to one at least; 0 holds out nothing", () => {
  const validation = (n: number, fraction: number) =>
    splitValidation(numbers(n), { fraction, seed: 0 }).validation.length;
  expect(validation(100, 0.256)).toBe(26);
  expect(validation(3, 0.01)).toBe(1);
  expect(validation(3, 0)).toBe(0);
});

test.each([
  [{ count: 3 }, "bad_data", /a validation split of 3 of 3 examples leaves none to train on/],
  [{ fraction: 0.9 }, "bad_data", /a validation split of 3 of 3/],
  [{ count: 1.5 }, "bad_option", /cannot hold out 1.5 examples/],
  [{ count: -1 }, "bad_option", /cannot hold out -1 examples/],
  [{ fraction: 1 }, "bad_option", /cannot hold out a fraction of 1;/],
  [{ fraction: Number.NaN }, "bad_option", /cannot hold out a fraction of NaN/],
])("refuses %j", (options, code, message) => {
  const run = () => splitValidation(numbers(3), { seed: 0, ...options });
  expect(run).toThrowError(message);
  expect(run).toThrowError(expect.objectContaining({ code }));
});
