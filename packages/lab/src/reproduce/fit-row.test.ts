import { expect, test } from "vitest";
import { largestRank, nearestShards } from "./fit-row.ts";

test("a number of shards that does not divide every width is replaced by the nearest that does", () => {
  const shapes = { layers: 8, widths: { q_proj: { in: 30, out: 60 }, up_proj: { in: 30, out: 90 } } };
  expect(nearestShards(4, { layers: 8, widths: shapes.widths })).toBe(3); // 3 and 5 are as near
  expect(nearestShards(1, shapes)).toBe(1);
  expect(nearestShards(100, shapes)).toBe(30);
});

test("the largest rank within a limit", () => {
  for (const limit of [1, 2, 9, 10, 11, 100])
    expect(largestRank((rank) => 3 * rank + 1, { limit, most: 20 })).toBe(
      Math.max(1, Math.min(20, Math.floor((limit - 1) / 3))),
    );
});
