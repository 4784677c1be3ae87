import fc from "fast-check";
import { expect, test } from "vitest";
import { createTokenRate } from "./metrics.ts";

test("each of the last 60 whole seconds has the tokens that came in it", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 10_000_000 }),
      fc.array(fc.integer({ min: 0, max: 30_000 }), { maxLength: 200 }),
      fc.integer({ min: 0, max: 200_000 }),
      (start, gaps, wait) => {
        let time = start;
        const rate = createTokenRate(() => time);
        const times = gaps.map((gap) => {
          time += gap;
          rate.count();
          return Math.floor(time / 1000);
        });
        time += wait;
        const now = Math.floor(time / 1000);
        const expected = Array.from(
          { length: 60 },
          (_, i) => times.filter((second) => second === now - 60 + i).length,
        );
        expect(rate.history()).toEqual(expected);
      },
    ),
  );
});
