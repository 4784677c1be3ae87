import fc from "fast-check";
import { expect, test } from "vitest";
import { advantages, deviation } from "./advantages.ts";

test("advantages are TRL's", () => {
  // (R - mean) / (std + 1e-4), with n - 1 in the standard deviation
  expect(advantages([[1, 0, 0, 1]], "group")[0]).toEqual(
    [0.5, -0.5, -0.5, 0.5].map((x) => expect.closeTo(x / (Math.sqrt(1 / 3) + 1e-4), 12)),
  );
  expect(advantages([[1, 0, 0, 1]], "none")).toEqual([[0.5, -0.5, -0.5, 0.5]]);
  const [first, second] = advantages(
    [
      [1, 0],
      [3, 3],
    ],
    "batch",
  );
  const whole = Math.sqrt((0.75 ** 2 + 1.75 ** 2 + 2 * 1.25 ** 2) / 3) + 1e-4;
  expect(first).toEqual([expect.closeTo(0.5 / whole, 12), expect.closeTo(-0.5 / whole, 12)]);
  expect(second).toEqual([0, 0]);
});

test("what could not be graded has no advantage, and does not count for the others", () => {
  const [[a, b, c] = []] = advantages([[2, Number.NaN, 4]], "group");
  expect([a, b, c]).toEqual([
    expect.closeTo(-1 / (Math.SQRT2 + 1e-4)),
    0,
    expect.closeTo(1 / (Math.SQRT2 + 1e-4)),
  ]);
  expect(
    advantages(
      [
        [Number.NaN, Number.NaN],
        [5, Number.NaN],
      ],
      "group",
    ),
  ).toEqual([
    [0, 0],
    [0, 0],
  ]);
});

test("advantages of a group add up to 0, and equal rewards have none", () => {
  const rewards = fc.array(fc.double({ min: -1e3, max: 1e3, noNaN: true }), { minLength: 1, maxLength: 16 });
  fc.assert(
    fc.property(fc.array(rewards, { minLength: 1, maxLength: 4 }), (groups) => {
      for (const scale of ["group", "batch", "none"] as const)
        for (const own of advantages(groups, scale)) {
          const sum = own.reduce((a, b) => a + b, 0);
          expect(Math.abs(sum)).toBeLessThan(1e-6 * Math.max(1, ...own.map(Math.abs)) * own.length);
        }
    }),
  );
  fc.assert(
    fc.property(fc.double({ noNaN: true, min: -10, max: 10 }), fc.nat(8), (reward, n) => {
      const equal = Array.from({ length: n + 1 }, () => reward);
      expect(deviation(equal)).toBe(0);
      expect(advantages([equal], "group")[0]?.every((x) => x === 0)).toBe(true);
    }),
  );
});
