import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { letter, shuffle } from "./conversation.ts";

describe("blind order", () => {
  test("is an order of the same models, and the seed's", () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.string(), { maxLength: 7 }), fc.nat(), (models, seed) => {
        const shuffled = shuffle(models, seed);
        expect([...shuffled].sort()).toEqual([...models].sort());
        expect(shuffle(models, seed)).toEqual(shuffled);
      }),
    );
  });

  test("puts each model in each place equally often", () => {
    const models = ["base", "a", "b"];
    const counts = new Map<string, number>();
    for (let seed = 0; seed < 6000; seed++) {
      const order = shuffle(models, seed).join();
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    expect(counts.size).toBe(6);
    for (const count of counts.values()) expect(Math.abs(count - 1000)).toBeLessThan(120);
  });

  test("has letters for names", () => {
    expect([0, 1, 6].map(letter)).toEqual(["A", "B", "G"]);
  });
});
